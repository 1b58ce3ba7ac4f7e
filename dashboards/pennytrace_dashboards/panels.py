"""The kinds of panel that boards are made of, in the schema of today's Grafana."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pennytrace_dashboards.board import Json, Panel, Place, Query

# A unit cannot hold a variable, so money is drawn as a number and its currency stands in the panel's title.
NUMBER: Final = "locale"
SHARE: Final = "percentunit"
DAYS: Final = "d"
TIME: Final = "dateTimeAsIso"
TEXT: Final = "string"

_NOTHING: Final = "–"  # noqa: RUF001 - a dash as it is printed: nothing known, which is not 0
_PLAIN: Final = ((None, "text"),)
_STEPS: Final[Mapping[str, Sequence[tuple[float | None, str]]]] = {
    "coverage": ((None, "red"), (0.95, "orange"), (0.999, "green")),
    "alarm": ((None, "text"), (1, "orange")),
}
_CELLS: Final[Mapping[str, Json]] = {
    "bar": {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"},
    "coverage": {"type": "color-text"},
    "alarm": {"type": "color-text"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of an answer, and how it is drawn; `name` is what the query calls it."""

    name: str
    unit: str = NUMBER
    decimals: int | None = 0
    look: Literal["plain", "bar", "coverage", "alarm"] = "plain"
    """`bar` draws shares as bars, `coverage` turns red below 95 %, `alarm` turns orange from 1 on."""
    summed: bool = False
    """The table's footer shows the column's sum."""


def money(name: str, *, decimals: int = 4, summed: bool = False) -> Column:
    """A column of money; four decimals, because a call costs less than a cent."""
    return Column(name=name, decimals=decimals, summed=summed)


def stats(
    *, id: int, title: str, description: str, place: Place, query: Query, columns: Sequence[Column]
) -> Panel:
    """One tile for each column of the query's only row, all of one moment."""
    return Panel(
        id=id,
        title=title,
        description=description,
        kind="stat",
        place=place,
        query=query,
        options={
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "/.*/", "values": False},
            "orientation": "vertical",
            "textMode": "value_and_name",
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "center",
            "wideLayout": True,
        },
        defaults={
            "noValue": _NOTHING,
            "unit": NUMBER,
            "color": {"mode": "thresholds"},
            **_thresholds(_PLAIN),
        },
        overrides=[_override(column) for column in columns],
    )


def stacked(*, id: int, title: str, description: str, place: Place, query: Query, label: str) -> Panel:
    """Money over time as stacked bars, one colour for each value of the query's column `label`."""
    return Panel(
        id=id,
        title=title,
        description=description,
        kind="timeseries",
        place=place,
        query=query,
        # 30 days of 30 points are days; shorter ranges get shorter steps.
        most_points=30,
        options={
            "legend": {"showLegend": True, "displayMode": "table", "placement": "right", "calcs": ["sum"]},
            "tooltip": {"mode": "multi", "sort": "desc", "hideZeros": True},
        },
        defaults={
            "displayName": f"${{__field.labels.{label}}}",
            "noValue": _NOTHING,
            "unit": NUMBER,
            "decimals": 4,
            "min": 0,
            # By name, so that a feature keeps its colour whatever else is in the chart.
            "color": {"mode": "palette-classic-by-name"},
            "custom": {
                "drawStyle": "bars",
                "fillOpacity": 80,
                "lineWidth": 0,
                "barAlignment": 0,
                "barWidthFactor": 0.8,
                "showPoints": "never",
                "stacking": {"mode": "normal", "group": "A"},
                "axisSoftMin": 0,
            },
            **_thresholds(_PLAIN),
        },
    )


def table(
    *, id: int, title: str, description: str, place: Place, query: Query, columns: Sequence[Column]
) -> Panel:
    """A table of the query's answer in the query's own order, with the sums of the `summed` columns below."""
    summed = [column.name for column in columns if column.summed]
    return Panel(
        id=id,
        title=title,
        description=description,
        kind="table",
        place=place,
        query=query,
        options={
            "showHeader": True,
            "cellHeight": "sm",
            # Read by Grafana 11.6; from 12.2 on the footer is a property of each field, as in the overrides.
            "footer": {"show": bool(summed), "reducer": ["sum"], "countRows": False, "fields": summed},
        },
        defaults={
            "noValue": _NOTHING,
            "unit": NUMBER,
            "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True},
            **_thresholds(_PLAIN),
        },
        overrides=[_override(column, *_cell(column)) for column in columns],
    )


def text(*, id: int, title: str, place: Place, markdown: str) -> Panel:
    """Words, in Markdown."""
    return Panel(
        id=id,
        title=title,
        kind="text",
        place=place,
        options={"mode": "markdown", "content": markdown.strip()},
    )


def _override(column: Column, *extra: Json) -> Json:
    properties: list[Json] = [{"id": "unit", "value": column.unit}]
    if column.decimals is not None:
        properties.append({"id": "decimals", "value": column.decimals})
    if column.look in _STEPS:
        properties.append({"id": "thresholds", "value": _thresholds(_STEPS[column.look])["thresholds"]})
    return {
        "matcher": {"id": "byName", "options": column.name},
        "properties": [*properties, *extra],
    }


def _cell(column: Column) -> Iterator[Json]:
    if column.look == "bar":
        yield {"id": "min", "value": 0}
        yield {"id": "max", "value": 1}
    if column.look in _CELLS:
        yield {"id": "custom.cellOptions", "value": _CELLS[column.look]}
    if column.summed:
        yield {"id": "custom.footer.reducers", "value": ["sum"]}


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> Json:
    return {
        "thresholds": {
            "mode": "absolute",
            "steps": [{"color": color, "value": value} for value, color in steps],
        }
    }
