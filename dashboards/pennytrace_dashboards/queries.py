"""Reads the .sql files that boards, variables and, later, alert rules are made of."""

from __future__ import annotations

from importlib.resources import files

from pennytrace_dashboards.board import Query

# The one place that says which calls a board is about; every query of a board reads its calls through it.
_SELECTED = "@selected"


def read(query: Query) -> str:
    """The text of a query as Grafana gets it, with the query of the selected calls put in for `@selected`."""
    return _file(query.path).replace(_SELECTED, _indented(_file("selected")))


def _file(path: str) -> str:
    return files("pennytrace_dashboards.boards").joinpath("queries", f"{path}.sql").read_text("utf-8").strip()


def _indented(text: str) -> str:
    return "\n" + "\n".join(f"    {line}" if line else line for line in text.splitlines()) + "\n"
