"""The boards as Grafana gets them: ids, places, units, datasource, variables and keys are as they must be."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from pennytrace_dashboards import boards
from pennytrace_dashboards.board import Board, Place
from pennytrace_dashboards.boards import discover
from pennytrace_dashboards.files import board_json

BOARDS: Final = discover()
GOLDEN: Final = Path(__file__).with_name("golden")
SOURCE: Final = {"type": "grafana-clickhouse-datasource", "uid": "pennytrace-clickhouse"}
UNITS: Final = {"locale", "percentunit", "d", "dateTimeAsIso", "string"}

in_each_board = pytest.mark.parametrize("name", BOARDS)


def loaded(name: str) -> dict[str, Any]:
    board: dict[str, Any] = json.loads(board_json(BOARDS[name]))
    return board


def targets(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in board["panels"]:
        yield from panel["targets"]


def test_every_module_of_the_folder_is_a_board_with_a_uid_of_its_own() -> None:
    assert "spend" in BOARDS
    assert all(isinstance(board, Board) for board in BOARDS.values())
    uids = [board.uid for board in BOARDS.values()]
    assert len(set(uids)) == len(uids)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,40}", uid) for uid in uids)


def test_every_query_file_is_used() -> None:
    folder = Path(boards.__path__[0]) / "queries"
    there = {str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.sql")}
    panels = {panel.query.path for board in BOARDS.values() for panel in board.panels if panel.query}
    variables = {variable.query.path for board in BOARDS.values() for variable in board.variables}
    assert there == panels | variables | {"selected"}


@in_each_board
def test_a_board_is_the_one_that_was_reviewed(name: str) -> None:
    golden = GOLDEN / f"{name}.json"
    text = board_json(BOARDS[name])
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, "utf-8")
    assert golden.exists(), "make it with UPDATE_GOLDEN=1"
    assert text == golden.read_text("utf-8"), (
        "if it is meant to change: UPDATE_GOLDEN=1, and review the difference"
    )


@in_each_board
def test_grafanas_own_models_read_a_board_without_losing_a_key(name: str) -> None:
    with warnings.catch_warnings():
        # It prefers the second schema of dashboards, which Grafana 11.6 does not have.
        warnings.simplefilter("ignore", DeprecationWarning)
        from grafana_foundation_sdk.models.dashboard import Dashboard
    written = loaded(name)
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(written)))
    assert list(_lost(written, read)) == []


@in_each_board
def test_a_board_is_in_utc_refreshes_gently_and_has_no_id_of_its_own(name: str) -> None:
    board = loaded(name)
    assert (board["timezone"], board["schemaVersion"], board["refresh"]) == ("utc", 39, "5m")
    assert board["time"] == {"from": "now-30d", "to": "now"}
    assert board["title"]
    assert "id" not in board


@in_each_board
def test_nothing_of_grafanas_old_schemas_is_left(name: str) -> None:
    old = {
        "rows",
        "style",
        "hideControls",
        "sharedCrosshair",
        "span",
        "error",
        "__inputs",
        "time_options",
        "useTags",
    }
    nulls = [path for path, value in _leaves(loaded(name)) if value is None]
    assert not [path for path, _ in _leaves(loaded(name)) if old & set(path)]
    assert all(path[-3] == "steps" and path[-2:] == (0, "value") for path in nulls)


@in_each_board
def test_panel_ids_and_titles_are_unique_and_every_number_says_what_it_is(name: str) -> None:
    panels = loaded(name)["panels"]
    assert max(Counter(panel["id"] for panel in panels).values()) == 1
    assert max(Counter(panel["title"] for panel in panels).values()) == 1
    assert all(panel["description"] for panel in panels if panel["targets"])
    assert all(panel["pluginVersion"] == "11.6.0" for panel in panels)


@in_each_board
def test_no_panel_lies_on_another_or_over_the_edge_and_no_gap_is_left(name: str) -> None:
    places = [panel.place for panel in BOARDS[name].panels]
    assert all(place.x >= 0 and place.x + place.w <= 24 and place.w > 0 and place.h > 0 for place in places)
    assert not [pair for pair in combinations(places, 2) if _overlap(*pair)]
    assert sum(place.w * place.h for place in places) == 24 * max(place.y + place.h for place in places)


@in_each_board
def test_every_column_of_a_query_has_a_unit(name: str) -> None:
    for panel in loaded(name)["panels"]:
        if not panel["targets"]:
            continue
        config = panel["fieldConfig"]
        assert config["defaults"]["unit"] in UNITS
        named = {override["matcher"]["options"]: override["properties"] for override in config["overrides"]}
        if panel["type"] in ("stat", "table"):
            assert list(named) == re.findall(r'AS "([^"]+)"', panel["targets"][0]["rawSql"])
        for properties in named.values():
            assert {item["value"] for item in properties if item["id"] == "unit"} <= UNITS
            assert "unit" in [item["id"] for item in properties]


@in_each_board
def test_money_is_labelled_with_its_currency(name: str) -> None:
    for panel in loaded(name)["panels"]:
        if any("cost" in target["rawSql"].rsplit("FROM spend", 1)[-1] for target in panel["targets"]):
            assert "$currency" in panel["title"] or panel["title"] == "What is behind it"


@in_each_board
def test_every_footer_sums_what_can_be_summed(name: str) -> None:
    for panel in loaded(name)["panels"]:
        if panel["type"] == "table" and panel["options"]["footer"]["show"]:
            footer = panel["options"]["footer"]["fields"]
            assert footer
            assert not [field for field in footer if "priced" in field or "Share" in field]
            assert footer == [
                override["matcher"]["options"]
                for override in panel["fieldConfig"]["overrides"]
                if {"id": "custom.footer.reducers", "value": ["sum"]} in override["properties"]
            ]


@in_each_board
def test_every_query_goes_to_the_provisioned_datasource_in_the_plugins_form(name: str) -> None:
    board = loaded(name)
    assert list(targets(board))
    for panel in board["panels"]:
        assert [target["refId"] for target in panel["targets"]] == ["A"] * len(panel["targets"])
        assert not panel["targets"] or panel["datasource"] == SOURCE
    for target in targets(board):
        assert target["datasource"] == SOURCE
        assert (target["editorType"], target["pluginVersion"], target["meta"]) == ("sql", "4.20.0", {})
        assert (target["format"], target["queryType"]) in ((0, "timeseries"), (1, "table"))


@in_each_board
def test_a_time_series_is_ordered_by_time_first(name: str) -> None:
    for target in targets(loaded(name)):
        assert (target["format"] == 0) == bool(re.search(r"ORDER BY time,[^)]*\Z", target["rawSql"]))


@in_each_board
def test_the_legend_of_a_time_series_names_a_column_of_it(name: str) -> None:
    for panel in loaded(name)["panels"]:
        if panel["type"] == "timeseries":
            label = re.fullmatch(
                r"\$\{__field\.labels\.(\w+)\}", panel["fieldConfig"]["defaults"]["displayName"]
            )
            assert label
            assert f"AS {label[1]},\n" in panel["targets"][0]["rawSql"]


@in_each_board
def test_every_variable_that_is_used_exists_and_every_one_that_exists_is_used(name: str) -> None:
    board = loaded(name)
    texts = [panel["title"] + json.dumps(panel["options"]) for panel in board["panels"]]
    texts += [target["rawSql"] for target in targets(board)]
    used = {name for text in texts for name in re.findall(r"\$\{?(?!__)(\w+)", text)}
    assert used == {variable["name"] for variable in board["templating"]["list"]}


@in_each_board
def test_a_variable_has_all_or_exactly_one_value_and_follows_the_time_range(name: str) -> None:
    for variable in loaded(name)["templating"]["list"]:
        many = variable["name"] != "currency"
        assert variable["current"] == ({"text": ["All"], "value": ["$__all"]} if many else {})
        assert variable["multi"] is variable["includeAll"] is many
        assert "allValue" not in variable
        assert variable["datasource"] == SOURCE
        assert variable["refresh"] == 2
        assert variable["query"]["rawSql"] == variable["definition"]


@in_each_board
def test_every_value_is_quoted_and_every_all_is_a_condition(name: str) -> None:
    for target in targets(loaded(name)):
        sql = target["rawSql"]
        assert set(re.findall(r"\$\{\w+:?(\w*)\}", sql)) <= {"singlequote"}
        for variable in set(re.findall(r"\$\{(\w+)", sql)) - {"currency"}:
            assert sql.count(f"${{{variable}:singlequote}}") == sql.count(
                f"$__conditionalAll({variable} IN (${{{variable}:singlequote}}), ${variable})"
            )


def _overlap(one: Place, other: Place) -> bool:
    beside = one.x + one.w <= other.x or other.x + other.w <= one.x
    return not (beside or one.y + one.h <= other.y or other.y + other.h <= one.y)


def _lost(written: Any, read: Any, path: str = "") -> Iterator[str]:
    if isinstance(written, dict):
        for key, value in written.items():
            if not isinstance(read, dict) or key not in read:
                yield f"{path}.{key}"
            else:
                yield from _lost(value, read[key], f"{path}.{key}")
    elif isinstance(written, list):
        if not isinstance(read, list) or len(read) != len(written):
            yield path
        else:
            for number, pair in enumerate(zip(written, read, strict=True)):
                yield from _lost(*pair, f"{path}[{number}]")
    elif written != read:
        yield path


def _leaves(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _leaves(value, (*path, number))
    else:
        yield path, node
