"""Wakes the sender's thread from any place in the app, the inside of a garbage collection included."""

from __future__ import annotations

import threading


class Doorbell:
    """Wakes one waiting thread.

    A bare lock, because a span can be put while the garbage collector runs, on a thread that is inside any
    other lock of ours: `threading.Event` would wait for itself there.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        """Wake whoever waits, or whoever waits next."""
        try:
            self._lock.release()
        except RuntimeError:
            return  # it is ringing already

    def hush(self) -> None:
        """Forget a ring that nobody has waited for."""
        self._lock.acquire(blocking=False)

    def wait(self, timeout: float | None) -> None:
        """Wait for a ring, at most `timeout` seconds; None waits for ever."""
        self._lock.acquire(timeout=-1 if timeout is None else max(0.0, timeout))
