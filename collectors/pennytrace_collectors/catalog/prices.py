"""What a price list says, in one form whatever its source: rate cards made of effective-dated unit prices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Final

BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
END: Final = datetime(2105, 12, 31, 23, 59, 59, tzinfo=UTC)
ALWAYS: Final = -1
"""The `above` of a price that holds whatever the size of the input."""

GENAI_PRICES: Final = "genai-prices"
SUPPLEMENT: Final = "supplement"
PRICE_FILE: Final = "price file"
"""The layers, lowest first."""

SECOND: Final = timedelta(seconds=1)
_SMALLEST: Final = Decimal(1).scaleb(-18)


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one unit of a meter, and the conditions under which it holds."""

    variant: str
    """'' for the standard price, a service tier as served ('flex'), how calls are submitted ('batch'), size and quality
    of an image, or several of them ('batch+flex'): see `variant_name`."""
    valid_from: datetime
    valid_to: datetime
    """Inclusive, to the second."""
    window_from: int
    """Second of the UTC day from which it holds, until the next window of the same card."""
    above: int
    """Holds when the call's total input tokens are more than this."""
    meter: str
    unit_price: Decimal
    """In `currency`, for one token, second, request, ...: at most 18 decimals."""
    list_price: Decimal
    """The unit price before discounts; of a GPU, that of a second for which it is held, busy or not."""
    price_key: str
    """The source's own name of the price."""
    layer: str
    """'genai-prices', 'supplement' or 'price file'."""
    source: str
    """Where it is written: 'genai-prices 0.2.3', 'https://... checked 2026-11-22', 'prices.toml:12 our contract'."""
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class RateCard:
    """All prices of one model at one provider, or of a GPU."""

    name: str
    currency: str
    """Of its prices; where they are in several, '' (each price says its own)."""
    prices: tuple[Price, ...]


@dataclass(frozen=True, slots=True)
class ExchangeRate:
    """What one unit of a currency is worth in another, for some days."""

    base: str
    quote: str
    valid_from: datetime
    valid_to: datetime
    """Inclusive, to the second."""
    rate: Decimal
    source: str


@dataclass(frozen=True, slots=True)
class GpuRate:
    """What an hour of one GPU, or of CPU, costs, and how that was worked out."""

    name: str
    """Of its rate card: 'gpu:' and the pool or the GPU's model, 'gpu:cpu'."""
    pool: str
    gpu: str
    """As reported; * is a wildcard."""
    cpu: bool
    kind: str
    """'on_demand', 'reserved', 'spot' or 'owned'."""
    currency: str
    valid_from: datetime
    valid_to: datetime
    per_gpu_hour: Decimal
    """What one provisioned GPU costs an hour, busy or not."""
    derivation: tuple[str, ...]
    """The arithmetic, line by line, for people."""
    utilisation: Decimal = Decimal(1)
    """The share of the hour that is sold: a busy second costs per_gpu_hour / utilisation / 3600."""
    source: str = ""


def card_of(name: str, prices: Iterable[Price]) -> RateCard:
    """A rate card of prices that say their own currency."""
    found = tuple(prices)
    currencies = {price.currency for price in found}
    return RateCard(name, currencies.pop() if len(currencies) == 1 else "", found)


def per_unit(amount: Decimal, *, per: int) -> Decimal:
    """The price of one unit, for a price given per `per` units, to 18 decimals.

    Exact for every price that somebody wrote down for a thousand or a million. A few entries of genai-prices carry the
    dust of a float (0.18000000000000002 a million tokens); theirs, and what is priced by the minute or hour, is cut at
    half of 1e-18 a unit.
    """
    with localcontext() as context:
        context.prec = 50
        return (amount / per).quantize(_SMALLEST)


def periods(starts: Iterable[datetime]) -> list[tuple[datetime, datetime]]:
    """Consecutive (from, to) pairs, both inclusive to the second, from the beginning of time to its end."""
    edges = sorted({BEGINNING, *starts})
    return list(zip(edges, [*(edge - SECOND for edge in edges[1:]), END], strict=True))


def first_second(day: date | None) -> datetime:
    """When a day begins in UTC; None is the beginning of time."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) if day else BEGINNING


def last_second(day: date | None) -> datetime:
    """When a day ends in UTC; None is the end of time."""
    return first_second(day + timedelta(days=1)) - SECOND if day else END
