"""A price list tried out beside the one in force: in a database of its own, which is gone afterwards."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from pennytrace_collectors.catalog import Catalog
from pennytrace_collectors.store.cards import reload
from pennytrace_collectors.store.client import Address
from pennytrace_collectors.store.migrate import make_views
from pennytrace_collectors.store.prices import enter
from pennytrace_collectors.store.pricing import PriceList, in_force
from pennytrace_collectors.store.settle import resolve_elsewhere
from pennytrace_collectors.store.tables import Tables

_TABLES: Final = ("prices", "catalogs", "models", "exchange_rates")
_LEFT_BEHIND_AFTER_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Tried:
    """A price list that calls can be priced by."""

    identity: str
    prices: PriceList


@contextmanager
def tried_out(store: Tables, catalog: Catalog | None) -> Iterator[Tried]:
    """The dictionaries of a price list, made for the duration; for None those of the list in force."""
    if catalog is None:
        yield Tried(identity_in_force(store), in_force(store.address.database))
        return
    _drop_left_behind(store)
    aside = replace(
        store.address, database=f"{_prefix(store.address)}{int(time.time())}_{secrets.token_hex(4)}"
    )
    try:
        _furnish(store, aside, catalog)
        yield Tried(catalog.identity, in_force(aside.database))
    finally:
        store.client.command(f"DROP DATABASE IF EXISTS {aside.database} SYNC")


def identity_in_force(store: Tables) -> str:
    """The identity of the price list in force."""
    rows = store.client.query(
        f"SELECT argMax(catalog, activated_at) FROM {store.address.database}.catalogs"
    ).result_rows
    return str(rows[0][0])


def _furnish(store: Tables, aside: Address, catalog: Catalog) -> None:
    """Only the rate cards of models that the store has seen are needed."""
    client = store.client
    client.command(f"CREATE DATABASE {aside.database}")
    for table in _TABLES:
        client.command(f"CREATE TABLE {aside.database}.{table} AS {store.address.database}.{table}")
    make_views(client, aside, "10_rate_cards.sql")
    enter(client, aside, catalog)
    resolve_elsewhere(client, store.address, aside, catalog)
    reload(client, aside, "rate_set_at", "rate_sets", "exchange_rate_at", "model_rate_card")


def _drop_left_behind(store: Tables) -> None:
    """What a trial that was killed has left; on a server, another one may be going on."""
    prefix = _prefix(store.address)
    names = store.client.query(
        "SELECT name FROM system.databases WHERE startsWith(name, {prefix:String})",
        parameters={"prefix": prefix},
    ).result_rows
    for (name,) in names:
        made_at = name.removeprefix(prefix).partition("_")[0]
        if made_at.isdigit() and int(made_at) < time.time() - _LEFT_BEHIND_AFTER_S:
            store.client.command(f"DROP DATABASE IF EXISTS {name} SYNC")


def _prefix(address: Address) -> str:
    return f"{address.database}_trial_"
