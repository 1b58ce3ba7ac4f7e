"""The SQL files of settling, trials, corrections and closed months, read and filled in."""

from __future__ import annotations

from importlib.resources import files
from string import Template
from typing import Final

from pennytrace_collectors.store.dialects import parameters

# Spans carry the clocks of many machines; a batch with many months in it is rare, but not wrong.
ANY_MONTHS: Final = {"max_partitions_per_insert_block": 0}


def settle_sql(name: str, **values: str) -> str:
    """A file of sql/settle with its `$values`."""
    return _filled("settle", name, {**parameters(), **values})


def reprice_sql(name: str, **values: str) -> str:
    """A file of sql/reprice with its `$values`."""
    return _filled("reprice", name, values)


def _filled(folder: str, name: str, values: dict[str, str]) -> str:
    text = files("pennytrace_collectors.store").joinpath("sql", folder, name).read_text("utf-8")
    return Template(text).substitute(values)
