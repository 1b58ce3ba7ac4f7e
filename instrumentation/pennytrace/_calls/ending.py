"""Ends the calls that are still open when the process does, and leaves a fork's to the process that began them."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Protocol


class Ending(Protocol):
    """A call whose end depends on what the app does with a response."""

    def end(self, error: BaseException | None = None, *, complete: bool = False) -> None:
        """End the call; only the first time counts."""
        ...

    def disown(self) -> None:
        """Leave the call to the process that began it: this one is a copy of it."""
        ...


_open: weakref.WeakSet[Ending] = weakref.WeakSet()


def end_with_the_process(ending: Ending) -> None:
    """End a call at the latest when the process does: an abandoned stream may never be collected."""
    _open.add(ending)


@atexit.register
def _end_all() -> None:
    for ending in list(_open):
        ending.end()


def _disown_all() -> None:
    for ending in list(_open):
        ending.disown()


os.register_at_fork(after_in_child=_disown_all)
