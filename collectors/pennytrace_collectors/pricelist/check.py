"""What price files say, what is wrong with them, and what in them is right but will hardly do what was meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pennytrace_collectors.catalog import Catalog, SeenModel, compile_catalog
from pennytrace_collectors.catalog.matching import ANY, fits, fits_provider
from pennytrace_collectors.catalog.pricefile import ForModels, PriceFile, read_price_file
from pennytrace_collectors.catalog.pricefile.entries import Dated
from pennytrace_collectors.errors import PriceFileError
from pennytrace_collectors.pricelist.models import known_models, providers


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found in price files that are used together."""

    files: tuple[PriceFile, ...]
    """Those without a mistake."""
    errors: tuple[str, ...]
    """One line each: file, line, table and field, what was found there and what to do."""
    warnings: tuple[str, ...]
    currency: str
    """What reports will be in."""


def check(paths: Sequence[Path], *, today: date) -> Checked:
    """Read the files as the collector would, and look for what cannot be meant."""
    files, errors = _read(paths)
    if errors:
        return Checked(files, errors, (), "")
    try:
        catalog = compile_catalog(paths)
    except PriceFileError as error:
        return Checked(files, tuple(str(error).splitlines()), (), "")
    warnings = [
        f"{path}:{line}: {text}"
        for path, file in zip(paths, files, strict=True)
        for line, text in sorted(set(_doubts(file, catalog, today)))
    ]
    return Checked(files, (), (*warnings, *_unchangeable(files, catalog)), catalog.currency)


def _read(paths: Sequence[Path]) -> tuple[tuple[PriceFile, ...], tuple[str, ...]]:
    files: list[PriceFile] = []
    errors: list[str] = []
    for path in paths:
        try:
            files.append(read_price_file(path))
        except PriceFileError as error:
            errors += str(error).splitlines()
    return tuple(files), tuple(errors)


def _doubts(file: PriceFile, catalog: Catalog, today: date) -> Iterator[tuple[int, str]]:
    """Entries that will not do anything, now or ever, with their lines."""
    yield from _not_yet(file, today)
    for change in (*file.corrections, *file.surcharges, *file.discounts):
        if doubt := _nothing_to_change(change, catalog):
            yield change.line, f"[[{change.table}]] {doubt}"
    for meant in file.deployments:
        if meant.provider != ANY and not _resolves(meant.provider, meant.model, catalog):
            yield meant.line, f"[[deployment]] model: {meant.model!r} has no price at {meant.provider!r}"


def _not_yet(file: PriceFile, today: date) -> Iterator[tuple[int, str]]:
    dated: list[Dated] = [*file.prices, *file.corrections, *file.surcharges, *file.discounts, *file.gpus]
    starts = [(entry.line, entry.table, "valid_from", entry.valid_from) for entry in dated]
    starts += [(rate.line, rate.table, "date", rate.date) for rate in file.exchange_rates]
    for line, table, field, start in starts:
        if start is not None and start > today:
            yield line, f"[[{table}]] {field}: not in force before {start}"


def _nothing_to_change(entry: ForModels, catalog: Catalog) -> str:
    """Why an entry that changes what other layers say has nothing to change; empty when it has."""
    sellers = [seller for seller in providers(catalog) if fits_provider(entry.provider, [seller])]
    if not sellers and entry.provider != ANY:
        return f"provider: no layer has a price for {entry.provider!r}, so there is nothing to change"
    known = [model for provider, model in known_models(catalog) if provider in (ANY, *sellers)]
    for pattern in entry.model:
        if not any(fits(pattern, model) for model in known) and not any(
            _resolves(seller, pattern, catalog) for seller in sellers
        ):
            return f"model: no layer has a price for {pattern!r}, so there is nothing to change"
    return ""


def _resolves(provider: str, name: str, catalog: Catalog) -> bool:
    return bool(ANY not in name and catalog.resolve(SeenModel(provider, "", "", name)).rate_card)


def _unchangeable(files: Sequence[PriceFile], catalog: Catalog) -> Iterator[str]:
    """Currencies that cannot be added up with the rest."""
    used = {"USD"}
    for file in files:
        used |= {price.currency for price in file.prices} | {gpu.currency for gpu in file.gpus}
    rates = [rate for rate in catalog.exchange_rates if rate.quote == catalog.currency]
    for currency in sorted(used - {catalog.currency}):
        if not any(rate.base == currency for rate in rates):
            yield (
                f"no [[exchange_rate]] from {currency} to {catalog.currency}: what is priced in {currency} "
                f"stays out of sums in {catalog.currency}"
            )
