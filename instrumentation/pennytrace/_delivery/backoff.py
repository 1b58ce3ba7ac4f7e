"""When to try again: sooner at first, later and later, never before the collector wants it."""

from __future__ import annotations

import os
import time
from typing import Final

FIRST: Final = 0.5  # seconds
LONGEST: Final = 30.0  # seconds


class Backoff:
    """The time of the next attempt; in the past while all goes well."""

    __slots__ = ("_asked", "_pause", "_until")

    def __init__(self) -> None:
        self._pause = 0.0
        self._until = 0.0
        self._asked = 0.0

    @property
    def left(self) -> float:
        """Seconds until the next attempt may be made; 0 when it may be made now."""
        return max(0.0, max(self._until, self._asked) - time.monotonic())

    def succeeded(self) -> None:
        """Forget what went wrong."""
        self._pause = self._until = self._asked = 0.0

    def failed(self, asked: float | None) -> None:
        """Put the next attempt off, for at least the seconds that the collector asked for."""
        self._pause = min(max(FIRST, self._pause * 2), LONGEST)
        now = time.monotonic()
        self._until = now + self._pause * (0.75 + 0.5 * _chance())
        self._asked = now + (asked or 0.0)

    def hasten(self) -> None:
        """Begin anew with short pauses, because somebody waits. What the collector asked for stays."""
        self._pause = self._until = 0.0


def _chance() -> float:
    # Not from `random`: that is the app's, which may have seeded it and count on what follows.
    return os.urandom(1)[0] / 255
