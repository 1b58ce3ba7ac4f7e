"""What a board is: panels, variables and queries as plain data that know nothing of grafanalib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Json: TypeAlias = Mapping[str, object]

DATASOURCE_TYPE = "grafana-clickhouse-datasource"
DATASOURCE_UID = "pennytrace-clickhouse"
"""Boards and alert rules name the datasource by it, so it never changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a panel lies on the grid of 24 columns."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, slots=True)
class Query:
    """A query by the path of its file under `boards/queries`, without `.sql`, and the shape of its answer.

    `series` answers start with a time column and are ordered by it; `table` answers are shown as they are.
    """

    path: str
    shape: Literal["table", "series"] = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel; `kind` is Grafana's own name of the visualisation."""

    id: int
    """Alert rules and links name a panel by it, so it stays with the panel for good."""
    title: str
    kind: str
    place: Place
    description: str = ""
    """What is in the numbers, and what is not."""
    query: Query | None = None
    options: Json = field(default_factory=dict)
    defaults: Json = field(default_factory=dict)
    overrides: Sequence[Json] = ()
    most_points: int | None = None
    """Over how many points the time range is divided; Grafana's own choice when None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A choice at the top of the board, filled by a query whose first column holds the values."""

    name: str
    label: str
    query: Query
    many: bool = True
    """Several values, or All of them, can be chosen; otherwise exactly one, at first the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard. Its times are UTC, as the days of an invoice are."""

    uid: str
    title: str
    description: str
    panels: Sequence[Panel]
    variables: Sequence[Variable] = ()
    tags: Sequence[str] = ("pennytrace",)
    start: str = "now-30d"
    refresh: str = "5m"
