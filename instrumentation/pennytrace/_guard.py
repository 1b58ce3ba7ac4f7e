"""The only broad `except` of the code base: telemetry may fail, the app may not."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("pennytrace")

_told: set[str] = set()
_MOST_PLACES = 1000  # what is kept to say a thing once must not grow for ever


def never_break_the_host(step: str) -> Callable[[Callable[P, R]], Callable[P, R | None]]:
    """Make a function that is safe to call inside someone else's program.

    An exception inside it is logged, once for each `step`, and `None` is returned instead. What is not an
    `Exception` (a KeyboardInterrupt, a task's cancellation) is the app's own and passes.

    Args:
        step: What the function does, as it should read in the log: `reading usage`.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R | None]:
        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R | None:
            try:
                return function(*args, **kwargs)
            except Exception:  # noqa: BLE001 - the one place
                _report(step)
                return None

        guarded.guards = step  # type: ignore[attr-defined]  # read by the test that breaks each step in turn
        return guarded

    return decorate


def tell_once(about: str, message: str, *values: object) -> None:
    """Log a warning the first time it is told about something; later ones only at debug level."""
    level = logging.DEBUG if about in _told else logging.WARNING
    if len(_told) < _MOST_PLACES:
        _told.add(about)
    logger.log(level, message, *values)


def _report(step: str) -> None:
    try:
        first = step not in _told
        _told.add(step)
        logger.log(
            logging.WARNING if first else logging.DEBUG,
            "pennytrace failed while %s; the app is not affected, the record of this call may be incomplete",
            step,
            exc_info=True,
        )
    except Exception:  # noqa: BLE001 - a log handler that raises is no reason to break the app either
        return
