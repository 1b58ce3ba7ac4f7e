# mypy: disable-error-code="misc"
"""The only module that touches grafanalib: turns a board into the JSON that Grafana loads.

grafanalib 0.7.1 (2024-01) writes the schema of Grafana 6 in places and has no ClickHouse target, so three of
its classes are replaced here by ones that write today's schema; the old keys that are left are dropped last.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import attr
from grafanalib import core
from grafanalib._gen import DashboardEncoder

from pennytrace_dashboards.board import DATASOURCE_TYPE, DATASOURCE_UID, Board, Json, Panel, Variable
from pennytrace_dashboards.queries import read

# 39 is the newest that Grafana 11.6 knows; nothing here needs the steps after it.
_SCHEMA_VERSION: Final = 39
_PANEL_VERSION: Final = "11.6.0"
_PLUGIN_VERSION: Final = "4.20.0"
_SOURCE: Final = {"type": DATASOURCE_TYPE, "uid": DATASOURCE_UID}
_FORMATS: Final = {"series": (0, "timeseries"), "table": (1, "table")}
_ON_TIME_RANGE_CHANGE: Final = 2
_NOT_SORTED: Final = 0
_SHARED_CROSSHAIR: Final = 1

# Written by grafanalib, gone from Grafana; left in, they set off its migrations of old boards.
_GONE: Final = frozenset(
    {
        "__inputs",
        "editable",
        "error",
        "hideControls",
        "rows",
        "sharedCrosshair",
        "span",
        "style",
        "time_options",
    }
)
_GONE_FROM_VARIABLES: Final = ("auto", "auto_count", "auto_min", "tagValuesQuery", "tagsQuery", "useTags")


def render(board: Board) -> dict[str, Any]:
    """The JSON of a board, the same for the same board whatever else happens."""
    dashboard = core.Dashboard(
        title=board.title,
        uid=board.uid,
        description=board.description,
        tags=list(board.tags),
        timezone="utc",
        schemaVersion=_SCHEMA_VERSION,
        graphTooltip=_SHARED_CROSSHAIR,
        refresh=board.refresh,
        time=core.Time(start=board.start, end="now"),
        timePicker=core.TimePicker(refreshIntervals=["1m", "5m", "15m", "1h"], timeOptions=[]),
        templating=core.Templating(list=[_variable(variable) for variable in board.variables]),
        panels=[_panel(panel) for panel in board.panels],
    )
    plain = json.loads(json.dumps(dashboard.to_json_data(), cls=DashboardEncoder))
    pruned: dict[str, Any] = _pruned(plain)
    return pruned


def _ours(cls: type) -> Any:
    """`attr.s` without its types, which mypy cannot follow into a package that has none."""
    decorate: Callable[[type], Any] = attr.s(kw_only=True)
    return decorate(cls)


@_ours
class _ClickHouseTarget(core.Target):
    rawSql = attr.ib()
    shape = attr.ib()

    def to_json_data(self) -> Json:
        number, name = _FORMATS[self.shape]
        return {
            "refId": self.refId,
            "datasource": _SOURCE,
            "editorType": "sql",
            "format": number,
            "queryType": name,
            "rawSql": self.rawSql,
            # Absent, the plugin takes the query for one of its version 3 and rewrites it.
            "pluginVersion": _PLUGIN_VERSION,
            "meta": {},
        }


@_ours
class _Visualisation(core.Panel):
    kind = attr.ib()
    options = attr.ib()
    defaults = attr.ib()
    overrides = attr.ib()

    def to_json_data(self) -> Any:
        return self.panel_json(
            {
                "type": self.kind,
                "pluginVersion": _PANEL_VERSION,
                "options": self.options,
                "fieldConfig": {"defaults": self.defaults, "overrides": self.overrides},
            }
        )


@_ours
class _Choice(core.Template):
    def to_json_data(self) -> Json:
        written = super().to_json_data()
        kept = {key: value for key, value in written.items() if key not in _GONE_FROM_VARIABLES}
        return {
            **kept,
            "definition": self.query,
            "query": {"refId": "variable", "editorType": "sql", "queryType": "sql", "rawSql": self.query},
            # `$__all` is the value of All; grafanalib would have it look for a feature named 'All'.
            "current": {"text": ["All"], "value": ["$__all"]} if self.includeAll else {},
        }


def _panel(panel: Panel) -> Any:
    place = core.GridPos(x=panel.place.x, y=panel.place.y, w=panel.place.w, h=panel.place.h)
    targets = []
    if panel.query:
        targets.append(_ClickHouseTarget(refId="A", rawSql=read(panel.query), shape=panel.query.shape))
    return _Visualisation(
        id=panel.id,
        title=panel.title,
        description=panel.description or None,
        gridPos=place,
        dataSource=_SOURCE if targets else None,
        targets=targets,
        kind=panel.kind,
        options=dict(panel.options),
        defaults=dict(panel.defaults),
        overrides=list(panel.overrides),
        thresholds=[{"color": "text", "value": None}],
        maxDataPoints=panel.most_points,
    )


def _variable(variable: Variable) -> Any:
    return _Choice(
        name=variable.name,
        label=variable.label,
        dataSource=_SOURCE,
        query=read(variable.query),
        multi=variable.many,
        includeAll=variable.many,
        refresh=_ON_TIME_RANGE_CHANGE,
        sort=_NOT_SORTED,
    )


def _pruned(node: Any, *, inside: str = "") -> Any:
    """Without the keys that are gone, and without nulls but for that of the lowest threshold step."""
    if isinstance(node, list):
        return [_pruned(item, inside=inside) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _pruned(value, inside=key)
        for key, value in node.items()
        if key not in _GONE and (value is not None or (inside == "steps" and key == "value"))
    }
