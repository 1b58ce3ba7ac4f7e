"""Sees to it that a process which ends, or forks, leaves no call behind: the only module that handles a signal."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from types import FrameType
from typing import Final, Protocol

from pennytrace._guard import never_break_the_host

_WHILE_TERMINATED: Final = 5.0  # seconds that writing to the disk may hold up a SIGTERM


class Ending(Protocol):
    """Something that has calls in memory."""

    def start_afresh(self) -> None:
        """Forget the parent's calls, locks and connections: this is a forked child."""
        ...

    def save(self, timeout: float) -> None:
        """Put what is in memory on disk, within `timeout` seconds."""
        ...

    def close_at_exit(self) -> None:
        """Deliver what is in memory, or put it on disk."""
        ...


_all: weakref.WeakSet[Ending] = weakref.WeakSet()
_forking = threading.local()


def look_after(ending: Ending) -> None:
    """Tell it, from now on, when the process forks, is terminated, or ends."""
    _all.add(ending)


def forget_all() -> None:
    """Hold the end of the process up for nobody."""
    _all.clear()


def also_at_the_end_of_a_child(ending: Ending) -> None:
    """Tell it too when this is a worker process of multiprocessing or Celery, which runs no atexit."""
    # Such a child leaves by os._exit; the finalizers of its own library are what it does run. Billiard is
    # Celery's multiprocessing.
    for library, is_child in (("multiprocessing", _has_parent), ("billiard", _has_billiard_parent)):
        util = sys.modules.get(f"{library}.util")
        if util is not None and is_child():
            util.Finalize(None, ending.close_at_exit, exitpriority=0)


def _has_parent() -> bool:
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def _has_billiard_parent() -> bool:
    process = sys.modules.get("billiard.process")
    return process is not None and process.current_process()._parent_pid is not None


@never_break_the_host("preparing for the end of the process")
def catch_sigterm() -> None:
    """Put what is in memory on disk when SIGTERM ends the process, in the main thread and if nobody else cares.

    A SIGTERM that nobody handles ends a process without atexit. The exit status stays that of the signal.
    """
    import signal

    if _is_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminated)


@never_break_the_host("leaving SIGTERM alone")
def release_sigterm() -> None:
    """Take back `catch_sigterm`, unless somebody else handles the signal by now."""
    import signal

    if _is_main_thread() and signal.getsignal(signal.SIGTERM) is _terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminated(number: int, frame: FrameType | None) -> None:
    import signal

    _save_all()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    # Still here: the first process of a container, which the kernel spares signals that it does not handle.
    signal.signal(number, _terminated)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@never_break_the_host("keeping the last calls of a terminated process")
def _save_all() -> None:
    for ending in list(_all):
        ending.save(_WHILE_TERMINATED)


def _start_all_afresh() -> None:
    for ending in list(_all):
        ending.start_afresh()


def _hold_sigterm() -> None:
    # CPython forgets in a child the signals that arrived while it was being made. With a handler of ours that would
    # be a SIGTERM without any effect, of which the app's child dies without us, and its parent waits for that.
    import signal

    if signal.getsignal(signal.SIGTERM) is _terminated:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        _forking.holds_sigterm = signal.SIGTERM not in before


def _let_sigterm_go() -> None:
    import signal

    if getattr(_forking, "holds_sigterm", False):
        _forking.holds_sigterm = False
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _close_all() -> None:
    for ending in list(_all):
        ending.close_at_exit()


os.register_at_fork(after_in_child=_start_all_afresh)
os.register_at_fork(before=_hold_sigterm, after_in_parent=_let_sigterm_go, after_in_child=_let_sigterm_go)
atexit.register(_close_all)
