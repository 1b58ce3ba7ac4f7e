"""Charge a call of a self-hosted model once: its client's record and its engine's share a response id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from clickhouse_connect.driver.client import Client

from pennytrace_collectors.store.client import Address
from pennytrace_collectors.store.pricing import again
from pennytrace_collectors.store.scripts import ANY_MONTHS, settle_sql

_PORTION: Final = 2000
"""Calls that are joined by one statement: their ids stand in it."""
_NOTED_EVERY: Final = timedelta(minutes=1)
"""How often it is noted down that there was nothing to join, so that less has to be looked through the next time."""


class _Call(NamedTuple):
    """A call that may have to be joined, and when all that is stored of it began."""

    response_key: int
    earliest: int
    """Seconds since 1970."""
    latest: int


def join(client: Client, address: Address) -> None:
    """Join what came since the last time. Costs next to nothing where no engine tells of its calls.

    How far it came is noted down last, so that what was cut off is done again by the next one.
    """
    if not client.command(f"SELECT count() FROM {address.database}.gpu_records"):
        return
    ((since, until),) = client.query(settle_sql("joins_from.sql", database=address.database)).result_rows
    due = [
        _Call(*row)
        for row in client.query(settle_sql("due.sql", database=address.database, since=since)).result_rows
    ]
    for portion in _portions(due):
        _join(client, address, portion)
    if due or datetime.fromisoformat(until) - datetime.fromisoformat(since) > _NOTED_EVERY:
        client.insert("gpu_joins", [[until]], ["joined_until"], database=address.database)


def _portions(due: Sequence[_Call]) -> Iterator[Sequence[_Call]]:
    """Calls near each other in time, so that little is read to find what is stored of them."""
    for start in range(0, len(due), _PORTION):
        yield due[start : start + _PORTION]


def _join(client: Client, address: Address, calls: Sequence[_Call]) -> None:
    joined = settle_sql(
        "joined.sql",
        database=address.database,
        keys=", ".join(str(call.response_key) for call in calls),
        earliest=str(min(call.earliest for call in calls)),
        latest=str(max(call.latest for call in calls)),
    )
    # The engine's records last: cut off in between, a call is charged twice until the next settle, and not lost.
    anew = again(address.database, "NOT keeps_price", calls=f"({joined})")
    client.command(settle_sql("price_again.sql", database=address.database, again=anew), settings=ANY_MONTHS)
    client.command(settle_sql("join.sql", database=address.database, joined=joined), settings=ANY_MONTHS)
