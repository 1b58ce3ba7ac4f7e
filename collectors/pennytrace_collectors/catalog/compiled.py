"""The price list in force: genai-prices and the user's price files, layered, with an identity of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from genai_prices.data_snapshot import DataSnapshot

from pennytrace_collectors.catalog import genai, pricefile
from pennytrace_collectors.catalog.meters import METERS
from pennytrace_collectors.catalog.pricefile import OwnPrice
from pennytrace_collectors.catalog.prices import RateCard

# Counts the ways of compiling: raised when the same sources give other prices than before.
_COMPILER: Final = 3


@dataclass(frozen=True, slots=True)
class Catalog:
    """A compiled price list. The same sources compile to the same identity."""

    identity: str
    genai_prices: str
    """Version of the genai-prices package."""
    newest_price: datetime
    """When the newest price that is in force began: the list is at least as young as that."""
    own_prices: tuple[OwnPrice, ...]
    snapshot: DataSnapshot = field(repr=False)  # thousands of prices

    def rate_cards(self) -> tuple[RateCard, ...]:
        """Every rate card of every layer; compiling all of them takes about a second."""
        return (*genai.rate_cards(self.snapshot), *pricefile.rate_cards(self.own_prices))


def compile_catalog(price_files: Sequence[Path] = ()) -> Catalog:
    """Read the installed price list and the user's files.

    Raises:
        PriceFileError: a price file cannot be used.
    """
    own = tuple(price for path in price_files for price in pricefile.read_price_file(path))
    snapshot = genai.catalog_snapshot()
    version = genai.package_version()
    newest = genai.newest_price_date(snapshot, today=datetime.now(UTC).date())
    digest = hashlib.sha256(repr((_COMPILER, METERS, version, own)).encode()).hexdigest()[:12]
    newest_price = datetime(newest.year, newest.month, newest.day, tzinfo=UTC)
    return Catalog(f"genai-prices {version} {digest}", version, newest_price, own, snapshot)
