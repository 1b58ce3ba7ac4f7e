"""What a price list says, in one form whatever its source: rate cards made of effective-dated unit prices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Final

BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
END: Final = datetime(2105, 12, 31, 23, 59, 59, tzinfo=UTC)
ALWAYS: Final = -1
"""The `above` of a price that holds whatever the size of the input."""

_SMALLEST: Final = Decimal(1).scaleb(-18)


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one unit of a meter, and the conditions under which it holds."""

    variant: str
    """'' for the standard price, a service tier as served ('flex'), how calls are submitted ('batch'), or both of them
    ('batch+flex')."""
    valid_from: datetime
    valid_to: datetime
    window_from: int
    """Second of the UTC day from which it holds, until the next window of the same card."""
    above: int
    """Holds when the call's total input tokens are more than this."""
    meter: str
    unit_price: Decimal
    """In the card's currency, for one token, request, ...: at most 18 decimals."""
    price_key: str
    """The source's own name of the price."""


@dataclass(frozen=True, slots=True)
class RateCard:
    """All prices of one model at one provider."""

    name: str
    currency: str
    source: str
    prices: tuple[Price, ...]


def per_unit(amount: Decimal, *, per: int) -> Decimal:
    """The price of one unit, for a price given per `per` units, to 18 decimals.

    Exact for every price that somebody wrote down. A few entries of genai-prices carry the dust of a float
    (0.18000000000000002 a million tokens); theirs is cut at half of 1e-18 USD a token.
    """
    with localcontext() as context:
        context.prec = 50
        return (amount / per).quantize(_SMALLEST)


def periods(starts: Iterable[datetime]) -> list[tuple[datetime, datetime]]:
    """Consecutive (from, to) pairs, both inclusive to the second, from the beginning of time to its end."""
    edges = sorted({BEGINNING, *starts})
    ends = [datetime.fromtimestamp(edge.timestamp() - 1, tz=UTC) for edge in edges[1:]]
    return list(zip(edges, [*ends, END], strict=True))
