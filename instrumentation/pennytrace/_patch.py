"""The only module that touches wrapt: puts a provider's hooks in place, and takes them out again."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

from ._guard import never_break_the_host
from ._imports import after_import, forget
from ._provider import Hook


class Patches:
    """The hooks of all providers; each is put in place when the app imports the module that it is in."""

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._by_module: dict[str, list[Hook]] = {}
        for hook in hooks:
            self._by_module.setdefault(hook.module, []).append(hook)
        self._placed: dict[Hook, _Placed] = {}

    def place(self) -> None:
        """Wrap what is imported already, and see to the rest being wrapped as it is imported."""
        for module in self._by_module:
            after_import(module, self._wrap_all)

    def remove(self) -> None:
        """Restore what was wrapped, except where somebody else has wrapped our wrapper since.

        Such a wrapper stays, and passes every call straight through for as long as nothing records.
        """
        for module in self._by_module:
            forget(module)
        for hook, placed in list(self._placed.items()):
            if _restore(placed):
                del self._placed[hook]

    @never_break_the_host("wrapping a client library")
    def _wrap_all(self, module: ModuleType) -> None:
        for hook in self._by_module[module.__name__]:
            placed = None if hook in self._placed else _wrap(module, hook)
            if placed is not None:
                self._placed[hook] = placed


class _Placed(NamedTuple):
    parent: Any
    name: str
    wrapper: Any


@never_break_the_host("wrapping a method of a client library")
def _wrap(module: ModuleType, hook: Hook) -> _Placed:
    import wrapt  # here, because it is only needed, and only affordable, beside a client library

    parent, name, _ = wrapt.resolve_path(module, hook.name)
    return _Placed(parent, name, wrapt.wrap_function_wrapper(module, hook.name, hook.wrapper))


@never_break_the_host("restoring a method of a client library")
def _restore(placed: _Placed) -> bool:
    if vars(placed.parent).get(placed.name) is not placed.wrapper:
        return False
    setattr(placed.parent, placed.name, placed.wrapper.__wrapped__)
    return True
