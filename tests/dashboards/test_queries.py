"""Every query of every board runs on the real store, and shows what the shop's calls come to."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest

from pennytrace_dashboards.board import Query, Variable
from pennytrace_dashboards.boards import discover
from pennytrace_dashboards.queries import read

from . import expected, shop
from .engine import Answer, Engine
from .plugin import ALL, Range, Variables, expand

BOARDS: Final = discover()
EVERYTHING: Final[Variables] = {
    "currency": "USD",
    **{name: [ALL] for name in ("environment", "team", "feature", "provider", "model")},
}
STATES: Final[dict[str, Variables]] = {
    "All": EVERYTHING,
    "another currency": {**EVERYTHING, "currency": "EUR"},
    "one feature": {**EVERYTHING, "feature": ["checkout"]},
    "several of several": {
        **EVERYTHING,
        "environment": ["production", "staging"],
        "feature": ["checkout", "page 1", "page 2", "поиск"],
        "model": ["acme-large", "acme-half", "mystery-9000"],
    },
    "quotes and brackets in names": {
        **EVERYTHING,
        "team": ["o'team"],
        "feature": ['it\'s "new"', "a,b) OR (1=1 --", "costs $team", "back_slash"],
    },
    "those without a name": {
        **EVERYTHING,
        "environment": ["(none)"],
        "team": ["(none)"],
        "feature": ["(none)"],
    },
    "only what has no price": {**EVERYTHING, "provider": ["shed"]},
    "nothing at all": {**EVERYTHING, "feature": ["never seen"]},
    "no currency, as in an empty store": {**EVERYTHING, "currency": "", "feature": ["never seen"]},
}
MONTH: Final = Range(datetime(2026, 10, 16, tzinfo=UTC), datetime(2026, 11, 15, tzinfo=UTC))
# The end cuts a second in two, and a call of that second is in front of it.
LATE: Final = max(call.started_at for call in shop.calls()).replace(microsecond=999_000)
HOURS: Final = Range(LATE - timedelta(hours=31), LATE, step_s=3600)
BEFORE: Final = Range(shop.START - timedelta(days=9), shop.START - timedelta(days=2))
CASES: Final = {
    **{f"{name}, a month": (state, MONTH) for name, state in STATES.items()},
    "All, hours": (EVERYTHING, HOURS),
    "quotes and brackets in names, hours": (STATES["quotes and brackets in names"], HOURS),
    "All, before the first call": (EVERYTHING, BEFORE),
}
QUERIES: Final = sorted(
    {panel.query for board in BOARDS.values() for panel in board.panels if panel.query}
    | {variable.query for board in BOARDS.values() for variable in board.variables},
    key=lambda query: query.path,
)
# JavaScript, in which Grafana draws, has these as numbers, text and times; the others it has not.
DRAWABLE: Final = re.compile(
    r"(LowCardinality\()?(Nullable\()?(String|Float64|U?Int(8|16|32|64)|DateTime(64)?(\(.*\))?)\)*"
)


in_each_case = pytest.mark.parametrize(("state", "span"), CASES.values(), ids=CASES)


def ask(store: Engine, path: str, state: Variables, span: Range) -> Answer:
    return store.query(expand(read(Query(path)), state, span))


@in_each_case
@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.path)
def test_every_query_runs_and_answers_what_grafana_can_draw(
    store: Engine, query: Query, state: Variables, span: Range
) -> None:
    answer = store.query(expand(read(query), state, span))
    assert [kind for kind in answer.types if not DRAWABLE.fullmatch(kind)] == []
    assert len(set(answer.names)) == len(answer.names)
    assert {"nan", "inf", "-inf"}.isdisjoint(str(value) for row in answer.rows for value in row)
    if query.shape == "series":
        assert answer.names[0] == "time"
        assert answer.types[0].startswith("DateTime")
        assert [row[0] for row in answer.rows] == sorted(row[0] for row in answer.rows)


def test_no_query_leaves_a_variable_or_macro_to_clickhouse() -> None:
    for query in QUERIES:
        text = expand(read(query), {**STATES["several of several"], "team": ["growth"]}, MONTH)
        assert "$" not in text, query.path
        assert "@selected" not in text, query.path


@in_each_case
def test_spend_and_its_coverage_are_those_of_the_calls(store: Engine, state: Variables, span: Range) -> None:
    calls = expected.selected(span, state)
    assert ask(store, "spend/spend", state, span).records() == [_close(expected.spend(calls))]


@in_each_case
def test_the_tiles_behind_the_spend_are_those_of_the_calls(
    store: Engine, state: Variables, span: Range
) -> None:
    calls = expected.selected(span, state)
    assert ask(store, "spend/behind_it", state, span).records() == [_close(expected.behind_it(calls))]


@in_each_case
@pytest.mark.parametrize("field", ["feature", "model"])
def test_the_tables_are_those_of_the_calls(store: Engine, state: Variables, span: Range, field: str) -> None:
    rows = ask(store, f"spend/by_{field}", state, span).records()
    assert rows == [_close(row) for row in expected.by(expected.selected(span, state), field)]


@in_each_case
@pytest.mark.parametrize("field", ["feature", "model"])
def test_the_bars_are_those_of_the_calls(store: Engine, state: Variables, span: Range, field: str) -> None:
    rows = ask(store, f"spend/{field}_over_time", state, span).rows
    bars = expected.over_time(expected.selected(span, state), field, span)
    assert rows == [[time, name, _near(amount)] for time, name, amount in bars]


@in_each_case
@pytest.mark.parametrize("path", ["feature_over_time", "model_over_time", "by_feature", "by_model"])
def test_the_parts_add_up_to_the_spend(store: Engine, state: Variables, span: Range, path: str) -> None:
    total = ask(store, "spend/spend", state, span).records()[0]["Spend"]
    amount = "spend" if path.endswith("over_time") else "Spend"
    parts = [row[amount] for row in ask(store, f"spend/{path}", state, span).records()]
    known = [part for part in parts if part is not None]
    assert (sum(known) if known else None) == (None if total is None else pytest.approx(total))


@in_each_case
def test_calls_without_a_full_price_are_listed_with_their_reason(
    store: Engine, state: Variables, span: Range
) -> None:
    rows = ask(store, "spend/unpriced", state, span).records()
    listed: dict[tuple[str, str, str], tuple[int, int, int]] = {}
    for row in rows:
        key = (row["Provider"], row["Model"], row["State"])
        calls, into, out = listed.get(key, (0, 0, 0))
        listed[key] = (calls + row["Calls"], into + row["Input tokens"], out + row["Output tokens"])
        assert row["Reason"]
    assert listed == expected.unpriced(expected.selected(span, state))


def test_the_board_says_as_of_which_call_and_at_which_prices(store: Engine) -> None:
    (row,) = ask(store, "spend/as_of", EVERYTHING, MONTH).records()
    newest = max(call.started_at for call in shop.calls() if call.started_at <= MONTH.end)
    assert row["Newest call"].startswith(newest.strftime("%Y-%m-%d %H:%M:%S.%f"))
    assert re.match(r"genai-prices \d+\.\d+\.\d+", row["Price list"])
    start = datetime.strptime(row["Newest price in it"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    assert row["Age of that price"] == pytest.approx((datetime.now(UTC) - start) / timedelta(days=1), abs=0.1)


def test_a_range_without_calls_has_no_newest_call(store: Engine) -> None:
    assert ask(store, "spend/as_of", EVERYTHING, BEFORE).records()[0]["Newest call"] is None


@pytest.mark.parametrize("span", [MONTH, HOURS, BEFORE], ids=["month", "hours", "before the first call"])
@pytest.mark.parametrize("variable", BOARDS["spend"].variables, ids=lambda variable: variable.name)
def test_a_variable_offers_what_the_calls_in_the_range_have(
    store: Engine, variable: Variable, span: Range
) -> None:
    offered = [row[0] for row in ask(store, variable.query.path, EVERYTHING, span).rows]
    assert offered == expected.choices(span, variable.name)
    assert "" not in offered, "the plugin takes the empty value for All"


def test_the_shop_has_what_the_tests_are_about() -> None:
    calls = expected.selected(MONTH, EVERYTHING)
    assert {call.status for call in calls} == {"priced", "partly_priced", "unpriced"}
    assert {call.currency for call in shop.calls()} == {"USD", "EUR", ""}
    assert len({call.feature for call in calls}) > 12
    assert expected.selected(MONTH, STATES["quotes and brackets in names"])
    assert expected.selected(MONTH, STATES["those without a name"])


def _close(row: expected.Record) -> dict[str, Any]:
    return {name: _near(value) for name, value in row.items()}


def _near(value: Any) -> Any:
    """Sums and shares to twelve digits, which is what the way through a float leaves of a decimal."""
    return pytest.approx(float(value), rel=1e-12) if isinstance(value, Decimal) else value
