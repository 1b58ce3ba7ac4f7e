"""Takes newer genai-prices data from a file or a URL, or goes back, and says what that changes."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Final

from pennytrace_collectors.catalog import Catalog, RateCard, SeenModel, genai
from pennytrace_collectors.errors import CollectorError, PriceDataError
from pennytrace_collectors.pricelist import fetch, kept, sources
from pennytrace_collectors.pricelist.difference import Differences, differences
from pennytrace_collectors.pricelist.models import maker, priced_models
from pennytrace_collectors.pricelist.sources import Sources

_LIMIT: Final = Decimal(1_000_000)
"""No unit of anything, a token or a page, costs so much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What an update did."""

    in_use: kept.Taken | None
    """The data in use from now on; None is that of the installed genai-prices."""
    changed: bool
    went_back: bool
    differences: Differences


def update(source: str, state: Path, *, force: bool) -> Update:
    """Read a data file, compare it with the data in use, and keep it for the collector's next start.

    Raises:
        PriceDataError: it cannot be had, is not price data, is older than the data in use, or cannot be kept.
    """
    body, name = fetch.read(source), fetch.shown(source)
    found, models = _understood(body, name)
    current = sources.in_use((), state).catalog()
    newest, before = _newest(found), _newest(current)
    if newest < before and not force:
        raise PriceDataError(
            f"{name} is older than the data in use: its newest price starts on {newest}, "
            f"that of the data in use on {before}; to use it all the same, add --force"
        )
    changes = differences(priced_models(current), models)
    if not changes:
        return Update(in_use=_last(state), changed=False, went_back=False, differences=changes)
    version = genai.package_version()
    entry = kept.keep(state, body, source=name, newest_price=newest.isoformat(), package=version)
    return Update(in_use=entry, changed=True, went_back=False, differences=changes)


def go_back(state: Path) -> Update:
    """Use the data again that was in use before the last update; what was taken stays in its folder.

    Raises:
        PriceDataError: no update was made, or the note about them cannot be written.
    """
    try:
        before = priced_models(sources.in_use((), state).catalog())
    except PriceDataError:
        before = {}  # what cannot be read cannot be compared, and is the very reason to go back
    kept.go_back(state)
    after = priced_models(sources.in_use((), state).catalog())
    changes = differences(before, after) if before else Differences((), (), ())
    return Update(in_use=_last(state), changed=True, went_back=True, differences=changes)


def _understood(body: bytes, name: str) -> tuple[Catalog, Mapping[str, RateCard]]:
    """The price list that data makes, and the prices of all its models.

    Everything is tried out that the collector will do with it, so that nothing of it can fail there.

    Raises:
        PriceDataError: it is not price data, or some of it cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="pennytrace-") as scratch:
        path = Path(scratch) / "data.json"
        path.write_bytes(body)
        try:
            catalog = Sources((), path).catalog()
            _refuse_senseless(catalog, name)
            maker(catalog, "any")
            catalog.resolve(SeenModel("", "any.example", "any", ""))
            return catalog, priced_models(catalog)
        except CollectorError as error:
            raise PriceDataError(str(error).replace(str(path), name)) from error
        except (ArithmeticError, RecursionError, re.error) as error:
            raise PriceDataError(f"{name} cannot be used: {type(error).__name__}: {error}") from error


def _refuse_senseless(catalog: Catalog, name: str) -> None:
    for card in catalog.rate_cards():
        for price in card.prices:
            if not 0 <= price.unit_price < _LIMIT:
                raise PriceDataError(
                    f"{name} cannot be used: {card.name} has {price.unit_price} for one unit of {price.meter}"
                )


def _newest(catalog: Catalog) -> date:
    return genai.newest_price_date(catalog.snapshot, today=date.max)


def _last(state: Path) -> kept.Taken | None:
    entries = kept.taken(state)
    return entries[-1] if entries else None
