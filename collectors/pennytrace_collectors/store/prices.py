"""Put a compiled price list into the store and make it the one in force."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from clickhouse_connect.driver.client import Client

from pennytrace_collectors.catalog import Catalog
from pennytrace_collectors.store.cards import insert_cards, reload
from pennytrace_collectors.store.client import Address
from pennytrace_collectors.store.settle import resolve_again

_EXCHANGE_RATE: Final = ("catalog", "base", "quote", "valid_from", "valid_to", "rate", "source")
_CATALOG: Final = ("catalog", "genai_prices", "newest_price", "currency", "activated_at")


def put_in_force(client: Client, address: Address, catalog: Catalog) -> None:
    """Make a price list the one that calls are priced by from now on; a second time changes nothing.

    Calls that had no price before are priced by it at once, and those that had one keep it. What they come to in the
    currency of the reports is worked out where it was not known, or was in another currency.
    """
    if _in_force(client, address) != catalog.identity:
        insert_cards(client, address, catalog, catalog.rate_cards())
        enter(client, address, catalog)
    # First of all: a server's dictionaries outlive the collector, and calls are priced again by what is in them.
    reload(client, address, "rate_set_at", "rate_sets", "exchange_rate_at")
    resolve_again(client, address, catalog)
    reload(client, address, "model_rate_card", "candidate_rate_card")


def enter(client: Client, address: Address, catalog: Catalog) -> None:
    """Make a price list the newest of those that a database knows."""
    _insert_exchange_rates(client, address, catalog)
    now = datetime.now(UTC)
    row = [catalog.identity, catalog.genai_prices, catalog.newest_price, catalog.currency, now]
    client.insert("catalogs", [row], _CATALOG, database=address.database)


def _in_force(client: Client, address: Address) -> str:
    rows = client.query(f"SELECT argMax(catalog, activated_at) FROM {address.database}.catalogs").result_rows
    return str(rows[0][0])


def _insert_exchange_rates(client: Client, address: Address, catalog: Catalog) -> None:
    rows = [
        [catalog.identity, rate.base, rate.quote, rate.valid_from, rate.valid_to, rate.rate, rate.source]
        for rate in catalog.exchange_rates
    ]
    if rows:
        client.insert("exchange_rates", rows, _EXCHANGE_RATE, database=address.database)
