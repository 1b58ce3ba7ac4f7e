"""A newer price list than the installed one: the data file that genai-prices publishes, read by its own schema."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import (
    ClauseAnd,
    ClauseOr,
    ClauseRegex,
    ModelInfo,
    ModelPrice,
    Provider,
    TieredPrices,
    _providers_from_raw,  # there is no public way to read a file that it has not downloaded itself
)
from pydantic import ValidationError

from pennytrace_collectors.errors import PriceFileError

_ADVICE: Final = "take data.json from https://github.com/pydantic/genai-prices"


def read_snapshot(path: Path) -> DataSnapshot:
    """The price list of a data file.

    Raises:
        PriceFileError: it cannot be read, or is not such a file, or holds what pricing could stumble over.
    """
    try:
        providers = _providers(json.loads(path.read_bytes(), parse_float=Decimal))
    except OSError as error:
        raise PriceFileError(f"cannot read the price list {str(path)!r}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        count = error.error_count()
        what = f"{count} mistakes, the first at {where}: {first['msg']}"
        raise PriceFileError(f"{path} is no data file of genai-prices: {what}; {_ADVICE}") from error
    except (ValueError, TypeError, AssertionError, RecursionError) as error:
        raise PriceFileError(f"{path} is no data file of genai-prices: {error}; {_ADVICE}") from error
    return DataSnapshot(providers, from_auto_update=False)


def data_version(path: Path, newest: date) -> str:
    """What a data file goes by: the day of its newest price, and a digest of its bytes."""
    return f"data {newest} {hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"


def _providers(raw: object) -> list[Provider]:
    if not isinstance(raw, list) or not raw:
        got = "an empty one" if raw == [] else type(raw).__name__
        raise ValueError(f"expected a list of providers, got {got}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of units that came later than the installed package
        providers = _providers_from_raw(raw)
    for provider in providers:
        _compile(provider.id, provider.api_pattern)
        for model in provider.models:
            _check(f"{provider.id}/{model.id}", model)
    return providers


def _check(name: str, model: ModelInfo) -> None:
    """What the schema lets pass, and would break resolving or pricing later."""
    for pattern in _patterns(model.match):
        _compile(name, pattern)
    if model.prices == []:
        raise ValueError(f"{name}: no prices")
    for key, amount in _amounts(model):
        if not amount.is_finite() or amount < 0:
            raise ValueError(f"{name} {key}: a price of {amount}")


def _amounts(model: ModelInfo) -> Iterator[tuple[str, Decimal]]:
    dated = (
        [model.prices] if isinstance(model.prices, ModelPrice) else [price.prices for price in model.prices]
    )
    for prices in (*dated, *(variant.prices for variant in model.price_variants or ())):
        for key, amount in vars(prices).items():
            if isinstance(amount, TieredPrices):
                yield from ((key, one) for one in (amount.base, *(tier.price for tier in amount.tiers)))
            elif amount is not None:
                yield key, amount


def _patterns(clause: Any) -> Iterable[str]:
    if isinstance(clause, ClauseRegex):
        return [clause.regex]
    within = (
        clause.or_ if isinstance(clause, ClauseOr) else clause.and_ if isinstance(clause, ClauseAnd) else []
    )
    return [pattern for one in within for pattern in _patterns(one)]


def _compile(name: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{name}: the pattern {pattern!r} is none: {error}") from error
