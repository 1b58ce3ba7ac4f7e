"""Read a price file, or say all that is wrong with it: file, line and field, what was got, what to do."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from pennytrace_collectors.catalog.pricefile import conflicts
from pennytrace_collectors.catalog.pricefile.entries import (
    TABLES,
    Correction,
    Currency,
    Deployment,
    Discount,
    Entry,
    Exchange,
    Gpu,
    OwnPrice,
    Surcharge,
)
from pennytrace_collectors.errors import PriceFileError
from pennytrace_collectors.tomlfile import Place, closest_line, lines_of, meant, said

_CURRENCY: Final[TypeAdapter[str]] = TypeAdapter(Currency)
_KINDS: Final = {kind.table: kind for kind in TABLES}
_E = TypeVar("_E", bound=Entry)


@dataclass(frozen=True, slots=True)
class PriceFile:
    """What a price file says."""

    name: str = ""
    currency: str = ""
    """What reports are in; '' when the file does not say."""
    prices: tuple[OwnPrice, ...] = ()
    corrections: tuple[Correction, ...] = ()
    surcharges: tuple[Surcharge, ...] = ()
    discounts: tuple[Discount, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    exchange_rates: tuple[Exchange, ...] = ()


def read_price_file(path: Path, *, supplement: bool = False) -> PriceFile:
    """The prices, discounts, deployments and rates of a file.

    The project's own supplement must also say for each entry where it is written and when that was looked at.

    Raises:
        PriceFileError: it cannot be read, is not TOML, or something in it is wrong; the message has a line for every
            mistake, with the file, the line and the field, what was found there and what would be right.
    """
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text, parse_float=Decimal)
    except OSError as error:
        raise PriceFileError(f"cannot read the price file {str(path)!r}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PriceFileError(f"the price file {str(path)!r} is not valid TOML: {error}") from error
    reading = _Reading(path, document, lines_of(text), supplement, [])
    found = reading.price_file()
    if reading.faults:
        in_order = [text for _, text in sorted(set(reading.faults))]
        raise PriceFileError("\n".join(in_order))
    return found


@dataclass(frozen=True, slots=True)
class _Reading:
    """A file being read, and the mistakes found so far, each with its line."""

    path: Path
    document: Mapping[str, Any]
    lines: Mapping[Place, int]
    supplement: bool
    faults: list[tuple[int, str]]

    def price_file(self) -> PriceFile:
        for name in self.document.keys() - {*_KINDS, "currency"}:
            self.fault((name,), f"unknown {name!r}{meant(name, [*_KINDS, 'currency'])}; expected {_EXPECTED}")
        return PriceFile(
            self.path.name,
            self.currency(),
            prices=self.entries(OwnPrice),
            corrections=self.entries(Correction),
            surcharges=self.entries(Surcharge),
            discounts=self.entries(Discount),
            deployments=self.entries(Deployment),
            gpus=self.entries(Gpu),
            exchange_rates=self.entries(Exchange),
        )

    def currency(self) -> str:
        if "currency" not in self.document:
            return ""
        if self.supplement:
            self.fault(("currency",), "currency: only a user's price file says what reports are in")
        try:
            return _CURRENCY.validate_python(self.document["currency"])
        except ValidationError as error:
            self.fault(("currency",), f"currency: {said(error.errors()[0], (), patterns=_PATTERNS)}")
            return ""

    def entries(self, kind: type[_E]) -> tuple[_E, ...]:
        tables = self.document.get(kind.table, [])
        if not isinstance(tables, list):
            self.fault((kind.table,), f"[{kind.table}]: a file may have several; write [[{kind.table}]]")
            return ()
        found = [
            entry for index, raw in enumerate(tables) if (entry := self.entry(kind, index, raw)) is not None
        ]
        for line, conflict in conflicts.between(found):
            self.faults.append((line, f"{self.path}:{line}: [[{kind.table}]] {conflict}"))
        return tuple(found)

    def entry(self, kind: type[_E], index: int, raw: object) -> _E | None:
        place: Place = (kind.table, index)
        try:
            entry = kind.model_validate(raw).at(self.path.name, self.line(place))
        except ValidationError as error:
            for detail in error.errors():
                field = ".".join(str(part) for part in detail["loc"])
                words = said(detail, tuple(_names(kind)), patterns=_PATTERNS)
                self.fault(
                    (*place, *detail["loc"]), f"[[{kind.table}]] {field}{': ' if field else ''}{words}"
                )
            return None
        if self.supplement:
            self.sourced(place, entry)
        return entry

    def sourced(self, place: Place, entry: Entry) -> None:
        if not entry.source.startswith("https://"):
            self.fault(place, f"[[{entry.table}]] source: should be the https:// address where it is written")
        if entry.checked is None or entry.checked > datetime.now(UTC).date():
            self.fault(
                place, f"[[{entry.table}]] checked: should be the day on which the source was looked at"
            )

    def fault(self, place: Place, what: str) -> None:
        line = self.line(place)
        self.faults.append((line, f"{self.path}:{line}: {what}"))

    def line(self, place: Place) -> int:
        """The line of a place, or of the closest thing around it that is written."""
        return closest_line(self.lines, place)


_EXPECTED: Final = "currency, " + ", ".join(f"[[{name}]]" for name in _KINDS)


def _names(kind: type[Entry]) -> Iterator[str]:
    for name, field in kind.model_fields.items():
        yield field.alias or name


_PATTERNS: Final = {
    r"^[A-Z]{3}$": "should be a currency's three capital letters, such as EUR",
    r"^[^+\s]+$": "should be one word without '+'; what a '+' joins has keys of its own",
    r"^\S*$": "should have no spaces",
}


def merged(price_files: Sequence[PriceFile]) -> PriceFile:
    """Files that are parts of one and do not depend on their order."""
    return PriceFile(
        prices=tuple(entry for file in price_files for entry in file.prices),
        corrections=tuple(entry for file in price_files for entry in file.corrections),
        surcharges=tuple(entry for file in price_files for entry in file.surcharges),
        discounts=tuple(entry for file in price_files for entry in file.discounts),
        deployments=tuple(entry for file in price_files for entry in file.deployments),
        gpus=tuple(entry for file in price_files for entry in file.gpus),
        exchange_rates=tuple(entry for file in price_files for entry in file.exchange_rates),
    )
