"""The price list in force: genai-prices, the supplement and the user's price files, with an identity of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from genai_prices.data_snapshot import DataSnapshot

from pennytrace_collectors.catalog import datafile, genai
from pennytrace_collectors.catalog.candidates import Nearby
from pennytrace_collectors.catalog.exchange import exchange_rates
from pennytrace_collectors.catalog.layers import Layer, own_cards
from pennytrace_collectors.catalog.listed import Listed, listed
from pennytrace_collectors.catalog.machines import gpu_cards, gpu_rates
from pennytrace_collectors.catalog.meters import METERS
from pennytrace_collectors.catalog.pricefile import PriceFile, merged, read_price_file
from pennytrace_collectors.catalog.prices import (
    PRICE_FILE,
    SUPPLEMENT,
    ExchangeRate,
    GpuRate,
    RateCard,
)
from pennytrace_collectors.catalog.resolve import Resolution, SeenModel, resolve
from pennytrace_collectors.catalog.sellers import listed_seller
from pennytrace_collectors.errors import PriceFileError

DEFAULT_CURRENCY: Final = "USD"
# Counts the ways of compiling: raised when the same sources give other prices than before.
_COMPILER: Final = 4


@dataclass(frozen=True, slots=True)
class Catalog:
    """A compiled price list. The same sources compile to the same identity."""

    identity: str
    genai_prices: str
    """Version of the genai-prices package, or of the data file that was read in its place."""
    newest_price: datetime
    """When the newest price of genai-prices that is in force began: the list is at least as young as that."""
    snapshot: DataSnapshot = field(repr=False)  # thousands of prices
    layers: tuple[Layer, ...] = field(default=(), repr=False)
    """The supplement and the user's price files, the lowest first."""
    currency: str = field(init=False)
    """What reports are in, as the last price file that says so has it."""
    exchange_rates: tuple[ExchangeRate, ...] = field(init=False, repr=False)
    gpu_rates: tuple[GpuRate, ...] = field(init=False, repr=False)
    """What an hour of each pool, GPU or CPU costs, and how that was worked out."""
    _listed: dict[str, genai.Sold] = field(init=False, repr=False, compare=False)
    _known: dict[str, RateCard] = field(init=False, repr=False, compare=False)
    _own: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _near: Nearby = field(init=False, repr=False, compare=False)
    _found: dict[tuple[str, str], Listed | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        said = [layer.file.currency for layer in self.layers if layer.file.currency]
        gpus = gpu_rates(gpu for layer in self.layers for gpu in layer.file.gpus)
        rates = exchange_rates(rate for layer in self.layers for rate in layer.file.exchange_rates)
        own = {card.name: card for card in (*own_cards(self.layers), *gpu_cards(gpus))}
        object.__setattr__(self, "currency", said[-1] if said else DEFAULT_CURRENCY)
        object.__setattr__(self, "exchange_rates", rates)
        object.__setattr__(self, "gpu_rates", gpus)
        object.__setattr__(self, "_listed", genai.models(self.snapshot))
        object.__setattr__(self, "_known", own)
        object.__setattr__(self, "_own", tuple(own))
        object.__setattr__(self, "_near", Nearby(self.snapshot, own))

    def resolve(self, seen: SeenModel) -> Resolution:
        """The rate card of a seen model, or the reason why it has none."""
        return resolve(seen, self)

    def rate_cards(self) -> tuple[RateCard, ...]:
        """Every rate card that is of one layer, those of GPUs too; compiling all of them takes about a second.

        What several layers say of a model is put together when the model is seen: see `rate_card`.
        """
        cards = (self.rate_card(name) for name in (*self._listed, *self._own))
        return tuple(card for card in cards if card is not None and card.prices)

    def rate_card(self, name: str) -> RateCard | None:
        """A rate card by name; one of several layers is known once a model was resolved to it."""
        if name not in self._known and name in self._listed:
            source = f"genai-prices {self.genai_prices}"
            self._known[name] = genai.rate_card(self._listed[name], source=source)
        return self._known.get(name)

    def listed(self, seller: str, name: str) -> Listed | None:
        """What genai-prices finds when it is asked for a seller's model; looked up once."""
        key = (seller, name)
        if key not in self._found:
            self._found[key] = listed(listed_seller(seller, self.snapshot), name, self.snapshot)
        return self._found[key]

    def nearest(
        self, names: Sequence[str], sellers: Sequence[str], *, first: Sequence[str] = ()
    ) -> tuple[str, ...]:
        """The cards nearest to models that have none: see `Nearby`."""
        return self._near.candidates(names, sellers, first=first)

    def remember(self, card: RateCard) -> None:
        """Keep a card that was put together of several layers, to be found under its name."""
        self._known[card.name] = card


def compile_catalog(price_files: Sequence[Path] = (), *, genai_data: Path | None = None) -> Catalog:
    """Read the installed price list, or a newer data file of it, the supplement, and the user's files.

    Raises:
        PriceFileError: a file cannot be used; every mistake in every price file has a line.
    """
    snapshot = datafile.read_snapshot(genai_data) if genai_data else genai.catalog_snapshot()
    layers = (Layer(SUPPLEMENT, _supplement()), *(Layer(PRICE_FILE, own) for own in _read(price_files)))
    newest = genai.newest_price_date(snapshot, today=datetime.now(UTC).date())
    version = datafile.data_version(genai_data, newest) if genai_data else genai.package_version()
    said = tuple((layer.name, layer.file) for layer in layers)
    digest = hashlib.sha256(repr((_COMPILER, METERS, version, said)).encode()).hexdigest()[:12]
    newest_price = datetime(newest.year, newest.month, newest.day, tzinfo=UTC)
    return Catalog(f"genai-prices {version} {digest}", version, newest_price, snapshot, layers)


def _read(price_files: Sequence[Path]) -> list[PriceFile]:
    found, faults = [], []
    for path in price_files:
        try:
            found.append(read_price_file(path))
        except PriceFileError as error:
            faults.append(str(error))
    if faults:
        raise PriceFileError("\n".join(faults))
    return found


@cache
def _supplement() -> PriceFile:
    folder = files("pennytrace_collectors.catalog").joinpath("supplement")
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".toml"))
    return merged([read_price_file(Path(str(folder.joinpath(name))), supplement=True) for name in names])
