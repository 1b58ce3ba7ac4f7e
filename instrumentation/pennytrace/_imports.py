"""Runs a function right after a module has been imported, now or whenever the app does.

wrapt has this too, but importing wrapt brings asyncio and more: too much for the first line of every app.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

Hook = Callable[[ModuleType], object]


def after_import(module: str, hook: Hook) -> None:
    """Call `hook` with the module called `module`: at once when it is imported, else right after it is.

    The hook must not raise; an error in it would look like a failure of the app's import.
    """
    loaded = sys.modules.get(module)
    if loaded is not None:
        hook(loaded)
        return
    _waiting[module] = hook
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def forget(module: str) -> None:
    """Take back what `after_import` promised for `module`, if it has not happened yet."""
    _waiting.pop(module, None)


_waiting: dict[str, Hook] = {}


class _Finder:
    """A meta-path finder that finds nothing itself: it lets the others find, and adds the hook."""

    def __init__(self) -> None:
        self._asking: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _waiting or name in self._asking:
            return None
        self._asking.add(name)
        try:
            spec = self._from_others(name, path, target)
        finally:
            self._asking.discard(name)
        if spec is not None:
            _add_hook(spec)
        return spec

    def _from_others(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find else None
            if spec is not None:
                return spec
        return None


def _add_hook(spec: ModuleSpec) -> None:
    execute = getattr(spec.loader, "exec_module", None)
    if execute is None:
        return

    def exec_module(module: ModuleType) -> None:
        execute(module)
        hook = _waiting.pop(spec.name, None)
        if hook is not None:
            hook(module)

    # On the instance, not by a proxy: resources, inspect and pickle ask for the loader's own type.
    spec.loader.exec_module = exec_module  # type: ignore[union-attr,method-assign]


_finder = _Finder()
