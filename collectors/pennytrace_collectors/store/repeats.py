"""Charge a call once, however many spans tell of it: a framework's, its client's, a gateway's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.client import Client

from pennytrace_collectors.store.client import Address, literal
from pennytrace_collectors.store.families import Id, Told, Verdict, Who, sort
from pennytrace_collectors.store.scripts import ANY_MONTHS, settle_sql

REPEAT: Final = "a repeat"
"""The `left_out` of a call that is charged at another span; table `repeats` says at which, and why."""
_PORTION: Final = 500
"""Traces and response ids that are looked at by one statement: they stand in it."""
_AROUND: Final = 3600
"""Seconds before and after the spans that are known of, in which there may be others of the same call."""


class _Place(NamedTuple):
    """A trace or a response id that several spans have, and when the first and the last of them began."""

    trace: str
    """In hex, or '' for a response id."""
    response: int
    earliest: int
    """Seconds since 1970."""
    latest: int


def leave_out_repeats(client: Client, address: Address) -> None:
    """Leave out what repeats a call, of what came since the last time. Safe to run twice, and beside other collectors.

    How far it came is noted down last, so that what was cut off is done again by the next one.
    """
    since, until = client.query(
        f"SELECT toString(max(searched_until)), toString(now64(3, 'UTC')) FROM {address.database}.repeat_searches"
    ).result_rows[0]
    due = client.query(settle_sql("repeats_due.sql", database=address.database, since=since)).result_rows
    for portion in _portions([_Place(*row) for row in due]):
        _leave_out(client, address, portion)
    if due or _minutes(since, until) >= 1:
        client.insert("repeat_searches", [[until]], ["searched_until"], database=address.database)


def _portions(due: Sequence[_Place]) -> Iterator[Sequence[_Place]]:
    """Places near each other in time, so that little is read to find what is stored of them."""
    ordered = sorted(due, key=lambda place: place.earliest)
    for start in range(0, len(ordered), _PORTION):
        yield ordered[start : start + _PORTION]


def _leave_out(client: Client, address: Address, places: Sequence[_Place]) -> None:
    where = {
        "database": address.database,
        "repeat": REPEAT,
        "earliest": str(max(0, min(place.earliest for place in places) - _AROUND)),
        "latest": str(max(place.latest for place in places) + _AROUND),
    }
    family = settle_sql(
        "repeats_family.sql",
        traces=_list([f"toFixedString(unhex('{place.trace}'), 16)" for place in places if place.trace]),
        responses=_list([str(place.response) for place in places if not place.trace]),
        **where,
    )
    stored = [_stored(row) for row in client.query(family).result_rows]
    known = {each.told.id: each for each in stored}
    verdicts = list(sort([each.told for each in stored]))
    # First why, then what: whoever asks for the reason of what is left out finds one.
    reasons = [_reason(each) for each in verdicts if known[each.told.id].lacks_reason(each)]
    if reasons:
        client.command(settle_sql("repeats_note.sql", reasons=_rows(reasons), **where), settings=ANY_MONTHS)
    changes = [_change(each) for each in verdicts if known[each.told.id].is_changed_by(each)]
    if changes:
        client.command(settle_sql("repeats_change.sql", changes=_rows(changes), **where), settings=ANY_MONTHS)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A call as it is stored, and why it is not charged, as far as that is noted."""

    told: Told
    is_charged: bool
    charged_at: Id
    because: str

    def lacks_reason(self, verdict: Verdict) -> bool:
        return not verdict.is_charged and (self.charged_at, self.because) != (
            verdict.charged_at,
            verdict.because,
        )

    def is_changed_by(self, verdict: Verdict) -> bool:
        return self.is_charged != verdict.is_charged or self.told.who != verdict.who


def _stored(row: Sequence[Any]) -> _Stored:
    trace, span, parent, response, scope, service, began, ended, kind, models = row[:10]
    read, written, _, quality, details, is_charged, is_closed, who, at_trace, at_span, because = row[10:]
    told = Told(
        id=Id(trace, span),
        parent=parent,
        response=response,
        scope=scope,
        service=service,
        began=began,
        ended=ended,
        kind=kind,
        models=frozenset(models),
        read=read,
        written=written,
        quality=quality,
        details=details,
        is_closed=bool(is_closed),
        who=Who(*who),
    )
    return _Stored(told, bool(is_charged), Id(at_trace, at_span), because)


def _reason(verdict: Verdict) -> Mapping[str, object]:
    at_trace, at_span = verdict.charged_at
    return {**_place(verdict), "at_trace": at_trace, "at_span": at_span, "because": verdict.because}


def _change(verdict: Verdict) -> Mapping[str, object]:
    left_out = "" if verdict.is_charged else REPEAT
    return {**_place(verdict), **verdict.who._asdict(), "left_out": left_out}


def _place(verdict: Verdict) -> Mapping[str, object]:
    return {"began": verdict.told.began, **verdict.told.id._asdict()}


def _rows(values: Sequence[Mapping[str, object]]) -> str:
    return literal("\n".join(map(json.dumps, values)))


def _list(values: Sequence[str]) -> str:
    return ", ".join(values) or "NULL"


def _minutes(since: str, until: str) -> float:
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds() / 60
