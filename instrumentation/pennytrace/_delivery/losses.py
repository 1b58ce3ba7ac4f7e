"""Counts the calls that were lost, so that none is lost in silence: in the log, on disk, in the collector.

The same for anything else that is delivered, but for the collector: it keeps count of calls only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from pennytrace import semconv
from pennytrace._delivery.cargo import CALLS, Cargo
from pennytrace._delivery.otlp import Span, encode_span
from pennytrace._guard import tell_once

_BETWEEN_REPORTS: Final = 60.0  # seconds


class Loss(NamedTuple):
    """Calls that were lost for one reason."""

    reason: str
    calls: int
    since_ns: int
    """When the first of them was lost: nanoseconds since 1970, UTC."""
    detail: str
    """What was said or seen at the last of them."""


class _Tally:
    """The losses for one reason, in this process."""

    __slots__ = ("calls", "detail", "kept", "next_report", "reported", "since_ns")

    def __init__(self) -> None:
        self.calls = 0
        self.kept = 0
        self.reported = 0
        self.since_ns = 0
        self.next_report = 0.0
        self.detail = ""


class Losses:
    """What one delivery has lost since the start of the process, by reason."""

    def __init__(self, cargo: Cargo = CALLS) -> None:
        self.cargo = cargo
        self._tallies = {reason: _Tally() for reason in semconv.LOST_REASONS}
        self._report: list[bytes] = []

    def count(self, reason: str, calls: int, detail: str) -> None:
        """Count lost calls, and log the first; in any thread, and without waiting."""
        if not calls:
            return
        tally = self._tallies[reason]
        if tally.calls == tally.reported:
            tally.since_ns = time.time_ns()
        tally.calls += calls
        tally.detail = detail
        tell_once(
            f"lost {self.cargo.name}: {reason}",
            "pennytrace lost %d %s (%s): %s. `pennytrace doctor` says how many it becomes.",
            calls,
            self.cargo.name,
            reason,
            detail,
        )

    def calls(self, *reasons: str) -> int:
        """Return how many calls were lost for these reasons; without any, for all."""
        return sum(self._tallies[reason].calls for reason in reasons or semconv.LOST_REASONS)

    def not_yet_kept(self) -> list[Loss]:
        """Return what was lost since the last time this was asked."""
        found = []
        for reason, tally in self._tallies.items():
            calls = tally.calls
            if calls > tally.kept:
                found.append(Loss(reason, calls - tally.kept, tally.since_ns, tally.detail))
                tally.kept = calls
        return found

    def report(self, *, at_once: bool = False) -> Sequence[bytes]:
        """Return encoded spans that tell the collector: the same ones until `reported`.

        The same, with their ids, because an answer may get lost on its way and the losses would count twice.

        Args:
            at_once: Do not wait until a minute has passed since the last report.
        """
        if not self._report:
            self._report = [self._span(reason) for reason in self._due(at_once=at_once)]
        return self._report

    def reported(self) -> None:
        """Note that the report was accepted, or is safe."""
        self._report = []

    def _due(self, *, at_once: bool) -> list[str]:
        now = time.monotonic()
        return [
            reason
            for reason, tally in self._tallies.items()
            if tally.calls > tally.reported and (at_once or now >= tally.next_report)
        ]

    def _span(self, reason: str) -> bytes:
        tally = self._tallies[reason]
        calls = tally.calls - tally.reported
        tally.reported += calls
        tally.next_report = time.monotonic() + _BETWEEN_REPORTS
        ids = os.urandom(24)
        span = Span(
            trace_id=ids[8:],
            span_id=ids[:8],
            parent_id=None,
            name=semconv.LOSS,
            started_ns=tally.since_ns,
            ended_ns=time.time_ns(),
            attributes={semconv.LOST_CALLS: calls, semconv.LOST_REASON: reason},
            failed=False,
            internal=True,
        )
        return encode_span(span)
