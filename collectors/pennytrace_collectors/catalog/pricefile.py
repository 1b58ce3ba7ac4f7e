"""The user's own price file: TOML, checked entry by entry, compiled to rate cards that win over the price list."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pennytrace_collectors.catalog.prices import ALWAYS, Price, RateCard, per_unit, periods
from pennytrace_collectors.errors import PriceFileError

ANY_PROVIDER: Final = "*"
_PER: Final = 1_000_000
# Each meter is billed by the first of these that the entry gives; None at the end: without it the meter has no price.
_BILLED_BY: Final = {
    "input": ("input_mtok",),
    "cache_read": ("cache_read_mtok", "input_mtok"),
    "cache_write": ("cache_write_mtok", "input_mtok"),
    "cache_write_5m": ("cache_write_mtok", "input_mtok"),
    "cache_write_1h": ("cache_write_1h_mtok", "cache_write_mtok", "input_mtok"),
    "input_audio": ("input_audio_mtok", "input_mtok"),
    "cache_audio_read": ("cache_read_mtok", "input_audio_mtok", "input_mtok"),
    "input_image": ("input_image_mtok", "input_mtok"),
    "cache_image_read": ("cache_read_mtok", "input_image_mtok", "input_mtok"),
    "output": ("output_mtok",),
    "output_reasoning": ("output_mtok",),
    "output_audio": ("output_audio_mtok", "output_mtok"),
    "output_image": ("output_image_mtok", "output_mtok"),
}

Amount: TypeAlias = Annotated[Decimal, Field(ge=0, max_digits=20, decimal_places=12)]


class OwnPrice(BaseModel):
    """One `[[price]]` of the file: what a model costs from a day on, in money per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str, Field(min_length=1)]
    provider: Annotated[str, Field(min_length=1)] = ANY_PROVIDER
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    valid_from: date = date(1970, 1, 1)
    source: str = ""
    input_mtok: Amount | None = None
    cache_read_mtok: Amount | None = None
    cache_write_mtok: Amount | None = None
    cache_write_1h_mtok: Amount | None = None
    input_audio_mtok: Amount | None = None
    input_image_mtok: Amount | None = None
    output_mtok: Amount | None = None
    output_audio_mtok: Amount | None = None
    output_image_mtok: Amount | None = None


def read_price_file(path: Path) -> tuple[OwnPrice, ...]:
    """The prices of a file.

    Raises:
        PriceFileError: it cannot be read, is not TOML, or an entry is wrong; the message names the file, the entry
            and the field, what was found there and what would be right.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"), parse_float=Decimal)
    except OSError as error:
        raise PriceFileError(f"cannot read the price file {str(path)!r}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PriceFileError(f"the price file {str(path)!r} is not valid TOML: {error}") from error
    unknown = set(document) - {"price"}
    entries = document.get("price", [])
    if unknown or not isinstance(entries, list):
        found = ", ".join(sorted(unknown)) or "price as a single table"
        raise PriceFileError(f"the price file {str(path)!r} holds {found}: expected only [[price]] entries")
    prices = tuple(_entry(path, number, raw) for number, raw in enumerate(entries, 1))
    _refuse_repeats(path, prices)
    return prices


def rate_cards(prices: Sequence[OwnPrice]) -> Iterator[RateCard]:
    """A rate card for each (provider, model) of the file, with a period for each day a price starts on."""
    by_card: dict[str, list[OwnPrice]] = defaultdict(list)
    for price in prices:
        by_card[card_name(price)].append(price)
    for name, entries in by_card.items():
        yield RateCard(name, entries[0].currency, entries[0].source or "price file", tuple(_prices(entries)))


def card_name(price: OwnPrice) -> str:
    """The name of the rate card that an entry belongs to; 'file:' keeps it apart from the price list's."""
    return f"file:{price.provider}/{price.model}"


def _prices(entries: Sequence[OwnPrice]) -> Iterator[Price]:
    starting = {_midnight(entry.valid_from): entry for entry in entries}
    for valid_from, valid_to in periods(starting):
        entry = starting.get(valid_from)
        if entry is None:
            continue
        for meter, keys in _BILLED_BY.items():
            key = next((key for key in keys if getattr(entry, key) is not None), None)
            if key is not None:
                unit_price = per_unit(getattr(entry, key), per=_PER)
                yield Price("", valid_from, valid_to, 0, ALWAYS, meter, unit_price, key)


def _entry(path: Path, number: int, raw: object) -> OwnPrice:
    try:
        return OwnPrice.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the entry"
        raise PriceFileError(
            f"{path}: [[price]] number {number}, {field}: {first['msg']}, got {first['input']!r}"
        ) from error


def _refuse_repeats(path: Path, prices: Sequence[OwnPrice]) -> None:
    currencies: dict[str, str] = {}
    seen: set[tuple[str, date]] = set()
    for price in prices:
        name = card_name(price)
        if (name, price.valid_from) in seen:
            raise PriceFileError(
                f"{path}: two prices for {price.model!r} at {price.provider!r} from {price.valid_from}"
            )
        if currencies.setdefault(name, price.currency) != price.currency:
            raise PriceFileError(f"{path}: {price.model!r} at {price.provider!r} is priced in two currencies")
        seen.add((name, price.valid_from))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
