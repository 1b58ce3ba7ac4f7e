"""What the price list is made from: the price files and the data file that are in use, or those of a candidate."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pennytrace.errors import ConfigurationError
from pennytrace_collectors.catalog import Catalog, compile_catalog, genai
from pennytrace_collectors.catalog.prices import SUPPLEMENT
from pennytrace_collectors.pricelist import kept


@dataclass(frozen=True, slots=True)
class Sources:
    """The files that a price list is compiled from, over the installed genai-prices and the supplement."""

    price_files: tuple[Path, ...] = ()
    genai_data: Path | None = None
    note: str = ""
    """What a person should know about the data in use."""

    def catalog(self) -> Catalog:
        """The price list.

        Raises:
            PriceFileError: a price file or the data file cannot be used.
        """
        return compile_catalog(self.price_files, genai_data=self.genai_data)


def price_files(given: Sequence[str] | None, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The price files of the option `--prices`, else of `PENNYTRACE_PRICES`.

    Raises:
        ConfigurationError: one of them is not there.
    """
    names = given or environment.get("PENNYTRACE_PRICES", "").split(os.pathsep)
    paths = tuple(Path(name).expanduser().absolute() for name in names if name)
    for path in paths:
        if not path.is_file():
            raise ConfigurationError(f"--prices must name a file that exists; got {str(path)!r}")
    return paths


def in_use(files: Sequence[Path], state: Path) -> Sources:
    """The price files, over the data file that `prices update` has kept or what came with genai-prices.

    A kept file is used until a genai-prices is installed that knows newer prices.

    Raises:
        PriceDataError: the kept file cannot be read.
    """
    entries = kept.taken(state)
    if not entries:
        return Sources(tuple(files))
    newest = entries[-1]
    version = genai.package_version()
    if version != newest.package and installed_newest() > date.fromisoformat(newest.newest_price):
        note = f"genai-prices {version} was installed since, and knows newer prices than the data of {newest.taken_at}"
        return Sources(tuple(files), None, note)
    return Sources(
        tuple(files), kept.path_of(state, newest), f"price data of {newest.taken_at} from {newest.source}"
    )


@dataclass(frozen=True, slots=True)
class Checked:
    """When the prices of the supplement were looked up."""

    entries: int
    first: date
    last: date


def supplement_checked(catalog: Catalog) -> Checked:
    """How many prices the supplement has, and when they were looked up where they are written."""
    entries = [
        entry.checked
        for layer in catalog.layers
        if layer.name == SUPPLEMENT
        for entry in layer.file.prices
        if entry.checked is not None
    ]
    return Checked(len(entries), min(entries), max(entries))


def installed_newest() -> date:
    """The day on which the last dated price of the installed genai-prices starts, which may be to come."""
    return genai.newest_price_date(genai.catalog_snapshot(), today=date.max)
