"""Pricing again: shown before it is done, written beside what was charged, done once whatever happens in between."""

from __future__ import annotations

import random
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import pytest
from clickhouse_connect.driver.client import Client
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace_collectors.catalog import Catalog
from pennytrace_collectors.errors import OrderError, StoreError
from pennytrace_collectors.store import Store, connect, parse_address
from pennytrace_collectors.store.months import close_month
from pennytrace_collectors.store.reprice import Correction, Terms, reprice
from pennytrace_collectors.store.selection import Progress, Selection
from pennytrace_collectors.store.trial import Trial, trial
from tests.collectors import otlp
from tests.collectors.calls import load_and_settle, spend

from .pricelists import price_list, with_prices, written

T = TypeVar("T")

EUROS = """
currency = "EUR"

[[price]]
model = "small"
input_mtok = 10
output_mtok = 10

[[price]]
model = "middle"
currency = "EUR"
input_mtok = 9
output_mtok = 9

[[price]]
model = "large"
input_mtok = 30
output_mtok = 30

[[exchange_rate]]
from = "USD"
to = "EUR"
date = 2026-01-01
rate = "0.5"
"""
MILLION = 1_000_000
NOTHING: Mapping[str, str] = {}
DAY = timedelta(days=1)
AT = datetime.fromtimestamp(otlp.START_NS / 1e9, tz=UTC)
AROUND = Selection(since=AT - 40 * DAY, until=AT + 40 * DAY)


def done(steps: Generator[Progress, None, T]) -> T:
    """The result of a piece of work, done to its end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def call(
    model: str, feature: str = "chat", *, million: int = 1, days: float = 0, more: Mapping[str, str] = NOTHING
) -> Span:
    """A call of so many million tokens, half of them output, at the moment `AT` and some days."""
    attributes: dict[str, str | float] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "acme",
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": million * MILLION // 2,
        "gen_ai.usage.output_tokens": million * MILLION // 2,
        "pennytrace.feature": feature,
    }
    made = otlp.span({**attributes, **more})
    shift = int(days * 86_400) * 1_000_000_000
    made.start_time_unix_nano += shift
    made.end_time_unix_nano += shift
    return made


def tried(store: Store, selection: Selection = AROUND) -> Trial:
    return done(trial(store, None, selection))


def repriced(
    store: Store,
    selection: Selection = AROUND,
    *,
    name: str = "first",
    closed_too: bool = False,
    note: str = "",
) -> Correction:
    terms = Terms(catalog=store.catalog.identity, note=note, closed_too=closed_too)
    return done(reprice(store, selection, terms, correction=name))


def rows(store: Store, view: str, columns: str, order: str = "started_at, span_id") -> list[dict[str, Any]]:
    found = store.client.query(f"SELECT {columns} FROM pennytrace.{view} ORDER BY {order}")
    return [dict(zip(found.column_names, row, strict=True)) for row in found.result_rows]


def total(store: Store) -> Decimal:
    return sum((row["cost"] for row in spend(store, "cost") if row["cost"] is not None), Decimal(0))


@pytest.fixture(scope="module")
def made_shop(fresh_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Catalog]:
    """A store with calls of three models at 10, 20 and 30 USD a million tokens; then the second gets cheaper."""
    folder = tmp_path_factory.mktemp("shop") / "store"
    shutil.copytree(fresh_store, folder, symlinks=True)
    with opened(folder, price_list("old", small=10, middle=20, large=30)) as before:
        load_and_settle(
            before,
            [
                call("small", "chat", million=2),
                call("middle", "chat", million=4, days=1),
                call("middle", "search", million=6, days=2),
                call("large", "search", million=8, days=3),
            ],
        )
        prices = price_list("new", small=10, middle=15, large=30)
        with_prices(before, prices)
    return folder, prices


@pytest.fixture
def shop(made_shop: tuple[Path, Catalog], tmp_path: Path) -> Iterator[Store]:
    folder, prices = made_shop
    with opened(Path(shutil.copytree(folder, tmp_path / "store", symlinks=True)), prices) as store:
        yield store


@pytest.fixture
def store(fresh_store: Path, tmp_path: Path) -> Iterator[Store]:
    folder = Path(shutil.copytree(fresh_store, tmp_path / "store", symlinks=True))
    with opened(folder, price_list("none")) as store:
        yield store


@contextmanager
def opened(folder: Path, prices: Catalog) -> Iterator[Store]:
    """A store, pricing by a small list: quicker than with all that is installed."""
    address = parse_address(f"chdb://{folder}")
    store = Store(connect(address), address, prices)
    try:
        yield with_prices(store, prices)
    finally:
        store.close()


def test_a_trial_shows_the_difference_by_feature_and_model_and_changes_nothing(shop: Store) -> None:
    before = shop.client.query("SELECT * FROM pennytrace.calls ORDER BY span_id").result_rows

    found = tried(shop)

    assert [(one.feature, one.model, one.currency, one.calls) for one in found.comparison.differences] == [
        ("search", "middle", "USD", 1),
        ("chat", "middle", "USD", 1),
    ]
    assert [(one.was, one.would_be, one.difference) for one in found.comparison.differences] == [
        (Decimal(120), Decimal(90), Decimal(-30)),
        (Decimal(80), Decimal(60), Decimal(-20)),
    ]
    (usd,) = found.comparison.totals
    assert (usd.was, usd.would_be, usd.difference) == (Decimal(200), Decimal(150), Decimal(-50))
    assert (found.calls, found.comparison.changed_calls, found.catalog) == (4, 2, shop.catalog.identity)
    assert shop.client.query("SELECT * FROM pennytrace.calls ORDER BY span_id").result_rows == before
    assert rows(shop, "corrections", "*") == []


def test_a_correction_charges_the_new_price_and_keeps_the_old_one_beside_it(shop: Store) -> None:
    was = spend(shop, "span_id, cost")

    made = repriced(shop, note="the contract of May")

    assert made.comparison.changed_calls == 2
    assert [row["cost"] for row in spend(shop, "cost")] == [20, 60, 90, 240]
    assert rows(shop, "charged", "span_id, cost") == was
    corrected = rows(
        shop,
        "corrections_made",
        "model, correction, note, old_cost, new_cost, old_currency, new_currency, old_catalog",
    )
    assert [(row["old_cost"], row["new_cost"]) for row in corrected] == [(80, 60), (120, 90)]
    assert {row["note"] for row in corrected} == {"the contract of May"}
    assert {(row["correction"], row["model"], row["old_catalog"]) for row in corrected} == {
        ("first", "middle", "old")
    }


def test_only_the_calls_whose_price_differs_get_a_new_version(shop: Store) -> None:
    versions = "SELECT request_model, max(version) FROM pennytrace.calls GROUP BY request_model ORDER BY 1"
    before: dict[str, int] = {model: version for model, version in shop.client.query(versions).result_rows}

    repriced(shop)

    after: dict[str, int] = {model: version for model, version in shop.client.query(versions).result_rows}
    assert {model for model in after if after[model] != before[model]} == {"middle"}


def test_correcting_again_changes_nothing_and_says_so(shop: Store) -> None:
    repriced(shop)
    before = shop.client.query("SELECT * FROM pennytrace.calls ORDER BY span_id, version").result_rows

    again = repriced(shop, name="second")

    assert (again.calls, again.comparison.changed_calls, again.comparison.totals) == (4, 0, ())
    assert shop.client.query("SELECT * FROM pennytrace.calls ORDER BY span_id, version").result_rows == before
    assert {row["correction"] for row in rows(shop, "corrections", "correction")} == {"first"}


def test_corrections_of_corrections_are_a_chain(shop: Store) -> None:
    repriced(shop)
    third = with_prices(shop, price_list("third", small=10, middle=1, large=2))
    repriced(third, name="second")

    chain = rows(third, "corrections_made", "model, correction, old_cost, new_cost", "started_at, version")
    assert [(row["model"], row["old_cost"], row["new_cost"]) for row in chain] == [
        ("middle", 80, 60),
        ("middle", 60, 4),
        ("middle", 120, 90),
        ("middle", 90, 6),
        ("large", 240, 16),
    ]
    assert [row["cost"] for row in rows(third, "charged", "cost")] == [20, 80, 120, 240]
    assert total(third) == 20 + 4 + 6 + 16


def test_a_replay_of_old_spans_does_not_undo_a_correction(store: Store) -> None:
    spans = [call("middle", million=2), call("small")]
    before = with_prices(store, price_list("old", small=10, middle=20))
    load_and_settle(before, spans)
    after = with_prices(before, price_list("new", small=10, middle=15))
    repriced(after)

    load_and_settle(after, spans)

    assert total(after) == 30 + 10
    assert rows(after, "corrections_made", "old_cost, new_cost") == [{"old_cost": 40, "new_cost": 30}]


def test_a_better_record_that_comes_later_is_charged_instead(store: Store) -> None:
    guessed = call("middle", million=2, more={"pennytrace.usage.source": "estimated"})
    measured = call("middle", million=4)
    measured.trace_id, measured.span_id = guessed.trace_id, guessed.span_id
    before = with_prices(store, price_list("old", middle=20))
    load_and_settle(before, [guessed])
    after = with_prices(before, price_list("new", middle=15))
    repriced(after)

    load_and_settle(after, [measured])

    assert [(row["cost"], row["usage_source"]) for row in spend(after, "cost, usage_source")] == [
        (60, "measured")
    ]
    assert rows(after, "corrections_made", "*") == []
    assert [row["cost"] for row in rows(after, "charged", "cost")] == [60]


def test_only_what_is_selected_is_looked_at(shop: Store) -> None:
    for chosen, changed in (
        ({"feature": "search"}, 1),
        ({"model": "middle"}, 2),
        ({"model": "mid*"}, 2),
        ({"model": "m_ddle"}, 0),
        ({"model": "%"}, 0),
        ({"model": "small"}, 0),
        ({"provider": "acme", "feature": "c*t"}, 1),
        ({"provider": "openai"}, 0),
        ({"since": AT + 1.5 * DAY}, 1),
        ({"until": AT + 2 * DAY}, 1),
        ({"until": AT + 2 * DAY + timedelta(microseconds=1)}, 2),
        ({"feature": "it's \\ 'quoted'"}, 0),
    ):
        selection = replace(AROUND, **chosen)
        assert tried(shop, selection).comparison.changed_calls == changed, chosen


def test_a_call_that_loses_its_price_says_so_and_is_unknown_afterwards(shop: Store) -> None:
    without = with_prices(shop, price_list("less", small=10, large=30))

    found = tried(without)
    repriced(without)

    assert [
        (change.was, change.would_be, change.reason, change.calls)
        for change in found.comparison.status_changes
    ] == [("priced", "unpriced", "unknown provider", 2)]
    assert sum(one.no_longer_priced for one in found.comparison.differences) == 2
    (usd,) = found.comparison.totals
    assert (usd.was, usd.would_be, usd.difference) == (Decimal(200), Decimal(0), Decimal(-200))
    assert [row["cost"] for row in spend(without, "cost")] == [20, None, None, 240]
    assert [row["cost"] for row in rows(without, "charged", "cost")] == [20, 80, 120, 240]


def test_the_total_of_a_batch_whose_lines_are_charged_is_not_looked_at(store: Store) -> None:
    before = with_prices(store, price_list("old", middle=20))
    total_of_batch = call("middle", million=6, more={"pennytrace.batch": "b1"})
    total_of_batch.attributes.add(key="pennytrace.batch.total").value.bool_value = True
    line = call("middle", more={"pennytrace.batch": "b1"})
    load_and_settle(before, [total_of_batch])
    after = with_prices(before, price_list("new", middle=15))
    assert tried(after).comparison.changed_calls == 1

    load_and_settle(after, [line])

    assert (tried(after).calls, tried(after).comparison.changed_calls) == (1, 0)


def test_a_price_in_another_currency_is_a_difference_in_both_and_one_in_the_currency_of_reports(
    shop: Store, tmp_path: Path
) -> None:
    after = with_prices(shop, written("euros", tmp_path, EUROS))
    said = tried(after).comparison
    made = repriced(after).comparison

    assert made == said
    found = {(one.feature, one.currency): (one.was, one.would_be) for one in said.differences}
    assert found == {
        ("chat", "USD"): (Decimal(80), Decimal(0)),
        ("chat", "EUR"): (Decimal(0), Decimal(36)),
        ("search", "USD"): (Decimal(120), Decimal(0)),
        ("search", "EUR"): (Decimal(0), Decimal(54)),
    }
    assert (said.changed_calls, [total.currency for total in said.totals]) == (2, ["EUR", "USD"])
    (billed,) = said.billed
    assert (billed.currency, billed.was, billed.would_be) == ("EUR", Decimal(100), Decimal(90))
    assert billed.difference == Decimal(-10)
    first = rows(after, "charged", "cost, currency, billed_cost, billing_currency", "started_at")
    assert [row["cost"] for row in first] == [20, 80, 120, 240]
    assert {row["currency"] for row in first} == {"USD"}


def test_another_price_list_than_the_one_looked_at_is_refused(shop: Store) -> None:
    terms = Terms(catalog="the one before")

    with pytest.raises(OrderError, match="the price list in force is now 'new', not 'the one before'"):
        done(reprice(shop, AROUND, terms, correction="first"))

    assert rows(shop, "corrections", "*") == []


def test_a_candidate_is_tried_without_being_put_in_force_and_leaves_nothing_behind(shop: Store) -> None:
    candidate = price_list("candidate", small=11, middle=20, large=30)
    databases = shop.client.query("SHOW DATABASES").result_rows

    found = done(trial(shop, candidate, AROUND))

    assert [(one.model, one.was, one.would_be) for one in found.comparison.differences] == [
        ("small", Decimal(20), Decimal(22))
    ]
    assert found.catalog == "candidate"
    assert shop.client.query("SHOW DATABASES").result_rows == databases
    assert tried(shop).catalog == "new"
    assert done(trial(shop, candidate, AROUND)).comparison == found.comparison


def test_what_a_trial_of_a_candidate_says_is_what_happens_when_it_is_put_in_force(shop: Store) -> None:
    candidate = price_list("candidate", small=11, middle=20, large=7)

    said = done(trial(shop, candidate, AROUND)).comparison
    was = total(shop)
    made = repriced(with_prices(shop, candidate)).comparison

    assert (made.differences, made.totals, made.billed) == (said.differences, said.totals, said.billed)
    assert total(shop) == was + said.totals[0].difference


def test_nothing_selected_is_nothing_changed(store: Store) -> None:
    assert repriced(store).comparison.changed_calls == 0
    assert tried(store).calls == 0


class Cut(StoreError):
    pass


@dataclass(frozen=True)
class CutOff:
    """A client that loses the store at some command, before it or after the store has done it."""

    client: Client
    after: int
    too_late: bool
    commands: list[str]

    def command(self, sql: str, **more: Any) -> Any:
        self.commands.append(sql)
        if len(self.commands) == self.after and not self.too_late:
            raise Cut
        answer = self.client.command(sql, **more)
        if len(self.commands) == self.after:
            raise Cut
        return answer

    def query(self, sql: str, **more: Any) -> Any:
        return self.client.query(sql, **more)


@pytest.mark.parametrize("too_late", [False, True])
@pytest.mark.parametrize("after", [1, 2])
def test_cut_off_at_any_command_and_run_again_it_ends_in_the_same_state(
    shop: Store, after: int, *, too_late: bool
) -> None:
    was = spend(shop, "span_id, cost")
    client: Any = CutOff(shop.client, after, too_late, [])
    with pytest.raises(Cut):
        repriced(replace(shop, client=client))
    between = [row["cost"] for row in spend(shop, "cost")]
    shown = {row["new_cost"] for row in rows(shop, "corrections_made", "new_cost")}

    repriced(shop, name="again")

    assert shown == ({60, 90} if between != [20, 80, 120, 240] else set())
    assert [row["cost"] for row in spend(shop, "cost")] == [20, 60, 90, 240]
    assert rows(shop, "charged", "span_id, cost") == was
    assert len(rows(shop, "corrections_made", "*")) == 2


@pytest.mark.parametrize("seed", range(4))
def test_sums_agree_exactly_whatever_is_corrected_in_which_order(store: Store, seed: int) -> None:
    draw = random.Random(seed)
    names = [f"m{number}" for number in range(5)]
    current = with_prices(store, price_list("list-0", **{name: draw.randint(1, 99) for name in names}))
    load_and_settle(current, [_drawn(draw, names) for _ in range(60)])
    first = total(current)
    charged_first = rows(current, "spend", "span_id, cost")
    for number in range(1, 4):
        prices = price_list(f"list-{number}", **{name: draw.randint(1, 99) for name in names})
        current = with_prices(current, prices)
        selection = _part(draw)
        before, said = total(current), tried(current, selection).comparison
        made = repriced(current, selection, name=f"correction-{number}").comparison
        assert made.totals == said.totals
        assert total(current) == before + sum(usd.difference for usd in made.totals)
    changes = rows(current, "corrections_made", "old_cost, new_cost")
    assert total(current) == first + sum(_zero(row["new_cost"]) - _zero(row["old_cost"]) for row in changes)
    assert rows(current, "charged", "span_id, cost") == charged_first


def _drawn(draw: random.Random, names: Sequence[str]) -> Span:
    made = call(draw.choice(names), draw.choice(["a", "b"]), days=draw.uniform(-30, 30))
    for attribute in made.attributes:
        if attribute.key.startswith("gen_ai.usage"):
            attribute.value.int_value = draw.randint(0, 10**7)
    return made


def _part(draw: random.Random) -> Selection:
    since = AT + draw.uniform(-35, 10) * DAY
    return Selection(since=since, until=since + draw.uniform(1, 40) * DAY, feature=draw.choice(["", "a"]))


def _zero(cost: Decimal | None) -> Decimal:
    return cost or Decimal(0)


def test_a_closed_month_is_refused_unless_it_is_said(shop: Store) -> None:
    month = f"{AT:%Y-%m}"
    close_month(shop, month)
    assert tried(shop).closed_months == (month,)

    with pytest.raises(OrderError, match=f"{month} is closed: nothing was changed.*--closed-too"):
        repriced(shop)
    assert total(shop) == 20 + 80 + 120 + 240

    repriced(shop, closed_too=True)
    assert total(shop) == 20 + 60 + 90 + 240
