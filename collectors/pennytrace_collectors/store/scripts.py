"""The SQL files of trials, corrections and closed months, read and filled in."""

from __future__ import annotations

from importlib.resources import files
from string import Template


def reprice_sql(name: str, **values: str) -> str:
    """A file of sql/reprice with its `$values`."""
    text = files("pennytrace_collectors.store").joinpath("sql", "reprice", name).read_text("utf-8")
    return Template(text).substitute(values)
