"""Bring stored calls to their final state: price what waited for its rate card, and charge each call once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Final

from clickhouse_connect.driver.client import Client

from pennytrace_collectors.catalog import Catalog, Resolution, SeenModel
from pennytrace_collectors.store.cards import insert_composed, reload
from pennytrace_collectors.store.client import Address
from pennytrace_collectors.store.joins import join
from pennytrace_collectors.store.pricing import again
from pennytrace_collectors.store.repeats import leave_out_repeats
from pennytrace_collectors.store.scripts import ANY_MONTHS, settle_sql

_COLUMNS: Final = (
    "provider",
    "host",
    "request_model",
    "response_model",
    "rate_card",
    "tiered",
    "sized",
    "reason",
    "candidates",
    "why",
    "catalog",
    "resolved_at",
)
_KEY: Final = "provider, host, request_model, response_model"
_GPU: Final = "gpu:"  # see views/35_unresolved.sql


def settle(client: Client, address: Address, catalog: Catalog) -> None:
    """Resolve the models that loads have left unresolved, price their calls, and charge each call once.

    The work lists are cleared last, so that a settle that was cut off is done again by the next one.
    """
    _price_new_models(client, address, catalog)
    leave_out_repeats(client, address)
    join(client, address)  # to what is charged, so after it


def _price_new_models(client: Client, address: Address, catalog: Catalog) -> None:
    waiting = _seen(client, f"SELECT DISTINCT {_KEY} FROM {address.database}.unresolved")
    if not waiting:
        return
    _resolve(client, address, catalog, waiting, done_by=catalog.identity)
    _price_again(client, address, settle_sql("unresolved.sql", database=address.database))
    client.command(settle_sql("clear_resolved.sql", database=address.database))


def resolve_again(client: Client, address: Address, catalog: Catalog) -> None:
    """Resolve by a price list every model that another one has resolved, and price the calls that had no price.

    The models are marked as resolved by this list last, so that what was cut off is done again by the next start.
    """
    by_others = f"SELECT {_KEY} FROM {address.database}.models FINAL WHERE catalog != {{catalog:String}}"
    seen = _seen(client, by_others, catalog=catalog.identity)
    if not seen:
        return
    _resolve(client, address, catalog, seen, done_by="")
    _price_again(client, address, settle_sql("without_price.sql", database=address.database))
    _exchange_again(client, address, catalog)
    _resolve(client, address, catalog, seen, done_by=catalog.identity)


def resolve_elsewhere(client: Client, store: Address, elsewhere: Address, catalog: Catalog) -> None:
    """Resolve by a price list every model that a store has seen, into the tables of a database beside it."""
    seen = _seen(client, f"SELECT {_KEY} FROM {store.database}.models FINAL")
    if seen:
        _insert_resolved(client, elsewhere, catalog, seen, done_by=catalog.identity)


def _seen(client: Client, query: str, **values: str) -> list[SeenModel]:
    return [SeenModel(*row) for row in client.query(query, parameters=values).result_rows]


def _resolve(
    client: Client, address: Address, catalog: Catalog, models: Sequence[SeenModel], *, done_by: str
) -> None:
    _insert_resolved(client, address, catalog, models, done_by=done_by)
    reload(client, address, "model_rate_card", "candidate_rate_card")


def _insert_resolved(
    client: Client, address: Address, catalog: Catalog, models: Sequence[SeenModel], *, done_by: str
) -> None:
    now = datetime.now(UTC)
    found = [(seen, _resolution(seen, catalog)) for seen in models]
    insert_composed(client, address, catalog, {resolution.rate_card for _, resolution in found})
    rows = [_row(seen, resolution, done_by, now) for seen, resolution in found]
    client.insert("models", rows, _COLUMNS, database=address.database)


def _row(seen: SeenModel, found: Resolution, catalog: str, now: datetime) -> list[object]:
    key = [seen.provider, seen.host, seen.request_model, seen.response_model]
    applies = [found.rate_card, int(found.tiered), int(found.sized), found.reason]
    return [*key, *applies, list(found.candidates), list(found.why), catalog, now]


def _resolution(seen: SeenModel, catalog: Catalog) -> Resolution:
    return _gpu(seen.host, seen.request_model, catalog) if seen.provider == _GPU else catalog.resolve(seen)


def _gpu(pool: str, model: str, catalog: Catalog) -> Resolution:
    """The rate of a pool before that of a GPU's model, and an exact name before one with wildcards."""
    rates = catalog.gpu_rates
    named = (
        *(rate.name for rate in rates if rate.pool and rate.pool == pool),
        *(rate.name for rate in rates if rate.cpu and model == "cpu"),
        *(rate.name for rate in rates if rate.gpu and rate.gpu == model),
        *(rate.name for rate in rates if rate.gpu and model and fnmatchcase(model, rate.gpu)),
    )
    return Resolution(named[0]) if named else Resolution(reason="no rate for its GPU")


def _price_again(client: Client, address: Address, which: str) -> None:
    stored = again(address.database, which)
    client.command(
        settle_sql("price_again.sql", database=address.database, again=stored), settings=ANY_MONTHS
    )


def _exchange_again(client: Client, address: Address, catalog: Catalog) -> None:
    client.command(
        settle_sql("exchange_again.sql", database=address.database, currency=catalog.currency),
        settings=ANY_MONTHS,
    )
