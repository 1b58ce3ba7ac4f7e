"""Money and quantities: exact sums, and text with as many digits as help people or with all of them for machines."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, localcontext
from typing import Final

_DIGITS: Final = 76  # of the store's widest decimal; Python's own 28 would round a sum of some 10^10


def added(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """The exact sum of the amounts that are known; None when none is."""
    known = [amount for amount in amounts if amount is not None]
    with localcontext(prec=_DIGITS):
        return sum(known, Decimal(0)) if known else None


def money(amount: Decimal | None, *, decimals: int) -> str:
    """An amount for people: grouped, to a number of decimals; a question mark when it is not known."""
    if amount is None:
        return "?"
    if 0 < amount < Decimal(1).scaleb(-decimals):
        return f"< {Decimal(1).scaleb(-decimals):f}"
    return f"{amount:,.{decimals}f}"


def decimals_for(amounts: Iterable[Decimal | None]) -> int:
    """How many decimals a column of money needs, so that its largest amount shows at least four digits: 2 to 9."""
    largest = max((amount for amount in amounts if amount is not None), default=Decimal(0))
    return max(2, min(9, 3 - largest.adjusted())) if largest else 2


def one(amount: Decimal) -> str:
    """A single amount for people, with the decimals that it needs."""
    return money(amount, decimals=decimals_for([amount]))


def exact(amount: Decimal | None) -> str | None:
    """An amount for machines: every digit, no exponent, no trailing zeros."""
    if amount is None:
        return None
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def grouped(quantity: Decimal) -> str:
    """A quantity for people: grouped, with the decimals that it has."""
    whole, _, rest = f"{quantity:f}".partition(".")
    return f"{int(whole):,}.{rest.rstrip('0')}".rstrip(".")


def counted(calls: int) -> str:
    """A number of calls in words."""
    return "1 call" if calls == 1 else f"{calls:,} calls"
