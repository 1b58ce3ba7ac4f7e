"""The stand-in for Grafana and its plugin does what the plugin's own tests and documentation say."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from .plugin import ALL, NotExpanded, Range, backend_macros, conditional_all, expand, replace_variables

SPAN = Range(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, 0, 0, 0, 500_000, tzinfo=UTC), step_s=600)


@pytest.mark.parametrize(
    ("macro", "expansion"),
    [
        ("$__timeFilter(t)", "t >= toDateTime(1767225600) AND t <= toDateTime(1767312000)"),
        (
            "$__timeFilter_ms(t)",
            "t >= fromUnixTimestamp64Milli(1767225600000) AND t <= fromUnixTimestamp64Milli(1767312000500)",
        ),
        ("$__fromTime, $__toTime", "toDateTime(1767225600), toDateTime(1767312000)"),
        ("$__timeInterval(a(b, ')'))", "toStartOfInterval(toDateTime(a(b, ')')), INTERVAL 600 second)"),
        ("$__interval_s", "600"),
        ("$__nothingKnown(t)", "$__nothingKnown(t)"),
        (
            "-- $__interval_s\n'$__interval_s' /* $__interval_s */",
            "-- $__interval_s\n'$__interval_s' /* $__interval_s */",
        ),
    ],
)
def test_a_macro_of_the_backend_becomes_its_expansion(macro: str, expansion: str) -> None:
    assert backend_macros(macro, SPAN) == expansion


def test_all_and_no_value_make_a_condition_always_true() -> None:
    sql = "WHERE $__conditionalAll(a IN (${a:singlequote}), $a) AND $__conditionalAll(b IN ($b), $b)"
    assert conditional_all(sql, {"a": [ALL], "b": ["x"]}) == "WHERE 1=1 AND b IN ($b)"
    assert conditional_all(sql, {"a": [""], "b": ""}) == "WHERE 1=1 AND 1=1"


@pytest.mark.parametrize("sql", ["$__conditionalAll(a = 1, b = 2, $a)", "$__conditionalAll(a != '$', $a)"])
def test_a_condition_that_the_plugin_would_garble_is_refused(sql: str) -> None:
    with pytest.raises(NotExpanded):
        conditional_all(sql, {"a": "x"})


def test_a_value_is_quoted_as_its_format_says_and_is_not_read_again() -> None:
    variables = {"one": "it's $two", "two": ["a'b", "c"]}
    assert replace_variables("${one:singlequote}", variables) == r"'it\'s $two'"
    assert (
        replace_variables("(${two:singlequote}) ($two) $three", variables)
        == r"('a\'b','c') ('a'b','c') $three"
    )
    assert replace_variables("${one} ${two:raw}", variables) == "it's $two a'b,c"


def test_all_outside_of_a_condition_is_refused() -> None:
    with pytest.raises(NotExpanded, match="All"):
        expand("a IN (${a:singlequote})", {"a": [ALL]}, SPAN)
