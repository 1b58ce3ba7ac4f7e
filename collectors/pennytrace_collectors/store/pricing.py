"""The one SELECT that prices calls, filled in for whichever calls and whichever price list are asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.resources import files
from string import Template

from pennytrace_collectors.store.dialects import parameters


@dataclass(frozen=True, slots=True)
class PriceList:
    """The dictionaries that a price list is read from: those of the list in force, or of one that is tried out."""

    rate_set_at: str
    rate_sets: str
    model_rate_card: str
    exchange_rate_at: str


def in_force(database: str) -> PriceList:
    """The dictionaries of the price list in force."""
    return PriceList(
        rate_set_at=f"{database}.rate_set_at",
        rate_sets=f"{database}.rate_sets",
        model_rate_card=f"{database}.model_rate_card",
        exchange_rate_at=f"{database}.exchange_rate_at",
    )


def priced(usage: str, prices: PriceList) -> str:
    """A SELECT of rows shaped like table `calls`.

    Args:
        usage: where they come from: a table, or a subquery in brackets, with rows shaped like table `usage`.
        prices: what they are priced by.
    """
    return _filled(
        "priced.sql",
        usage=usage,
        rate_set_at=prices.rate_set_at,
        rate_sets=prices.rate_sets,
        model_rate_card=prices.model_rate_card,
        exchange_rate_at=prices.exchange_rate_at,
    )


def again(database: str, which: str, *, calls: str = "") -> str:
    """A SELECT of rows shaped like table `usage`: the stored calls for which a condition holds, to be priced again.

    Args:
        database: the store's.
        which: a condition on the columns of table `calls`.
        calls: a subquery in brackets with rows shaped like `calls`, where they are not the stored ones as they are.
    """
    stored = f"{calls} AS stored" if calls else f"{database}.calls AS stored FINAL"
    return _filled("again.sql", calls=stored, which=which)


def rate_cards(prices: str) -> str:
    """A SELECT of what the dictionaries `rate_set_at` and `rate_sets` hold.

    Args:
        prices: a subquery in brackets of rows of table `prices`, of one price list, and their `billing_currency`.
    """
    return _filled("rate_cards.sql", prices=prices)


def prices_in_force(database: str) -> str:
    """The prices of the list in force, in brackets, as `rate_cards` takes them."""
    return _filled("prices_in_force.sql", database=database)


def at_risk(database: str) -> str:
    """A SELECT of rows shaped like table `calls`: the unpriced ones, for each rate card that they may turn out to have.

    At its standard rate. The card stands in the place of the host, the reason in that of the requested tier.
    """
    return as_cards(database, _filled("candidates.sql", database=database))


def as_cards(database: str, calls: str) -> str:
    """A SELECT of rows shaped like table `calls`: given ones, at the standard rate of the card that is their host.

    Args:
        database: the store's.
        calls: a subquery in brackets with rows shaped like `calls`. With the models of a call that has none the host is
            one of its candidates; with no provider and no models it is any rate card.
    """
    candidates = replace(in_force(database), model_rate_card=f"{database}.candidate_rate_card")
    return priced(f"(\n{again(database, '1', calls=calls)})", candidates)


def _filled(name: str, **values: str) -> str:
    text = files("pennytrace_collectors.store").joinpath("sql", "price", name).read_text("utf-8")
    return Template(text).substitute(parameters(), **values)
