"""Runs what a client asks, from the statement to the first bytes of its answer; called in a worker thread."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from . import handshake, rules
from .engine import Answer, Engine, Order, Tally
from .faults import Code, Fault
from .limits import Limits
from .request import Ask
from .settings import with_own, within
from .statement import Inspector, Statement

_READ_AHEAD: Final = 1024 * 1024
"""Bytes that are read before any is sent, so that most errors still get a status of their own."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The beginning of an answer, or all of it."""

    format: str
    timezone: str
    head: bytes
    rest: Answer | None = None
    """What is still to be read; the one who reads it must close it."""
    tally: Tally = field(default_factory=Tally)
    elapsed_ns: int = 0


@dataclass(frozen=True, slots=True)
class Answering:
    """Answers statements about one database."""

    engine: Engine
    inspector: Inspector
    database: str
    limits: Limits

    def begin(self, ask: Ask, name: str, *, spend_only: bool = False) -> Reply:
        """Check a statement, start it under a name, and read the beginning of its answer.

        A reader of `spend_only` may name no other tables of the store.

        Raises:
            Fault: It is refused, or it fails.
        """
        started = time.perf_counter_ns()
        self._require_database(ask.database)
        if not ask.text.strip():
            raise Fault(Code.SYNTAX_ERROR, "Syntax error: Empty query")
        statement = self.inspector.inspect(ask.text, ask.parameters, spend_only=spend_only)
        format = _format(statement, ask)
        build = self.inspector.build
        if handshake.is_handshake(statement.sql, format, ask.protocol):
            return Reply(format, build.timezone, handshake.reply(build.version, build.timezone, ask.protocol))
        order = self._order(statement, ask, format, name, spend_only)
        answer = self.engine.run(order)
        head, ended = _beginning(answer, whole=not order.streamed or ask.waits)
        return Reply(
            format=format,
            timezone=order.settings.get("session_timezone") or build.timezone,
            head=head,
            rest=None if ended else answer,
            tally=answer.tally,
            elapsed_ns=time.perf_counter_ns() - started,
        )

    def _require_database(self, name: str) -> None:
        # What a server calls `default` is here the one database that there is to read.
        if name not in ("", "default", self.database):
            raise Fault(Code.UNKNOWN_DATABASE, f"Database {name} does not exist")

    def _order(self, statement: Statement, ask: Ask, format: str, name: str, spend_only: bool) -> Order:
        streamed = statement.is_select and format.lower() in rules.STREAMED_FORMATS
        build = self.inspector.build
        settings = within(self.limits, ask.settings, build, held_whole=not streamed or ask.waits)
        settings = with_own(settings, statement.settings, build)
        if filters := settings.get("additional_table_filters"):
            self.inspector.require_filters(filters, spend_only=spend_only)
        return Order(
            sql=statement.sql,
            format=format,
            parameters=ask.parameters,
            settings=settings,
            streamed=streamed,
            name=name,
            readonly=2 if statement.asks_settings else 1,
        )


def _format(statement: Statement, ask: Ask) -> str:
    format = statement.format or ask.format or "TabSeparated"
    if format.lower() not in rules.FORMATS:
        raise Fault(Code.UNKNOWN_FORMAT, f"Unknown format {format}")
    return format


def _beginning(answer: Answer, *, whole: bool) -> tuple[bytes, bool]:
    """Return the first bytes of an answer and whether they are all."""
    pieces: list[bytes] = []
    size = 0
    while whole or size < _READ_AHEAD:
        piece = answer.read()
        if piece is None:
            return b"".join(pieces), True
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces), False
