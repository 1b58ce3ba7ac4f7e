"""Rate cards as rows of the table `prices`, and the dictionaries that hold them for look-ups."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from clickhouse_connect.driver.client import Client

from pennytrace_collectors.catalog import Catalog, RateCard
from pennytrace_collectors.store.client import Address

_COLUMNS: Final = (
    "catalog",
    "rate_card",
    "variant",
    "valid_from",
    "valid_to",
    "window_from",
    "above",
    "meter",
    "unit_price",
    "list_price",
    "currency",
    "price_key",
    "layer",
    "source",
)


def insert_cards(client: Client, address: Address, catalog: Catalog, cards: Iterable[RateCard]) -> None:
    """Write rate cards of a price list; those that are there already are replaced by themselves."""
    client.insert("prices", list(_rows(catalog, cards)), _COLUMNS, database=address.database)


def insert_composed(client: Client, address: Address, catalog: Catalog, names: Collection[str]) -> None:
    """Write those of some rate cards that are put together of several layers, and so were not known before."""
    stored = client.query(
        f"SELECT DISTINCT rate_card FROM {address.database}.prices "
        "WHERE catalog = {catalog:String} AND rate_card IN {names:Array(String)}",
        parameters={"catalog": catalog.identity, "names": sorted(names)},
    ).result_rows
    missing = sorted(set(names) - {name for (name,) in stored} - {""})
    cards = [card for card in map(catalog.rate_card, missing) if card is not None]
    if cards:
        insert_cards(client, address, catalog, cards)
        reload(client, address, "rate_set_at", "rate_sets")


def reload(client: Client, address: Address, *dictionaries: str) -> None:
    """Have dictionaries read again what they hold."""
    for dictionary in dictionaries:
        client.command(f"SYSTEM RELOAD DICTIONARY {address.database}.{dictionary}")


def _rows(catalog: Catalog, cards: Iterable[RateCard]) -> Iterator[list[object]]:
    for card in cards:
        for price in card.prices:
            yield [
                catalog.identity,
                card.name,
                price.variant,
                price.valid_from,
                price.valid_to,
                price.window_from,
                price.above,
                price.meter,
                price.unit_price,
                price.list_price,
                price.currency,
                price.price_key,
                price.layer,
                price.source,
            ]
