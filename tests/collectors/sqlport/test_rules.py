"""What a later ClickHouse brings is refused until somebody has looked at it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pennytrace_collectors.sqlport import Limits, application
from pennytrace_collectors.sqlport.build import Build
from pennytrace_collectors.sqlport.faults import Fault
from pennytrace_collectors.sqlport.settings import within
from pennytrace_collectors.sqlport.statement import Inspector
from pennytrace_collectors.sqlport.tree import survey

SELECT_ONE: Mapping[str, Any] = {
    "type": "SelectWithUnionQuery",
    "list_of_selects": {
        "type": "ExpressionList",
        "children": [{"type": "SelectQuery", "select": {"type": "Literal"}}],
    },
}


class Engine:
    """Answers the port's own queries as a build with a few functions would."""

    def __init__(self, tree: Mapping[str, Any] = SELECT_ONE, again: str = "SELECT 1") -> None:
        self._tree = tree
        self._again = again

    def __call__(self, sql: str, parameters: Mapping[str, str]) -> Sequence[Sequence[Any]]:
        if "parseQueryToJSON" in sql:
            return [(json.dumps(self._tree), self._again, "SELECT 1")]
        if "FROM system.functions" in sql:
            return [
                ("upper", "", "String", 0),
                ("ucase", "upper", "", 0),
                ("sum", "", "Aggregate Functions", 1),
                ("file", "", "Other", 0),
                ("slurp", "file", "", 0),
                ("version", "", "Other", 0),
                ("teleport", "", "Teleportation", 0),
                ("mine", "", "Own", 0),
                ("Twin", "", "String", 0),
                ("twin", "", "Other", 0),
            ]
        if "combinators" in sql:
            return [("If",), ("Array",)]
        if "system.settings" in sql:
            return [("max_execution_time", "0"), ("allow_ddl", "1"), ("readonly", "0")]
        return [("26.9.2.1", "UTC", ["default", "system", "spend"])]


def refused(tree: Mapping[str, Any]) -> bool:
    try:
        survey(tree, {})
    except Fault:
        return True
    return False


@pytest.mark.parametrize(
    "name", ["upper", "UPPER", "ucase", "sum", "sumIf", "sumArrayIf", "version", "lambda"]
)
def test_a_function_that_computes_from_its_arguments_may_be_called(name: str) -> None:
    Build.read(Engine()).require_function(name)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("file", 497),
        ("slurp", 497),
        ("teleport", 497),
        ("mine", 497),
        ("twin", 497),
        ("fileIf", 46),
        ("nope", 46),
    ],
)
def test_a_function_of_a_kind_that_nobody_has_looked_at_may_not(name: str, code: int) -> None:
    with pytest.raises(Fault) as fault:
        Build.read(Engine()).require_function(name)
    assert fault.value.code == code


def test_a_node_or_a_word_that_the_rules_do_not_know_is_refused() -> None:
    assert not refused(SELECT_ONE)
    assert refused({**SELECT_ONE, "out_file": {"type": "Literal"}})
    assert refused({**SELECT_ONE, "sends_to": "elsewhere"})
    assert refused({**SELECT_ONE, "list_of_selects": {"type": "TeleportQuery"}})
    assert refused({"type": "TeleportQuery"})
    assert refused({"type": "ExplainQuery", "kind": "EXPLAIN TELEPORT", "query": SELECT_ONE})
    assert refused({"type": "ShowTablesQuery", "secrets": True})


def test_a_tree_that_leaves_something_of_the_statement_out_is_not_trusted() -> None:
    Inspector(Engine(), "spend").inspect("SELECT 1", {})
    with pytest.raises(Fault, match="not available"):
        Inspector(Engine(again="SELECT 1 INTO OUTFILE 'x'"), "spend").inspect("SELECT 1", {})


def test_a_client_may_lower_a_limit_and_never_lift_it() -> None:
    build = Build.read(Engine())
    for asked, expected in {
        "3": "3",
        "60": "60",
        "61": "60",
        "0": "60",
        "-1": "60",
        "nan": "60",
        "inf": "60",
    }.items():
        chosen = within(Limits(), {"max_execution_time": asked}, build, held_whole=False)
        assert chosen["max_execution_time"] == expected


def test_a_setting_that_changes_nothing_is_let_pass() -> None:
    build = Build.read(Engine())
    assert "allow_ddl" not in within(Limits(), {"allow_ddl": "1", "readonly": "1"}, build, held_whole=True)


@pytest.mark.parametrize("database", ["default", "system", "a.b", "", "a`b"])
def test_a_database_in_which_a_name_may_mean_a_file_is_not_served(tmp_path: Path, database: str) -> None:
    with pytest.raises(ValueError, match="cannot be served"):
        application(tmp_path, database=database)
