"""What happens to a body, whichever protocol brought it: check, journal, count."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from pennytrace_collectors.errors import BadRequest, Overloaded, TooLarge

from .bearer import ANYONE, Bearer, Doors, OpenDoors
from .budget import Budget
from .check import Checked
from .guard import LARGE
from .signals import TRACES, Signal
from .stamp import stamped

Wire = Literal["http/protobuf", "http/json", "grpc"]
"""How a body came, by the names of OTEL_EXPORTER_OTLP_PROTOCOL."""

_LARGE_JSON: Final = 64 * 1024
"""Bytes of JSON from which reading it would hold up the event loop: 64 KiB take about 10 ms."""

MEBIBYTE: Final = 1024**2
BODY_BYTES: Final = 64 * MEBIBYTE
JSON_BYTES: Final = 16 * MEBIBYTE
"""Read, JSON takes some thirty times its size."""
IN_FLIGHT_BYTES: Final = 512 * MEBIBYTE


class BodyLog(Protocol):
    """Where bodies are kept until they are loaded."""

    async def append(self, body: bytes, *, spans: int) -> None:
        """Return once the body is safe.

        Raises:
            Overloaded: It cannot be kept now.
        """
        ...


@dataclass(slots=True)
class Tally:
    """What has been received since the start."""

    requests: Counter[str] = field(default_factory=Counter)
    """Requests by protocol, rejected ones included."""
    spans: int = 0
    """Spans that were acknowledged as kept."""
    rejected_requests: Counter[str] = field(default_factory=Counter)
    """Requests that were answered with an error, by reason."""
    rejected_spans: int = 0
    """Spans of acknowledged requests that were rejected."""
    points: int = 0
    """Data points of GPUs that were acknowledged as kept; others are none of ours."""
    rejected_points: int = 0
    """Data points of GPUs, of acknowledged requests, that were rejected."""


class Intake:
    """Keeps bodies; used on one event loop."""

    def __init__(self, log: BodyLog, *, budget: Budget | None = None, doors: Doors | None = None) -> None:
        """Keep bodies of whom `doors` let in, in `log`, holding no more in memory than `budget` allows."""
        self.budget = budget or Budget(IN_FLIGHT_BYTES, body_bytes=BODY_BYTES)
        self.tally = Tally()
        self._doors = doors or OpenDoors()
        self._log = log
        # One thread: what is slow to read is also large when read, so bodies take turns.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="otlp-large")

    def count_request(self, protocol: Wire) -> None:
        """Count a request that has arrived."""
        self.tally.requests[protocol] += 1

    def count_rejection(self, error: BadRequest | Overloaded) -> None:
        """Count a request that is answered with an error."""
        self.tally.rejected_requests[error.label] += 1

    def admit(self, authorization: str) -> Bearer:
        """Return whose request it is, before anything of its body is read.

        Raises:
            Unauthenticated: A token is needed, and it has none that is known.
            OverAllowance: Its token has sent too much.
        """
        bearer = self._doors.admit(authorization)
        bearer.require_allowance()
        return bearer

    async def accept_protobuf(self, body: bytes, signal: Signal = TRACES, bearer: Bearer = ANYONE) -> Checked:
        """Keep a protobuf body of a signal; when this returns, what `Checked` says was kept is on disk.

        Raises:
            Malformed: The body is not OTLP; nothing of it is kept.
            Forbidden: Its bearer may not send it; nothing of it is kept.
            Overloaded: It cannot be kept now; nothing of it is.
        """
        bearer.spend(len(body))
        # From here on reading it would hold up the event loop.
        if len(body) < LARGE:
            return await self._keep(signal.check(body), bearer)
        loop = asyncio.get_running_loop()
        return await self._keep(await loop.run_in_executor(self._reader, signal.check, body), bearer)

    async def accept_json(self, body: bytes, signal: Signal = TRACES, bearer: Bearer = ANYONE) -> Checked:
        """Keep a JSON body of a signal as protobuf; promises and raises what `accept_protobuf` does, and TooLarge."""
        if len(body) > JSON_BYTES:
            raise TooLarge(
                f"the body is larger than the {JSON_BYTES} bytes that JSON may have; send protobuf"
            )
        bearer.spend(len(body))
        if len(body) < _LARGE_JSON:
            return await self._keep(signal.check_json(body), bearer)
        loop = asyncio.get_running_loop()
        return await self._keep(await loop.run_in_executor(self._reader, signal.check_json, body), bearer)

    def close(self) -> None:
        """Stop the thread that reads what is large."""
        self._reader.shutdown()

    async def _keep(self, checked: Checked, bearer: Bearer) -> Checked:
        if checked.spans or checked.points:
            await self._log.append(stamped(checked, bearer), spans=checked.spans)
        self.tally.spans += checked.spans
        self.tally.points += checked.points
        self.tally.rejected_spans += checked.rejected_spans
        self.tally.rejected_points += checked.rejected_points
        return checked
