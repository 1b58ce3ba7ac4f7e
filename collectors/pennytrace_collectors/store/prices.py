"""Put a compiled price list into the store and make it the one in force."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from clickhouse_connect.driver.client import Client

from pennytrace_collectors.catalog import Catalog, RateCard
from pennytrace_collectors.store.client import Address
from pennytrace_collectors.store.settle import resolve_again

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
    "currency",
    "price_key",
    "source",
)


def put_in_force(client: Client, address: Address, catalog: Catalog) -> None:
    """Make a price list the one that calls are priced by from now on; a second time changes nothing.

    Calls that had no price before are priced by it at the next settle; those that had one keep it.
    """
    if _in_force(client, address) != catalog.identity:
        client.insert(
            "prices", list(_rows(catalog, catalog.rate_cards())), _COLUMNS, database=address.database
        )
        row = [catalog.identity, catalog.genai_prices, catalog.newest_price, datetime.now(UTC)]
        columns = ["catalog", "genai_prices", "newest_price", "activated_at"]
        client.insert("catalogs", [row], columns, database=address.database)
        # First of all: a server's dictionaries outlive the collector, and calls are priced again by what is in them.
        _reload(client, address, "rate_set_at", "rate_sets")
        resolve_again(client, address, catalog)
    _reload(client, address, "rate_set_at", "rate_sets", "model_rate_card")


def _reload(client: Client, address: Address, *dictionaries: str) -> None:
    for dictionary in dictionaries:
        client.command(f"SYSTEM RELOAD DICTIONARY {address.database}.{dictionary}")


def _in_force(client: Client, address: Address) -> str:
    rows = client.query(f"SELECT argMax(catalog, activated_at) FROM {address.database}.catalogs").result_rows
    return str(rows[0][0])


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
                card.currency,
                price.price_key,
                card.source,
            ]
