"""Imports that wait until they are needed, in the sender's thread: in one piece, even while another thread forks.

A child has only the thread that forked. A module that another one was importing stays half imported there for ever,
for the app as well: importing it again fails, or waits for a thread that is no more.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_LONGEST: Final = 1.0  # seconds that a fork waits; what takes longer waits in turn for the thread that forks

_importing = threading.RLock()
_forking = threading.local()


@contextmanager
def in_one_piece() -> Iterator[None]:
    """Let no fork come in between; for imports only, because a fork waits for it."""
    with _importing:
        yield


def _wait() -> None:
    _forking.waited = _importing.acquire(timeout=_LONGEST)


def _go_on() -> None:
    if getattr(_forking, "waited", False):
        _forking.waited = False
        _importing.release()


def _start_afresh() -> None:
    global _importing
    _importing = threading.RLock()
    _forking.waited = False


os.register_at_fork(before=_wait, after_in_parent=_go_on, after_in_child=_start_afresh)
