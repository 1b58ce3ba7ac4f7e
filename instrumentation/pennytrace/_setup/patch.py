"""The only module that touches wrapt: puts a provider's hooks in place, and takes them out again.

Others wrap the same methods. Two things they do need care. A method that is wrapped on a subclass is copied there,
so that what is put on the base class later would never be called. And what is wrapped by others after us cannot be
put back by assigning the original: ours is taken out from under theirs instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from inspect import getattr_static
from types import ModuleType
from typing import Any, Final, NamedTuple

from pennytrace._calls.provider import Hook
from pennytrace._guard import never_break_the_host
from pennytrace._imports import after_import, forget

_DEEPEST: Final = 100  # wrappers around one method; more is a ring


class Patches:
    """The hooks of all providers; each is put in place when the app imports the module that it is in."""

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._by_module: dict[str, list[Hook]] = {}
        for hook in hooks:
            self._by_module.setdefault(hook.module, []).append(hook)
        self._placed: list[_Placed] = []

    def place(self) -> None:
        """Wrap what is imported already, and see to the rest being wrapped as it is imported."""
        for module in self._by_module:
            after_import(module, self._wrap_all)

    def remove(self) -> None:
        """Restore what was wrapped, also where others have wrapped it since.

        Where one of them calls ours in a way that cannot be seen, ours stays, and passes every call straight
        through for as long as nothing records.
        """
        for module in self._by_module:
            forget(module)
        self._placed = [placed for placed in self._placed if not _restore(placed)]

    @never_break_the_host("wrapping a client library")
    def _wrap_all(self, module: ModuleType) -> None:
        for hook in self._by_module[module.__name__]:
            self._placed += _wrap(module, hook) or ()


class _Placed(NamedTuple):
    owner: Any
    """The class or module that the method was found in."""
    name: str
    wrapper: Any
    inherited: bool
    """Whether it had the method from another class, and not one of its own."""


@never_break_the_host("wrapping a method of a client library")
def _wrap(module: ModuleType, hook: Hook) -> list[_Placed]:
    import wrapt  # here, because it is only needed, and only affordable, beside a client library

    try:
        owner, name, _ = wrapt.resolve_path(module, hook.name)
    except AttributeError:
        if hook.optional:
            return []
        raise
    placed = []
    for holder in _holders(owner, name):
        found = getattr_static(holder, name)
        if any(_is_ours(each, hook) for each in _layers(found)):
            continue
        outer, inherited = _innermost_proxy(found), name not in vars(holder)
        wrapper = wrapt.FunctionWrapper(found if outer is None else outer.__wrapped__, hook.wrapper)
        _put(holder, name, outer, wrapper)
        placed.append(_Placed(holder, name, wrapper, inherited))
    return placed


@never_break_the_host("restoring a method of a client library")
def _restore(placed: _Placed) -> bool:
    owner, name, ours, inherited = placed
    gone = all([_take_out(holder, name, ours) for holder in list(_holders(owner, name))])
    if gone and inherited and vars(owner).get(name) is ours.__wrapped__:
        delattr(owner, name)
    return gone


def _take_out(holder: Any, name: str, ours: Any) -> bool:
    """Take our wrapper out of a method; False when it is there, and what is around it would go on calling it."""
    outer = None
    for each in _layers(getattr_static(holder, name)):
        if each is ours:
            if outer is not None and not _is_proxy(outer):
                return False
            _put(holder, name, outer, ours.__wrapped__)
            return True
        outer = each
    return True


def _put(holder: Any, name: str, outer: Any, method: Any) -> None:
    """Put a method where `outer` will call it; on the class itself when there is nothing outside of it."""
    if outer is None:
        setattr(holder, name, method)
    else:
        outer.__wrapped__ = method


def _holders(owner: Any, name: str) -> Iterator[Any]:
    """Return the class, and those of its subclasses that hold its method themselves, wrapped or not."""
    yield owner
    if not isinstance(owner, type):
        return
    original = _original(getattr_static(owner, name))
    subclasses: list[type] = type.__subclasses__(owner)
    for kind in subclasses:
        for holder in _holders(kind, name):
            if name in vars(holder) and _original(vars(holder)[name]) is original:
                yield holder


def _layers(method: Any) -> Iterator[Any]:
    """Return a method as it is found, then what it wraps, down to the library's own."""
    for _ in range(_DEEPEST):
        yield method
        method = getattr(method, "__wrapped__", None)
        if method is None:
            return


def _original(method: Any) -> Any:
    *_, original = _layers(method)
    return original


def _innermost_proxy(method: Any) -> Any:
    """Return the wrapper next to the library's own method, if ours can be put beneath it."""
    layers = list(_layers(method))
    return layers[-2] if len(layers) > 1 and _is_proxy(layers[-2]) else None


def _is_proxy(wrapper: Any) -> bool:
    # It calls what it says it wraps. A function made with `functools.wraps` only says so, and a bound wrapper is bound
    # again from what it was made of.
    import wrapt

    return isinstance(wrapper, wrapt.FunctionWrapper)


def _is_ours(method: Any, hook: Hook) -> bool:
    return getattr(method, "_self_wrapper", None) is hook.wrapper
