"""Small price lists for stores, so that a test can change prices in an instant."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from genai_prices.data_snapshot import DataSnapshot

from pennytrace_collectors.catalog import Catalog, Layer, PriceFile
from pennytrace_collectors.catalog.pricefile import OwnPrice, read_price_file
from pennytrace_collectors.store import Store
from pennytrace_collectors.store.prices import put_in_force


def price_list(identity: str, **input_mtok: int) -> Catalog:
    """A price list of models by name, each at so many USD a million tokens, whichever way they go."""
    prices = tuple(
        OwnPrice(model=(model,), input_mtok=Decimal(price), output_mtok=Decimal(price))
        for model, price in input_mtok.items()
    )
    nothing = DataSnapshot(providers=[], from_auto_update=False)
    layer = Layer("price file", PriceFile(prices=prices))
    return Catalog(identity, "none", datetime(2026, 1, 1, tzinfo=UTC), nothing, (layer,))


def written(identity: str, folder: Path, text: str) -> Catalog:
    """The price list of a price file, with nothing below it."""
    path = folder / "prices.toml"
    path.write_text(text, "utf-8")
    nothing = DataSnapshot(providers=[], from_auto_update=False)
    layer = Layer("price file", read_price_file(path))
    return Catalog(identity, "none", datetime(2026, 1, 1, tzinfo=UTC), nothing, (layer,))


def with_prices(store: Store, prices: Catalog) -> Store:
    """The same store, pricing by another list from now on."""
    put_in_force(store.client, store.address, prices)
    return Store(store.client, store.address, prices)
