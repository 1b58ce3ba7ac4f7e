"""Takes tags into threads and thread pools: what is started or submitted inside a tag runs inside it.

Two functions of the standard library are replaced, by plain functions and not by wrapt, which is too much for
the first line of every app: `Thread.start` (timers are threads) and `ThreadPoolExecutor.submit` (`map` and
`run_in_executor` go through it). Only our tags travel; the app's own context variables stay as they are.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, NamedTuple

from pennytrace._attribution.propagation import is_for_a_model, run_for_a_model
from pennytrace._attribution.tags import NO_TAGS, Tags, current_tags, run_within
from pennytrace._guard import never_break_the_host
from pennytrace._imports import after_import, forget

_POOLS: Final = "concurrent.futures.thread"
_MISSING: Final = object()

_carrying = False
"""Whether tags are taken along; a replacement that cannot be taken away passes everything through without."""


class _Replaced(NamedTuple):
    original: Any
    ours: Any


_replaced: dict[tuple[type, str], _Replaced] = {}


def place() -> None:
    """Take tags along from now on; pools, when the app has imported them."""
    global _carrying
    _carrying = True
    _replace(threading.Thread, "start", _starting)
    after_import(_POOLS, _replace_in_pools)


def remove() -> None:
    """Put back what was replaced, except where somebody has wrapped it since; what runs keeps its tags."""
    global _carrying
    _carrying = False
    forget(_POOLS)
    for (owner, name), (original, ours) in list(_replaced.items()):
        if vars(owner).get(name) is ours:
            setattr(owner, name, original)
            del _replaced[owner, name]


def _replace_in_pools(module: ModuleType) -> None:
    _replace(module.ThreadPoolExecutor, "submit", _submitting)


@never_break_the_host("replacing a function of the standard library")
def _replace(owner: type, name: str, make: Callable[[Any], Any]) -> None:
    if (owner, name) in _replaced:
        return
    original = vars(owner)[name]
    ours = functools.wraps(original)(make(original))
    setattr(owner, name, ours)
    _replaced[owner, name] = _Replaced(original, ours)


def _submitting(original: Callable[..., Any]) -> Callable[..., Any]:
    def submit(self: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        tags = current_tags()
        if not (tags and _carrying):
            return original(self, fn, *args, **kwargs)
        if is_for_a_model():
            fn, args = run_for_a_model, (fn, *args)
        # Without tags itself: it may start a worker, and that must not keep them for the next one's work.
        return run_within(NO_TAGS, original, self, run_within, tags, fn, *args, **kwargs)

    return submit


def _starting(original: Callable[..., Any]) -> Callable[..., Any]:
    def start(self: Any) -> Any:
        tags = current_tags()
        if not (tags and _carrying):
            return original(self)
        _bind(self, tags)
        try:
            return original(self)
        except BaseException:
            _unbind(self)  # it did not start, so nobody else will
            raise

    return start


class _Bound:
    """What the new thread calls as its `run`, once: the attribute hides the method only until then."""

    __slots__ = ("_hidden", "_run", "_tags", "_thread")

    def __init__(self, thread: threading.Thread, tags: Tags) -> None:
        self._thread = thread
        self._tags = tags
        self._run: Callable[[], object] = thread.run
        if is_for_a_model():
            self._run = functools.partial(run_for_a_model, self._run)
        self._hidden = vars(thread).get("run", _MISSING)

    def __call__(self) -> None:
        _unbind(self._thread)
        run_within(self._tags, self._run)

    def uncover(self) -> None:
        """Let the thread have the `run` that it had."""
        own = vars(self._thread)
        if self._hidden is _MISSING:
            own.pop("run", None)
        else:
            own["run"] = self._hidden


# On the instance and through its `vars`: subclasses have a `run`, and some a `__setattr__`, of their own.
@never_break_the_host("taking tags into a thread")
def _bind(thread: threading.Thread, tags: Tags) -> None:
    vars(thread)["run"] = _Bound(thread, tags)


@never_break_the_host("putting back the run of a thread")
def _unbind(thread: threading.Thread) -> None:
    bound = vars(thread).get("run")
    if isinstance(bound, _Bound):
        bound.uncover()
