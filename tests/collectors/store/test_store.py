"""What a store promises: each call once, priced exactly, and never a zero for what is not known."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from pennytrace_collectors.errors import PriceFileError, StoreError, StoreRefused, StoreTooNew
from pennytrace_collectors.journal.record import varint
from pennytrace_collectors.store import Store, open_store
from tests.benchmarks import collector as benchmark
from tests.collectors import otlp
from tests.collectors.calls import load, load_and_settle, one_call, spend

CALL = dict(otlp.CALL)


def test_a_call_is_priced_by_meter_and_the_meters_add_up_to_it(store: Store) -> None:
    row = one_call(store, CALL | {"gen_ai.usage.cache_read.input_tokens": 1000})

    # gpt-4o: $2.50 a million input tokens, half of it cached, $10 output (openai.com/api/pricing)
    assert dict(zip(row["meters"], row["costs"], strict=True)) == {
        "input": Decimal("0.0005"),
        "cache_read": Decimal("0.00125"),
        "output": Decimal("0.003"),
    }
    assert row["cost"] == sum(row["costs"]) == Decimal("0.00475")
    assert (row["status"], row["reason"], row["currency"]) == ("priced", "", "USD")
    assert (row["input_tokens"], row["output_tokens"], sum(row["quantities"])) == (1200, 300, 1500)


def test_the_older_names_of_the_conventions_mean_the_same_call(store: Store) -> None:
    older: dict[str, str | int] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.usage.prompt_tokens": 1200,
        "gen_ai.usage.completion_tokens": 300,
        "gen_ai.usage.cache_creation.input_tokens": 0,
    }
    compared = ("provider", "model", "meters", "quantities", "costs", "cost", "usage_source")

    old, new = one_call(store, older), one_call(store, CALL)

    assert [old[name] for name in compared] == [new[name] for name in compared]


def test_where_both_names_are_given_the_newer_one_counts(store: Store) -> None:
    row = one_call(store, {"gen_ai.usage.prompt_tokens": 7, **CALL})

    assert row["input_tokens"] == 1200


def test_a_replayed_span_replaces_itself(store: Store) -> None:
    spans = [otlp.span() for _ in range(20)]
    load_and_settle(store, spans)
    before = spend(store)

    for part in (spans, spans[5:], spans[:3], list(reversed(spans))):
        load_and_settle(store, part)

    assert spend(store) == before
    assert len(before) == 20


def test_a_replay_does_not_undo_what_settle_has_priced(store: Store) -> None:
    unseen = otlp.span(CALL | {"gen_ai.request.model": "gpt-4.1", "gen_ai.response.model": "gpt-4.1"})
    load(store, [unseen])
    assert spend(store, "status, reason") == [{"status": "unpriced", "reason": "unresolved"}]

    store.settle()
    priced = spend(store)
    load(store, [unseen])

    assert spend(store) == priced
    assert priced[0]["status"] == "priced"


def test_settling_twice_changes_nothing(store: Store) -> None:
    load_and_settle(store, [otlp.span()])
    before = store.client.query("SELECT * FROM pennytrace.calls ORDER BY version").result_rows

    store.settle()

    assert store.client.query("SELECT * FROM pennytrace.calls ORDER BY version").result_rows == before


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"gen_ai.response.model": "nobody-knows-me", "gen_ai.request.model": "nor-me"}, "unknown model"),
        ({"gen_ai.provider.name": "acme"}, "unknown provider"),
        ({"gen_ai.usage.input_tokens": -5}, "negative usage"),
        ({"gen_ai.usage.input_tokens": 2**62}, "absurd usage"),
        ({"gen_ai.usage.reasoning.output_tokens": 301}, "usage details exceed their total"),
        ({"openai.response.service_tier": "platinum"}, "no price for service tier"),
        ({"pennytrace.usage.source": "missing"}, "usage missing"),
    ],
)
def test_what_is_not_known_is_unpriced_with_a_reason_and_never_zero(
    store: Store, changed: dict[str, str | int], reason: str
) -> None:
    row = one_call(store, CALL | changed)

    assert (row["status"], row["reason"], row["cost"]) == ("unpriced", reason, None)


def test_a_call_without_any_usage_is_missing_its_usage_not_free(store: Store) -> None:
    silent = {name: value for name, value in CALL.items() if "usage" not in name}

    row = one_call(store, silent)

    assert (row["usage_source"], row["reason"], row["cost"]) == ("missing", "usage missing", None)


def test_a_call_that_the_provider_refused_costs_nothing(store: Store) -> None:
    refused = {name: value for name, value in CALL.items() if "usage" not in name}

    row = one_call(store, refused | {"error.type": "openai.RateLimitError"})

    assert (row["status"], row["cost"]) == ("priced", Decimal(0))


def test_a_call_that_timed_out_may_have_been_billed(store: Store) -> None:
    lost = {name: value for name, value in CALL.items() if "usage" not in name}

    row = one_call(store, lost | {"error.type": "openai.APITimeoutError"})

    assert (row["status"], row["cost"]) == ("unpriced", None)


def test_a_total_reported_without_its_cached_part_gets_it_back(store: Store) -> None:
    row = one_call(
        store, CALL | {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.cache_read.input_tokens": 500}
    )

    assert row["input_tokens"] == 510
    assert dict(zip(row["meters"], row["quantities"], strict=True)) == {
        "input": 10,
        "cache_read": 500,
        "output": 300,
    }


def test_spans_that_are_no_model_calls_are_left_out(store: Store) -> None:
    agent = otlp.span(CALL | {"gen_ai.operation.name": "invoke_agent"})
    page = otlp.span({"http.route": "/checkout"})
    engine = otlp.span(CALL)
    engine.kind = engine.SPAN_KIND_SERVER

    load_and_settle(store, [agent, page, engine])

    assert spend(store) == []


def test_names_cannot_break_a_query_or_a_terminal(store: Store) -> None:
    row = one_call(
        store, CALL | {"pennytrace.feature": "a\\' OR 1\x1b[31m\n\x00b\x7fé", "user.id": "tab\tname"}
    )

    assert row["feature"] == "a_' OR 1_[31m__b_é"
    assert row["user"] == "tab_name"


def test_tags_and_identity_are_kept(store: Store) -> None:
    who = {"pennytrace.team": "web", "pennytrace.customer": "acme", "user.id": "u1", "session.id": "s1"}

    row = one_call(store, CALL | who | {"pennytrace.tag.experiment": "b", "pennytrace.tag.step": "3"})

    assert row["tags"] == {"experiment": "b", "step": "3"}
    assert [row[name] for name in ("team", "customer", "user", "session")] == ["web", "acme", "u1", "s1"]
    assert (row["service"], row["feature"]) == ("shop", "checkout")


@pytest.mark.parametrize("moment_ns", [0, 1, 2**63 - 1, 2**64 - 1])
def test_a_broken_clock_does_not_lose_the_call(store: Store, moment_ns: int) -> None:
    made = otlp.span()
    made.start_time_unix_nano = moment_ns

    load_and_settle(store, [made])

    assert len(spend(store)) == 1


def test_months_of_late_spans_arrive_in_one_load(store: Store) -> None:
    spans = [otlp.span() for _ in range(150)]
    for age, made in enumerate(spans):
        made.start_time_unix_nano -= age * 30 * 86_400 * 10**9

    load_and_settle(store, spans)

    assert len(spend(store)) == 150


def test_bytes_that_are_no_otlp_are_refused_and_leave_nothing(store: Store) -> None:
    with pytest.raises(StoreRefused):
        store.load(b"\x05hello")

    assert spend(store) == []
    load_and_settle(store, [otlp.span()])
    assert len(spend(store)) == 1


def test_the_users_own_price_wins_over_the_list(folder: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(
        '[[price]]\nprovider = "openai"\nmodel = "gpt-4o-2024-08-06"\ninput_mtok = 1\noutput_mtok = 2.5\n',
        "utf-8",
    )
    store = open_store(f"chdb://{folder}", price_files=[prices])
    try:
        row = one_call(store, CALL)
    finally:
        store.close()

    assert row["cost"] == Decimal("0.0012") + Decimal("0.00075")
    # A card of its own, for what the file leaves out the list still says.
    assert row["rate_card"].startswith("openai/gpt-4o+")


def test_a_price_that_comes_later_prices_the_calls_that_waited_and_no_others(
    folder: Path, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(
        '[[price]]\nmodel = "tiny"\ninput_mtok = 1\noutput_mtok = 1\n'
        '[[price]]\nmodel = "gpt-4o-2024-08-06"\ninput_mtok = 900\noutput_mtok = 900\n',
        "utf-8",
    )
    tiny = CALL | {
        "gen_ai.response.model": "tiny",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "tiny",
    }
    store = open_store(f"chdb://{folder}")
    listed, unknown = one_call(store, CALL), one_call(store, tiny)
    store.close()

    store = open_store(f"chdb://{folder}", price_files=[prices])
    after = {row["span_id"]: row["cost"] for row in spend(store)}
    store.close()

    assert unknown["cost"] is None
    assert after[unknown["span_id"]] == Decimal("0.0015")
    assert after[listed["span_id"]] == listed["cost"]


def test_prices_change_at_midnight_utc_on_their_day(folder: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(
        '[[price]]\nmodel = "tiny"\ninput_mtok = 1\noutput_mtok = 1\n'
        '[[price]]\nmodel = "tiny"\nvalid_from = 2026-06-01\ninput_mtok = 2\noutput_mtok = 2\n',
        "utf-8",
    )
    midnight = 1_780_272_000_000_000_000  # 2026-06-01T00:00:00Z
    tiny = CALL | {"gen_ai.response.model": "tiny"}
    spans = [otlp.span(tiny) for _ in range(2)]
    spans[0].start_time_unix_nano = midnight - 1
    spans[1].start_time_unix_nano = midnight
    store = open_store(f"chdb://{folder}", price_files=[prices])
    load_and_settle(store, spans)
    costs = [row["cost"] for row in spend(store)]
    store.close()

    assert costs == [Decimal("0.0015"), Decimal("0.003")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[price]]\nmodel = "m"\ninput_mtok = -1\n', "prices.toml:3: [[price]] input_mtok: "),
        ('[[price]]\nmodle = "m"\n', "prices.toml:2: [[price]] modle: "),
        ('[[price]]\nmodel = "m"\ncurrency = "dollars"\n', "currency"),
        ('[[prices]]\nmodel = "m"\n', "prices.toml:1: unknown 'prices'; did you mean 'price'?"),
        ("[[price]\n", "is not valid TOML"),
        (
            '[[price]]\nmodel = "m"\ninput_mtok = 1\n' * 2,
            "prices.toml:4: [[price]] says again what line 1 says",
        ),
    ],
)
def test_a_wrong_price_file_is_refused_with_the_place_of_the_mistake(
    folder: Path, tmp_path: Path, text: str, said: str
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(text, "utf-8")

    with pytest.raises(PriceFileError, match=r"prices\.toml") as raised:
        open_store(f"chdb://{folder}", price_files=[prices])

    assert said in str(raised.value)


def test_a_store_of_a_newer_version_is_refused_untouched(folder: Path) -> None:
    store = open_store(f"chdb://{folder}")
    store.client.insert("migrations", [[9999, "9999_future"]], ["number", "name"], database="pennytrace")
    store.close()

    with pytest.raises(StoreTooNew, match="has migration 9999"):
        open_store(f"chdb://{folder}")


def test_opening_a_store_again_changes_nothing(store: Store, folder: Path) -> None:
    load_and_settle(store, [otlp.span() for _ in range(3)])
    before = spend(store)
    store.close()

    again = open_store(f"chdb://{folder}")
    try:
        assert spend(again) == before
        assert again.client.query("SELECT count() FROM pennytrace.migrations").result_rows[0][0] == 9
        assert again.client.query("SELECT count() FROM pennytrace.catalogs FINAL").result_rows[0][0] == 1
    finally:
        again.close()


def test_a_store_that_another_process_has_open_is_refused_with_what_to_do(store: Store, folder: Path) -> None:
    script = f"from pennytrace_collectors.store import open_store; open_store({f'chdb://{folder}'!r})"

    second = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert second.returncode != 0
    assert "another process has it open" in second.stderr
    load_and_settle(store, [otlp.span()])
    assert len(spend(store)) == 1


@pytest.mark.parametrize("dsn", ["/var/lib/store", "chdb://", "chdb:relative", "postgres://h/db", "http://"])
def test_an_address_of_neither_kind_is_refused_with_both_forms_shown(dsn: str) -> None:
    with pytest.raises(StoreError, match="expected chdb:///path"):
        open_store(dsn)


def test_a_call_takes_less_than_70_bytes_on_disk_ids_included(store: Store) -> None:
    store.load(
        b"".join(varint(len(body)) + body for body in (benchmark.body(1000, seed=n) for n in range(30)))
    )
    store.settle()
    store.client.command("OPTIMIZE TABLE pennytrace.calls FINAL")

    size, rows = store.client.query(
        "SELECT total_bytes, total_rows FROM system.tables WHERE database = 'pennytrace' AND name = 'calls'"
    ).result_rows[0]

    assert rows == 30_000
    assert size / rows < 70


def test_a_servers_password_is_not_shown_when_it_does_not_answer() -> None:
    with pytest.raises(StoreError, match=r"http://finance:\*\*\*@127\.0\.0\.1:1") as raised:
        open_store("http://finance:s3cret@127.0.0.1:1/costs")

    assert "s3cret" not in str(raised.value)


def test_nothing_is_written_to_the_working_directory(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = (
        "from pennytrace_collectors.store import open_store\n"
        "from tests.collectors import calls, otlp\n"
        f"store = open_store({f'chdb://{folder}'!r})\n"
        "calls.load_and_settle(store, [otlp.span()])\n"
        "store.close()\n"
    )
    # In a process of its own: the engine takes note of its directory once, when it starts.
    root = Path(__file__).parents[3]
    subprocess.run(
        [sys.executable, "-c", script], cwd=elsewhere, env=os.environ | {"PYTHONPATH": str(root)}, check=True
    )

    assert list(elsewhere.iterdir()) == []


def test_a_proxy_in_the_environment_is_not_asked_for_what_is_on_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)

    with pytest.raises(StoreError) as raised:
        open_store("http://127.0.0.1:1/costs")

    assert "proxy" not in str(raised.value).lower()
