"""Which calls a trial or a correction looks at, and in which portions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from pennytrace_collectors.store.tables import Tables

_PORTION: Final = 200_000
"""Calls of a portion, at least an hour of them: more need more memory, fewer pay more often for planning a query."""
_HOUR: Final = timedelta(hours=1)
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_LIKE: Final = {"*": "%", "%": "\\%", "_": "\\_", "\\": "\\\\"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Calls from `since` up to, not including, `until`; an empty text selects any, `*` stands for any characters."""

    since: datetime
    until: datetime
    provider: str = ""
    model: str = ""
    """As reports show it: the model that answered, else the one that was asked for."""
    feature: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a piece of work has come."""

    done: int
    """Calls."""
    total: int
    at: datetime
    """All calls before this moment are done."""


def portions(store: Tables, selection: Selection) -> Iterator[tuple[Selection, Progress]]:
    """The selection cut into consecutive portions, each with the progress made when it is done; none is empty."""
    hours = _by_hour(store, selection)
    total = sum(calls for _, calls in hours)
    done = waiting = 0
    start = selection.since
    for place, (hour, calls) in enumerate(hours, 1):
        waiting += calls
        if place == len(hours) or waiting + hours[place][1] > _PORTION:
            end = min(hour + _HOUR, selection.until)
            done += waiting
            yield replace(selection, since=start, until=end), Progress(done, total, end)
            start, waiting = end, 0


def condition(selection: Selection, database: str) -> str:
    """The selection as an SQL condition on `calls`; calls that are stored and never charged are left out."""
    parts = [
        f"started_at >= {_moment(selection.since)}",
        f"started_at < {_moment(selection.until)}",
        "left_out = ''",
        f"(batch_total = 0 OR batch_key NOT IN (SELECT batch_key FROM {database}.batch_lines))",
    ]
    wanted = {
        "provider": selection.provider,
        "if(response_model != '', response_model, request_model)": selection.model,
        "feature": selection.feature,
    }
    parts += [f"{column} LIKE {_pattern(text)}" for column, text in wanted.items() if text]
    return " AND ".join(parts)


def _by_hour(store: Tables, selection: Selection) -> list[tuple[datetime, int]]:
    database = store.address.database
    rows = store.client.query(
        f"SELECT toUnixTimestamp(toStartOfHour(started_at)) AS hour, count() FROM {database}.calls FINAL "
        f"WHERE {condition(selection, database)} GROUP BY hour ORDER BY hour"
    ).result_rows
    return [(datetime.fromtimestamp(hour, tz=UTC), calls) for hour, calls in rows]


def _moment(moment: datetime) -> str:
    seconds = int(min(max(moment, _EARLIEST), _LATEST).timestamp())
    return f"fromUnixTimestamp64Nano({seconds * 1_000_000_000 + moment.microsecond * 1_000}, 'UTC')"


def _pattern(text: str) -> str:
    """An SQL literal for LIKE that matches the text, `*` standing for any characters."""
    pattern = "".join(_LIKE.get(character, character) for character in text)
    escaped = pattern.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
