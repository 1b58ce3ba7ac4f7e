"""Brings bodies to the collector, and to the spool for as long as the collector does not take them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from pennytrace import semconv
from pennytrace._delivery.backoff import Backoff
from pennytrace._delivery.body import Body, Envelope
from pennytrace._delivery.cargo import Cargo
from pennytrace._delivery.late import in_one_piece
from pennytrace._delivery.losses import Losses
from pennytrace._delivery.post import Answer, Posted, Transport, post
from pennytrace._delivery.spool import Entry, Spool
from pennytrace._guard import never_break_the_host, tell_once

_LOOK: Final = 30.0  # seconds after which to look again for what other processes have left
_BUSY: Final = 0.25  # seconds to wait while another process sends from the spool
_SPOOL_REST: Final = 5.0  # seconds to leave a disk alone that could not be written


class InHand:
    """The body that is being sent, or that could be put down nowhere."""

    __slots__ = ("body", "copy")

    def __init__(self, body: Body) -> None:
        self.body = body
        self.copy: Entry | None = None
        """The file that it was saved in, to be on the safe side, while the attempt goes on."""


class Courier:
    """What the sender's thread does with bodies. Only `keep` and `save` may be called from another thread."""

    def __init__(
        self, transport: Transport, envelope: Envelope, spool: Spool | None, *, cargo: Cargo
    ) -> None:
        self.cargo = cargo
        self.transport = transport
        self.envelope = envelope
        self.spool = spool
        self.start_afresh()

    def start_afresh(self) -> None:
        """Begin with nothing, over a connection of its own."""
        self.in_hand: InHand | None = None
        self._putting_down = threading.Lock()  # two threads may want what is in hand on disk
        self.sending = False
        """An attempt is going on; it may take as long as its time-out."""
        self.trouble = Answer(accepted=True)
        """The answer to the last attempt."""
        self.losses = Losses(self.cargo)
        self.backoff = Backoff()
        self._backlog_backoff = Backoff()
        self._waits = True  # what others have left, perhaps: to be looked for at the first opportunity
        self._next_look = 0.0
        self._spool_rests_until = 0.0
        self._failed: set[str] = set()  # files that should not be the first ones to be tried again
        self.transport.close()
        if self.spool is not None:
            self.spool.start_afresh()

    @property
    def is_clear(self) -> bool:
        """Whether everything that was given to it is settled: accepted, or lost for good."""
        return self.in_hand is None and not (self.spool and self.spool.own_calls)

    @property
    def rests(self) -> bool:
        """Whether nobody takes such things at the other side, and it is too early to ask again."""
        return self.trouble.absent and self.backoff.left > 0

    @property
    def can_keep(self) -> bool:
        """Whether the disk is worth a try."""
        return self.spool is not None and time.monotonic() >= self._spool_rests_until

    @property
    def idle_for(self) -> float | None:
        """Seconds until there is something to do even if no call comes; None when there is nothing."""
        if self.in_hand is not None:
            return self.backoff.left
        if self._waits and self.spool is not None:
            return max(self.backoff.left, self._until_look)
        return None

    def hasten(self) -> None:
        """Try again at once, because somebody waits for it."""
        self.backoff.hasten()
        self._backlog_backoff.hasten()
        self._next_look = 0.0

    def take_in_hand(self, body: Body) -> None:
        """Be responsible for a body from now on."""
        self.in_hand = InHand(body)

    def settle(self) -> None:
        """Send what is in hand; while the collector is away, or when that fails, put it into the spool.

        What nobody takes at the other side stays in hand, or the disk would fill with it.
        """
        held = self.in_hand
        if held is None:
            return
        if not self.backoff.left:
            posted = self._attempt(held.body)
            if not posted.answer.again:
                self.losses.count(semconv.REFUSED, posted.lost, posted.reason)
                self._drop(held)
                return
        with self._putting_down:
            if not self.rests and (held.copy or self.keep(held.body)):
                self.in_hand = None

    def keep(self, body: Body, *, apart: bool = False) -> Entry | None:
        """Put a body into the spool, and return its file; None when there is none, or it cannot be written.

        Args:
            body: What to put there.
            apart: In a file of its own.
        """
        if self.spool is None or not self.can_keep:
            return None
        try:
            entry, dropped = self.spool.add(body, apart=apart)
        except OSError as error:
            self._disk_failed(error)
            return None
        self._waits = True
        self._next_look = 0.0
        self.losses.count(semconv.SPOOL_FULL, dropped, _full(self.spool))
        return entry

    def save(self) -> None:
        """Put a copy of what is in hand into the spool."""
        with self._putting_down:
            held = self.in_hand
            if held is not None and held.copy is None:
                held.copy = self.keep(held.body, apart=True)

    def clear_backlog(self, enough: Callable[[], bool]) -> None:
        """Send what waits in the spool, oldest first, until nothing does, it fails, or `enough` says so."""
        spool = self.spool
        if spool is None or self.in_hand is not None or self.backoff.left or self._until_look:
            return
        self._next_look = time.monotonic() + _LOOK
        self._waits = False  # before looking: what another thread adds meanwhile says so again
        try:
            if spool.entries():
                self._waits = not self._send_all(spool, enough) or self._waits
        except OSError as error:
            self._waits = True
            self._disk_failed(error)

    def report_losses(self, *, at_once: bool = False) -> None:
        """Tell the collector, and whoever asks `pennytrace doctor`, what was lost."""
        self._note_losses()
        if self.trouble.again or self.backoff.left or not self.cargo.counted:
            return  # one report when it is over says more than many that wait
        spans = self.losses.report(at_once=at_once)
        if spans and not self._attempt(self._report(spans)).answer.again:
            self.losses.reported()

    def save_losses(self) -> None:
        """Put into the spool what the collector has not been told about losses."""
        self._note_losses()
        spans = self.losses.report(at_once=True) if self.cargo.counted else ()
        if spans and self.keep(self._report(spans)):
            self.losses.reported()

    def _drop(self, settled: InHand) -> None:
        with self._putting_down:
            self.in_hand = None
            if settled.copy is not None and self.spool is not None:
                try:
                    self.spool.remove(settled.copy)
                except OSError as error:
                    self._disk_failed(error)

    def _report(self, spans: Sequence[bytes]) -> Body:
        return self.envelope.around(spans, calls=0)

    def _note_losses(self) -> None:
        losses = self.losses.not_yet_kept()
        if not losses or self.spool is None:
            return
        with in_one_piece():
            from pennytrace._delivery import ledger  # here, because it brings json

        try:
            self.spool.make_folder()
            ledger.keep(self.spool.folder, losses)
        except OSError as error:
            self._disk_failed(error)

    def _attempt(self, body: Body) -> Posted:
        self.sending = True
        try:
            posted = _posted(self.transport, body) or _FAULT
        finally:
            self.sending = False
        self.trouble = posted.answer
        if posted.answer.again:
            self._tell(posted.answer)
            self.backoff.failed(posted.answer.after)
        else:
            self.backoff.succeeded()
        return posted

    def _tell(self, answer: Answer) -> None:
        about = f"delivery of {self.cargo.name}"
        if answer.absent:
            minutes = (answer.after or 0.0) / 60
            told = "pennytrace cannot deliver %s, and asks again every %.0f minutes: %s"
            tell_once(about, told, self.cargo.name, minutes, answer.reason)
        else:
            tell_once(
                about, "pennytrace cannot deliver %s, and keeps trying: %s", self.cargo.name, answer.reason
            )

    @property
    def _until_look(self) -> float:
        return max(self._backlog_backoff.left, self._next_look - time.monotonic(), 0.0)

    def _send_all(self, spool: Spool, enough: Callable[[], bool]) -> bool:
        """Return whether nothing waits any more."""
        with spool.held() as alone:
            if not alone:
                self._next_look = time.monotonic() + _BUSY
                return False
            spool.clear_drafts()
            self._next_look = 0.0
            for entry in self._in_order(spool.entries()):
                if not self._send(spool, entry) or enough():
                    return False
            some_failed = bool(self._failed)
            self._failed.clear()
        if not some_failed:
            self._next_look = time.monotonic() + _LOOK
        return not some_failed

    def _in_order(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        # A body that makes the collector fail must not keep all the others waiting behind it.
        others = [entry for entry in entries if entry.name not in self._failed]
        if not others:
            self._failed.clear()
        return others or entries

    def _send(self, spool: Spool, entry: Entry) -> bool:
        body = spool.read(entry)
        if body is None:
            return True
        if not body.is_whole():
            spool.set_aside(entry)
            detail = f"{entry.name} in {spool.folder} is damaged, and was set aside"
            self.losses.count(semconv.SPOOL_DAMAGED, entry.calls, detail)
            return True
        posted = self._attempt(body)
        if posted.answer.again:
            self._try_others_first(entry, posted.answer)
            return False
        self._backlog_backoff.succeeded()
        self.losses.count(semconv.REFUSED, posted.lost, posted.reason)
        spool.remove(entry)
        return True

    def _try_others_first(self, entry: Entry, answer: Answer) -> None:
        if answer.suspect:
            self._failed.add(entry.name)
            self._backlog_backoff.failed(None)

    def _disk_failed(self, error: OSError) -> None:
        self._spool_rests_until = time.monotonic() + _SPOOL_REST
        tell_once(
            "spool",
            "pennytrace cannot use its spool, and keeps %s in memory while it can: %s; PENNYTRACE_SPOOL "
            "names another folder",
            self.cargo.name,
            error,
        )


_FAULT: Final = Posted(Answer(accepted=False, again=True, suspect=True, reason="a fault in pennytrace"))


@never_break_the_host("sending calls to the collector")
def _posted(transport: Transport, body: Body) -> Posted:
    return post(transport, body)


def _full(spool: Spool) -> str:
    megabytes = spool.limit / 1024 / 1024
    return f"{spool.folder} has reached its {megabytes:.0f} MiB, and the oldest went; PENNYTRACE_SPOOL_SIZE sets that"
