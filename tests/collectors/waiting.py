"""Waits for what another thread or process does, as long as it takes and no longer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T | None], *, within_s: float = 30.0, what: str = "") -> T:
    """Return the first true value that `look` returns; fail when there is none in time."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"still waiting after {within_s} s{': ' if what else ''}{what}"
        time.sleep(0.01)
    return found
