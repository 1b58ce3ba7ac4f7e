"""Puts our propagator around the app's global one, when the app has one; and takes it away again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from pennytrace._guard import never_break_the_host
from pennytrace._imports import after_import, forget

_MODULE: Final = "opentelemetry.propagate"

_placed: _Placed | None = None


def place() -> None:
    """Add our tags to what OpenTelemetry's propagation sends, once the app has imported it."""
    after_import(_MODULE, _around_the_global_one)


def remove() -> None:
    """Leave the app with its own propagator; one that somebody has wrapped ours in stays, and passes."""
    forget(_MODULE)
    _take_away()


class _Placed:
    """The replaced `set_global_textmap`, which sees to it that a propagator set later is wrapped too."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.original: Callable[[Any], None] = module.set_global_textmap

        @functools.wraps(self.original)
        def set_global_textmap(http_text_format: Any) -> None:
            ours = None if _placed is None else _wrapped(http_text_format)
            self.original(http_text_format if ours is None else ours)

        self.ours = set_global_textmap
        module.set_global_textmap = set_global_textmap


@never_break_the_host("adding our propagator to the app's")
def _around_the_global_one(module: ModuleType) -> None:
    global _placed
    if _placed is None:
        _placed = _Placed(module)
        module.set_global_textmap(module.get_global_textmap())


@never_break_the_host("taking our propagator out of the app's")
def _take_away() -> None:
    global _placed
    placed, _placed = _placed, None
    if placed is None:
        return
    if placed.module.set_global_textmap is placed.ours:
        placed.module.set_global_textmap = placed.original
    now = placed.module.get_global_textmap()
    without = _unwrapped(now)
    if without is not now:
        placed.original(without)


@never_break_the_host("wrapping the app's propagator")
def _wrapped(propagator: Any) -> Any:
    from pennytrace._attribution.propagator import TagPropagator

    # An app that propagates nothing (OTEL_PROPAGATORS=none) has decided.
    if isinstance(propagator, TagPropagator) or not propagator.fields:
        return propagator
    if _holds_another(propagator):
        propagator.wrapped = _wrapped(propagator.wrapped) or propagator.wrapped
        return propagator
    return TagPropagator(propagator)


def _unwrapped(propagator: Any) -> Any:
    from pennytrace._attribution.propagator import TagPropagator

    if isinstance(propagator, TagPropagator):
        return propagator.inner
    if _holds_another(propagator):
        propagator.wrapped = _unwrapped(propagator.wrapped)
    return propagator


def _holds_another(propagator: Any) -> bool:
    # Logfire's, which takes its own off by their types, and would not find them inside ours.
    return hasattr(getattr(propagator, "wrapped", None), "inject")
