"""Carries finished spans from the app's threads to one sender thread: bounded, and never waiting."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from ._guard import logger, never_break_the_host, tell_once

BATCH: Final = 512
"""Spans in one request, at most."""
PAUSE: Final = 1.0
"""Seconds that spans are gathered before they are sent."""
_FIRST_BACKOFF: Final = 0.5  # seconds
_LONGEST_BACKOFF: Final = 30.0
_AT_EXIT: Final = 3.0  # seconds that the end of a process may wait for its last spans
_AT_EXIT_ALONE: Final = 0.6  # the same while nobody listens at the endpoint: long enough to try twice


class Answer(NamedTuple):
    """What became of one attempt to deliver a batch."""

    accepted: bool
    again: bool = False
    """It was not accepted, and may be if it is tried again."""
    after: float | None = None
    """Seconds to wait before that, when the other side said so."""
    unreachable: bool = False
    """Nobody was there to answer."""
    reason: str = ""


class Transport(Protocol):
    """Takes a batch of encoded spans to the collector; used by one thread at a time."""

    def send(self, spans: Sequence[bytes]) -> Answer:
        """Make one attempt, within a bounded time; it never raises for what the network does."""
        ...

    def close(self) -> None:
        """Let go of the connection, if there is one; `send` opens a new one."""
        ...


Encode = Callable[[], bytes]
"""A finished span, as a function that writes it down."""


class Delivery(Protocol):
    """Where finished spans go. What it promises about loss is its own; `put` never blocks."""

    def put(self, span: Encode) -> None:
        """Take a span, or refuse it visibly; it is written down later, in another thread."""
        ...

    def flush(self, timeout: float) -> bool:
        """Wait, for at most `timeout` seconds, until what was put before is accepted; False if it was not."""
        ...

    def close(self, timeout: float) -> bool:
        """Flush; the sender ends once it has nothing left."""
        ...


class _Doorbell:
    """Wakes one waiting thread.

    A bare lock, because a span can be put while the garbage collector runs, on a thread that is inside any
    other lock of ours: `threading.Event` would wait for itself there.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:
            return  # it is ringing already

    def hush(self) -> None:
        """Forget a ring that nobody has waited for."""
        self._lock.acquire(blocking=False)

    def wait(self, timeout: float | None) -> None:
        self._lock.acquire(timeout=-1 if timeout is None else max(0.0, timeout))


class _Marker:
    """An item of the queue that says, when the sender reaches it, that all before it has been dealt with."""

    __slots__ = ("reached", "rejected_before")

    def __init__(self, rejected_before: int) -> None:
        self.reached = threading.Event()
        self.rejected_before = rejected_before


class QueuedDelivery:
    """A bounded queue in memory, and a daemon thread that keeps trying to empty it."""

    def __init__(self, transport: Transport, *, capacity: int, pause: float = PAUSE) -> None:
        self._transport = transport
        self._capacity = capacity
        self._pause = pause
        self.start_afresh()
        _deliveries.add(self)

    def start_afresh(self) -> None:
        """Begin with nothing: at first, and in a forked child, whose parent delivers what was there."""
        self._queue: deque[Encode | _Marker] = deque()
        self._bell = _Doorbell()
        self._sending = threading.Lock()  # held for as long as there is a sender thread
        self._counting = threading.Lock()
        self._markers = 0
        self._idle = True
        self._closing = False
        self._trouble = Answer(accepted=True)
        self.refused = 0
        """Spans that were not taken because the queue was full."""
        self.rejected = 0
        """Spans that the collector did not want."""
        self._transport.close()

    def put(self, span: Encode) -> None:
        """Take a span; when the queue is full, refuse it, count it and say so once."""
        waiting = len(self._queue)
        if waiting >= self._capacity:
            self._refuse()
            return
        self._queue.append(span)
        if self._idle or waiting == BATCH:
            self._wake()

    def flush(self, timeout: float) -> bool:
        """Wait, for at most `timeout` seconds, until what was put before is accepted; False if it was not."""
        if self._idle and not self._queue:
            return True
        marker = _Marker(self.rejected)
        with self._counting:
            self._markers += 1
        self._queue.append(marker)
        self._wake()
        return marker.reached.wait(timeout) and self.rejected == marker.rejected_before

    def close(self, timeout: float) -> bool:
        """Flush for at most `timeout` seconds; the sender ends once it has nothing left."""
        self._closing = True
        delivered = self.flush(timeout)
        self._bell.ring()
        return delivered

    @never_break_the_host("delivering the last spans of the process")
    def close_at_exit(self) -> None:
        """Give the last spans a few seconds to leave, less when nobody is there to take them."""
        if self.close(_AT_EXIT_ALONE) or (not self._trouble.unreachable and self.flush(_AT_EXIT)):
            return
        logger.warning(
            "pennytrace could not deliver the last calls of this process: %s",
            self._trouble.reason or "the collector did not answer in time",
        )

    def _refuse(self) -> None:
        self.refused += 1
        tell_once(
            "queue is full",
            "pennytrace has %d calls waiting to be sent and takes no more: %s. New calls of this process go"
            " uncounted until the collector accepts again.",
            self._capacity,
            self._trouble.reason or "they come faster than they can be sent",
        )

    def _wake(self) -> None:
        if self._sending.acquire(blocking=False):
            self._start()
        self._bell.ring()

    def _start(self) -> None:
        try:
            threading.Thread(target=self._run, name="pennytrace-sender", daemon=True).start()
        except RuntimeError:  # the interpreter is ending and starts no threads any more
            self._sending.release()
            raise
        _also_at_the_end_of_a_child(self)

    def _run(self) -> None:
        while not (self._closing and not self._queue):
            self._rest()
            self._send_one_batch()
        self._transport.close()
        self._idle = True
        self._sending.release()
        if self._queue:  # put while we were leaving
            self._wake()

    def _rest(self) -> None:
        self._idle = True
        if not self._queue and not self._closing:
            self._bell.wait(None)
        self._idle = False
        self._bell.hush()
        if len(self._queue) < BATCH and not self._in_a_hurry():
            self._bell.wait(self._pause)

    def _in_a_hurry(self) -> bool:
        return self._closing or self._markers > 0

    def _send_one_batch(self) -> None:
        batch, marker = self._take()
        if batch and not self._deliver(batch):
            self.rejected += len(batch)
        if marker is not None:
            with self._counting:
                self._markers -= 1
            marker.reached.set()

    def _take(self) -> tuple[list[bytes], _Marker | None]:
        batch: list[bytes] = []
        while self._queue and len(batch) < BATCH:
            item = self._queue.popleft()
            if isinstance(item, _Marker):
                return batch, item
            span = _written(item)
            if span is not None:
                batch.append(span)
        return batch, None

    @never_break_the_host("sending calls to the collector")
    def _deliver(self, batch: list[bytes]) -> bool:
        backoff = _FIRST_BACKOFF
        while True:
            answer = self._trouble = self._transport.send(batch)
            if answer.accepted:
                return True
            if not answer.again:
                _tell_of_loss(len(batch), answer.reason)
                return False
            tell_once("delivery", "pennytrace cannot deliver, and keeps trying: %s", answer.reason)
            # A flush cuts our own waiting short, never what the collector asked for.
            self._bell.wait(backoff)
            if answer.after is not None:
                threading.Event().wait(max(0.0, answer.after - backoff))
            backoff = min(backoff * 2, _LONGEST_BACKOFF)


def _tell_of_loss(calls: int, reason: str) -> None:
    tell_once("rejected", "pennytrace lost %d calls: the collector does not take them: %s", calls, reason)


@never_break_the_host("writing a span")
def _written(encode: Encode) -> bytes:
    return encode()


_deliveries: weakref.WeakSet[QueuedDelivery] = weakref.WeakSet()


def _start_all_afresh() -> None:
    for delivery in list(_deliveries):
        delivery.start_afresh()


def _close_all() -> None:
    for delivery in list(_deliveries):
        delivery.close_at_exit()


def _also_at_the_end_of_a_child(delivery: QueuedDelivery) -> None:
    # A child of multiprocessing leaves by os._exit: it runs multiprocessing's finalizers, and no atexit.
    process = sys.modules.get("multiprocessing.process")
    util = sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, delivery.close_at_exit, exitpriority=0)


os.register_at_fork(after_in_child=_start_all_afresh)
atexit.register(_close_all)
