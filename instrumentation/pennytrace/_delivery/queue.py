"""Carries finished spans from the app's threads to one sender thread: bounded, and never waiting."""

from __future__ import annotations

import _thread
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, Protocol

from pennytrace import semconv
from pennytrace._delivery.body import Body, Envelope
from pennytrace._delivery.cargo import CALLS, Cargo
from pennytrace._delivery.courier import Courier
from pennytrace._delivery.doorbell import Doorbell
from pennytrace._delivery.exit import also_at_the_end_of_a_child, look_after
from pennytrace._delivery.losses import Losses
from pennytrace._delivery.post import Transport
from pennytrace._delivery.presence import keep_out_of_the_apps_traces, show_in_the_apps_metrics
from pennytrace._delivery.spool import Spool
from pennytrace._guard import logger, never_break_the_host

BATCH: Final = 512
"""Spans in one request, at most."""
PAUSE: Final = 1.0
"""Seconds that spans are gathered before they are sent."""
_AT_EXIT: Final = 3.0  # seconds that the end of a process may wait for its last spans
_AT_EXIT_ALONE: Final = 0.6  # the same while nobody listens at the endpoint: long enough to try twice
_FOR_OTHERS: Final = 1.0  # the same for what other processes have left
_FOR_THE_DISK: Final = 5.0  # seconds that it may take to write down what is in memory

Encode = Callable[[], bytes]
"""A finished span, or a metric, as a function that writes it down."""


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


class _Flush:
    """An item of the queue that says, when the sender reaches it, that all before it has been dealt with."""

    __slots__ = ("lost_before", "settled")

    def __init__(self, lost_before: int) -> None:
        self.settled = threading.Event()
        self.lost_before = lost_before


class QueuedDelivery:
    """A bounded queue in memory, and a daemon thread that empties it: to the collector, or to the spool."""

    def __init__(
        self,
        transport: Transport,
        envelope: Envelope,
        *,
        capacity: int,
        spool: Spool | None = None,
        pause: float = PAUSE,
        cargo: Cargo = CALLS,
        before_the_end: Callable[[], object] | None = None,
    ) -> None:
        """Deliver by `transport`.

        Args:
            transport: The way to the collector.
            envelope: What stands around all that is put.
            capacity: How much may wait in memory.
            spool: Where it waits when the collector does not take it.
            pause: Seconds that it is gathered for.
            cargo: What it is.
            before_the_end: Called when the process ends or is terminated, in any thread, to put what is left to say;
                it may be called again.
        """
        self._before_the_end = before_the_end
        self._envelope = envelope
        self._capacity = capacity
        self._pressing = max(1, capacity // 2)
        self._pause = pause
        self._courier = Courier(transport, envelope, spool, cargo=cargo)
        self._begin()
        look_after(self)

    @property
    def losses(self) -> Losses:
        """What was lost, and why."""
        return self._courier.losses

    @property
    def rests(self) -> bool:
        """Whether nobody takes such things at the other side: what is put would only wait."""
        return self._courier.rests

    @property
    def waiting(self) -> int:
        """Calls of this process that the collector has not taken yet, in memory and on disk."""
        in_hand, spool = self._courier.in_hand, self._courier.spool
        return (
            len(self._queue)
            + (in_hand.body.calls if in_hand and not in_hand.copy else 0)
            + sum(body.calls for body in list(self._put_back))
            + (spool.own_calls if spool else 0)
        )

    def start_afresh(self) -> None:
        """Begin with nothing, in a forked child: its parent delivers what was there."""
        self._courier.start_afresh()
        self._begin()

    def _begin(self) -> None:
        self._queue: deque[Encode | _Flush] = deque()
        self._put_back: deque[Body] = deque()  # taken from the queue, and then the disk did not take it
        self._bell = Doorbell()
        self._sending = threading.Lock()  # held for as long as there is a sender thread
        self._saving = threading.Lock()  # held while another thread takes from the queue, to the disk
        self._taking = threading.Lock()  # held from taking a batch until somebody answers for it
        self._counting = threading.Lock()
        self._flushes = 0  # that have been asked for and not been answered
        self._reached: list[_Flush] = []  # those that are out of the queue
        self._idle = True
        self._closing = False
        self._has_ended = False

    def put(self, span: Encode) -> None:
        """Take a span; when the queue is full, refuse it, count it and say so once."""
        waiting = len(self._queue)
        if waiting >= self._capacity:
            self._refuse()
            return
        self._queue.append(span)
        if self._idle or waiting == BATCH:
            self._wake()
        if waiting >= self._pressing and self._courier.sending:
            self._relieve()

    def flush(self, timeout: float) -> bool:
        """Wait, for at most `timeout` seconds, until what was put before is accepted; False if it was not.

        Whatever it returns, nothing that was put before is in memory only: what was not accepted is on disk,
        unless there is no spool or it cannot be written.
        """
        accepted = self._await(timeout)
        if not accepted:
            self._save(_FOR_THE_DISK, losses=False)
        return accepted

    def close(self, timeout: float) -> bool:
        """Flush for at most `timeout` seconds; the sender ends once it has nothing left."""
        self._closing = True
        delivered = self.flush(timeout)
        self._bell.ring()
        return delivered

    def save(self, timeout: float) -> None:
        """Put all that is in memory on disk, because the process ends; wait for that at most `timeout` seconds."""
        self._save(timeout, losses=True, last=True)

    @never_break_the_host("delivering the last spans of the process")
    def close_at_exit(self) -> None:
        """Give the last spans a few seconds to leave, less when nobody is there to take them; keep the rest."""
        self._say_last()
        self._closing = True
        delivered = self._await(_AT_EXIT_ALONE) or (self._is_answered and self._await(_AT_EXIT))
        self._has_ended = True
        if delivered:
            self._leave_time_for_the_backlog()
            return
        if self.rests:
            return
        self._save(_FOR_THE_DISK, losses=True)
        logger.warning(
            "pennytrace could not deliver the last %s of this process: %s. %s",
            self._courier.cargo.name,
            self._courier.trouble.reason or "the collector did not answer in time",
            self._whereabouts(),
        )

    def _await(self, timeout: float) -> bool:
        if self._is_done:
            return True
        if self.rests:
            return False
        flush = _Flush(self._lost_for_good)
        with self._counting:
            self._flushes += 1
        self._courier.hasten()
        self._queue.append(flush)
        self._wake()
        return flush.settled.wait(timeout) and self._lost_for_good == flush.lost_before

    @property
    def _is_done(self) -> bool:
        return self._idle and not self._queue and not self._put_back and self._courier.is_clear

    @property
    def _lost_for_good(self) -> int:
        return self.losses.calls() - self.losses.calls(semconv.QUEUE_FULL)

    @property
    def _is_answered(self) -> bool:
        return not self._courier.trouble.unreachable

    def _leave_time_for_the_backlog(self) -> None:
        self._bell.ring()
        if self._sending.acquire(timeout=_FOR_OTHERS):
            self._sending.release()

    def _whereabouts(self) -> str:
        spool = self._courier.spool
        if self._queue or spool is None:
            return "They are lost"
        return f"They wait in {spool.folder}, and the next process that sends there delivers them"

    def _refuse(self) -> None:
        detail = (
            f"{self._capacity} wait to be sent, and it takes no more:"
            f" {self._courier.trouble.reason or 'they come faster than they can be sent'}"
        )
        self.losses.count(semconv.QUEUE_FULL, 1, detail)

    def _wake(self) -> None:
        if self._has_ended:  # a call from another `atexit` function: no thread will get far any more
            self._save(_FOR_THE_DISK, losses=False)
        elif self._sending.acquire(blocking=False):
            self._start()  # it looks into the queue before it waits for the bell
        else:
            self._bell.ring()

    def _start(self) -> None:
        try:
            threading.Thread(target=self._run, name="pennytrace-sender", daemon=True).start()
        except RuntimeError:  # the interpreter is ending and starts no threads any more
            self._sending.release()
            self._save_queue()
            return
        also_at_the_end_of_a_child(self)

    def _run(self) -> None:
        while not (self._closing and self._has_nothing_left):
            self._rest()
            if not self._round():
                time.sleep(self._pause)  # a fault of ours, which has been told: no reason to turn in circles
        self._courier.transport.close()
        self._idle = True
        self._sending.release()
        if self._queue:  # put while we were leaving
            self._wake()

    @property
    def _has_nothing_left(self) -> bool:
        return not self._queue and not self._put_back and self._courier.is_clear

    def _rest(self) -> None:
        """Wait until there is something to do, and then a little for more of it."""
        self._idle = not self._is_stuck  # nobody needs to ring while a call more changes nothing
        if self._is_stuck or not (self._queue or self._put_back):
            self._bell.wait(self._courier.idle_for)
        self._idle = False
        self._bell.hush()
        if not self._is_stuck and len(self._queue) < BATCH and not self._is_in_a_hurry and self._queue:
            self._bell.wait(self._pause)

    @property
    def _is_stuck(self) -> bool:
        return self._courier.in_hand is not None

    @property
    def _is_in_a_hurry(self) -> bool:
        return self._closing or self._flushes > len(self._reached)

    @never_break_the_host("delivering calls")
    def _round(self) -> bool:
        keep_out_of_the_apps_traces()
        if self._courier.cargo.counted:
            show_in_the_apps_metrics(self)
        self._courier.settle()
        while not self._is_stuck and self._take_in_hand():
            self._courier.settle()
            if len(self._queue) < BATCH and not self._is_in_a_hurry:
                break
        self._answer_flushes()
        self._courier.clear_backlog(partial(self._has_enough, time.monotonic() + self._pause))
        self._courier.report_losses(at_once=self._closing)
        self._answer_flushes()
        return True

    def _has_enough(self, gathered_at: float) -> bool:
        waits = len(self._queue)
        return waits >= BATCH or (waits > 0 and (self._is_in_a_hurry or time.monotonic() >= gathered_at))

    def _take_in_hand(self) -> bool:
        with self._taking:
            body = self._take()
            if body is not None:
                self._courier.take_in_hand(body)
        return body is not None

    def _take(self) -> Body | None:
        """Write down the next calls; None when there are none before the next flush, or at all."""
        if self._put_back:
            return self._put_back.popleft()
        batch: list[bytes] = []
        while self._queue and len(batch) < BATCH:
            item = self._queue.popleft()
            if isinstance(item, _Flush):
                self._reached.append(item)
                continue
            span = _written(item)
            if span is not None:
                batch.append(span)
        return self._envelope.around(batch, calls=len(batch)) if batch else None

    def _answer_flushes(self) -> None:
        with self._taking:
            if self._saving.locked() or self._put_back or not self._courier.is_clear:
                return
            reached, self._reached = self._reached, []
        with self._counting:
            self._flushes -= len(reached)
        for flush in reached:
            flush.settled.set()

    def _relieve(self) -> None:
        """Let another thread make room in the queue while the sender waits for the collector."""
        if self._courier.can_keep and not self._saving.locked():
            _start_quietly(self._save_queue)

    @never_break_the_host("saying what is left to say")
    def _say_last(self) -> None:
        if self._before_the_end is not None:
            self._before_the_end()

    def _save(self, timeout: float, *, losses: bool, last: bool = False) -> None:
        # Another thread does it: this one may have been interrupted, by a signal, inside any of our locks.
        saved = threading.Event()

        def save() -> None:
            if last:
                self._say_last()
            self._save_all(timeout, losses=losses)
            saved.set()

        _start_quietly(save)
        saved.wait(timeout)

    @never_break_the_host("putting the last calls on disk")
    def _save_all(self, timeout: float, *, losses: bool) -> None:
        with self._saving_from_the_queue(timeout) as alone:
            if not alone or self.rests:
                return
            self._courier.save()
            self._move_to_disk()
            if losses:
                self._courier.save_losses()

    @never_break_the_host("putting calls on disk")
    def _save_queue(self) -> None:
        with self._saving_from_the_queue(0.0) as alone:
            if alone:
                self._move_to_disk()

    @contextmanager
    def _saving_from_the_queue(self, timeout: float) -> Iterator[bool]:
        alone = self._saving.acquire(timeout=timeout)
        try:
            yield alone
        finally:
            if alone:
                self._saving.release()
                self._bell.ring()

    def _move_to_disk(self) -> None:
        with self._taking:
            while (body := self._take()) is not None:
                if not self._courier.keep(body):
                    self._put_back.append(body)
                    return


@never_break_the_host("making room in the queue")
def _start_quietly(work: Callable[[], object]) -> None:
    # No threading.Thread: that waits until the new thread runs, and the app is waiting for us here.
    _thread.start_new_thread(work, ())


@never_break_the_host("writing a span")
def _written(encode: Encode) -> bytes:
    return encode()
