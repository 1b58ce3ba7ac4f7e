"""The store of calls: opened, migrated and priced; written by `load` and `settle`, read through the view `spend`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pennytrace_collectors.catalog import compile_catalog
from pennytrace_collectors.store.client import Address, connect, parse_address, translated
from pennytrace_collectors.store.migrate import migrate
from pennytrace_collectors.store.prices import put_in_force
from pennytrace_collectors.store.store import Store

__all__ = ["Address", "Store", "connect", "open_store", "parse_address"]


def open_store(dsn: str, *, price_files: Sequence[Path] = (), genai_data: Path | None = None) -> Store:
    """Open a store for writing, bring it to this version, and put the installed price list in force.

    Raises:
        PriceFileError: a price file cannot be used; the store is not touched.
        StoreTooNew: the store was written by a newer version of pennytrace; it is not touched.
        StoreUnavailable: nothing answers at the address, or another process has the folder open.
    """
    address = parse_address(dsn)
    catalog = compile_catalog(price_files, genai_data=genai_data)
    client = connect(address)
    with translated(address):
        migrate(client, address)
        put_in_force(client, address, catalog)
    return Store(client, address, catalog)
