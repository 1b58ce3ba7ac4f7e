"""Bring stored calls to their final state: find the rate cards of new models, and price again what waited for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from string import Template
from typing import Final

from clickhouse_connect.driver.client import Client

from pennytrace_collectors.catalog import Catalog, SeenModel, resolve
from pennytrace_collectors.store.client import Address
from pennytrace_collectors.store.dialects import parameters

_COLUMNS: Final = (
    "provider",
    "host",
    "request_model",
    "response_model",
    "rate_card",
    "tiered",
    "reason",
    "catalog",
    "resolved_at",
)
# Spans carry the clocks of many machines; a batch with many months in it is rare, but not wrong.
ANY_MONTHS: Final = {"max_partitions_per_insert_block": 0}
_KEY: Final = "provider, host, request_model, response_model"


def settle(client: Client, address: Address, catalog: Catalog) -> None:
    """Resolve the models that loads have left unresolved, and price their calls.

    The work list is cleared last, so that a settle that was cut off is done again by the next one.
    """
    waiting = _waiting(client, address)
    if not waiting:
        return
    _resolve(client, address, catalog, waiting)
    _price_again(client, address, _sql("unresolved.sql", address))
    client.command(_sql("clear_resolved.sql", address))


def resolve_again(client: Client, address: Address, catalog: Catalog) -> None:
    """Resolve every model ever seen by another price list, and put those it prices anew on the work list."""
    rows = client.query(f"SELECT {_KEY} FROM {address.database}.resolved_models").result_rows
    seen = [SeenModel(*row) for row in rows]
    if seen:
        _resolve(client, address, catalog, seen)
        _price_again(client, address, _sql("without_price.sql", address))


def _waiting(client: Client, address: Address) -> list[SeenModel]:
    rows = client.query(f"SELECT DISTINCT {_KEY} FROM {address.database}.unresolved").result_rows
    return [SeenModel(*row) for row in rows]


def _resolve(client: Client, address: Address, catalog: Catalog, models: Sequence[SeenModel]) -> None:
    now = datetime.now(UTC)
    rows = []
    for seen in models:
        found = resolve(seen, catalog)
        key = [seen.provider, seen.host, seen.request_model, seen.response_model]
        rows.append([*key, found.rate_card, int(found.tiered), found.reason, catalog.identity, now])
    client.insert("models", rows, _COLUMNS, database=address.database)
    client.command(f"SYSTEM RELOAD DICTIONARY {address.database}.model_rate_card")


def _price_again(client: Client, address: Address, which: str) -> None:
    client.command(_sql("price_again.sql", address, which=which), settings=ANY_MONTHS)


def _sql(name: str, address: Address, **values: str) -> str:
    text = files("pennytrace_collectors.store").joinpath("sql", "settle", name).read_text("utf-8")
    return Template(text).substitute(parameters(), database=address.database, **values)
