"""`pennytrace report --gpu`: what GPUs came to, who used them, and what their tokens would have cost elsewhere."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from genai_prices import Usage, calc_price
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace.errors import ConfigurationError
from pennytrace_collectors.commands.report import COMMAND
from pennytrace_collectors.reports import Period, open_reader
from pennytrace_collectors.reports.gpu import read_gpu
from pennytrace_collectors.store import open_store
from tests.collectors.calls import load_and_settle
from tests.collectors.reports.reporting import add_calls, printed, state_folder
from tests.collectors.store.gpus import HOUR, NOON, engine, provision

DAY = ("--since", "2026-06-01", "--until", "2026-06-02")
PRICES = """
[[gpu]]
pool = "cellar"
kind = "reserved"
per_gpu_hour = "3.60"

[[gpu]]
gpu = "A100"
kind = "on_demand"
currency = "EUR"
per_gpu_hour = "1.80"
"""
SECOND = Decimal("0.001")


def _spans() -> Iterator[Span]:
    """Two features on the cellar at noon, one also with a model that does not know its phases; nobody an hour later."""
    yield engine("a", 400, pennytrace__feature="search", gen_ai__usage__cache_read__input_tokens=600)
    yield engine("b", 200, pennytrace__feature="chat")
    yield engine(
        "c",
        100,
        pennytrace__feature="chat",
        pennytrace__usage__gpu_prefill_seconds=0.0,
        pennytrace__usage__gpu_decode_seconds=0.0,
        gen_ai__request__model="qwen",
        gen_ai__response__model="qwen",
    )
    yield engine("d", 50, pennytrace__gpu__pool="", pennytrace__gpu__model="TPU", pennytrace__feature="chat")


@pytest.fixture(scope="module")
def state(fresh_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = state_folder(fresh_store, tmp_path_factory.mktemp("state"), PRICES, _spans())
    store = open_store(f"chdb://{folder / 'store'}", price_files=[folder / "prices.toml"])
    provision(store, NOON, 3600)
    provision(store, NOON + HOUR, 1800)
    provision(store, NOON, 600, gpu="GPU-7", pool="", model="A100")
    load_and_settle(store, [])
    store.close()
    return folder


def report(capsys: pytest.CaptureFixture[str], state: Path, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(printed(capsys, state, "--gpu", "--json", *DAY, *options))
    return found


def test_pools_say_what_was_there_what_was_used_and_what_it_costs(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pools = {(pool["pool"], pool["gpu_model"]): pool for pool in report(capsys, state)["pools"]}

    cellar = pools["cellar", "H100"]
    assert (cellar["gpus"], cellar["rate_card"], cellar["currency"]) == (1, "gpu:cellar", "USD")
    assert (cellar["provisioned_seconds"], cellar["attributed_seconds"], cellar["idle_seconds"]) == (
        "5400",
        "700",
        "4700",
    )
    assert (cellar["bill"], cellar["direct_cost"], cellar["idle_cost"]) == ("5.4", "0.7", "4.7")
    assert cellar["used"] == "0.1296"
    assert (pools["", "A100"]["bill"], pools["", "A100"]["currency"]) == ("0.3", "EUR")


def test_a_gpu_without_a_rate_has_no_bill_and_is_told_what_to_write(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tpu,) = [pool for pool in report(capsys, state)["pools"] if pool["gpu_model"] == "TPU"]
    assert (tpu["bill"], tpu["idle_cost"], tpu["currency"]) == (None, None, None)
    assert (tpu["provisioned_seconds"], tpu["unreported_seconds"]) == ("50", "50")

    shown = " ".join(printed(capsys, state, "--gpu", *DAY).split())
    assert 'of TPU in (no pool): no rate for its GPU; write into the price file: [[gpu]] gpu = "TPU"' in shown
    assert "GPU-hours of TPU in (no pool) were taken by calls, and nobody reported" in shown


@pytest.mark.parametrize("policy", ["proportional", "even", "none"])
@pytest.mark.parametrize("by", ["feature", "pool,gpu,day"])
def test_direct_and_idle_come_to_the_bill_however_they_are_shared_out_and_grouped(
    state: Path, capsys: pytest.CaptureFixture[str], policy: str, by: str
) -> None:
    found = report(capsys, state, "--idle", policy, "--by", by)

    for total in found["totals"]:
        of_pools = [pool for pool in found["pools"] if pool["currency"] == total["currency"]]
        of_rows = [row for row in found["rows"] if row["currency"] == total["currency"]]
        unused = [row for row in found["unused"] if row["currency"] == total["currency"]]
        bill = Decimal(total["bill"])
        assert Decimal(total["direct_cost"]) + Decimal(total["idle_cost"]) == bill
        assert sum(Decimal(pool["bill"]) for pool in of_pools) == bill
        direct = sum(Decimal(row["direct_cost"]) for row in of_rows)
        shared = sum(Decimal(row["idle_cost"] or 0) for row in of_rows)
        assert direct + shared + sum(Decimal(row["idle_cost"]) for row in unused) == bill
        assert policy != "none" or shared == 0
    assert {total["currency"]: total["bill"] for total in found["totals"]} == {"USD": "5.4", "EUR": "0.3"}


def test_idle_time_falls_to_those_who_used_the_pool_in_that_hour(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def idle(policy: str) -> dict[str, str]:
        rows = report(capsys, state, "--idle", policy)["rows"]
        return {row["feature"]: row["idle_cost"] for row in rows if row["currency"] == "USD"}

    # 2900 idle seconds at noon, of which search used 4/7; the 1800 an hour later are nobody's.
    parts = {name: Decimal(cost).quantize(Decimal("1e-9")) for name, cost in idle("proportional").items()}
    assert parts == {"search": Decimal("1.657142857"), "chat": Decimal("1.242857143")}
    assert idle("even") == {"search": "1.45", "chat": "1.45"}
    assert idle("none") == {"search": None, "chat": None}
    unused = {row["currency"]: row["idle_cost"] for row in report(capsys, state)["unused"]}
    assert unused == {"USD": "1.8", "EUR": "0.3"}


def test_tokens_have_a_price_with_and_without_idle_time(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = {(model["model"], model["currency"]): model for model in report(capsys, state)["models"]}

    llama = models["llama", "USD"]
    # 600 s of the pool at 0.001: a quarter of it for 2,000 tokens in, the rest for 400 out.
    assert llama["direct_cost"] == "0.6"
    assert llama["per_million_tokens"] == {"input": "75", "output": "1125", "all": "250"}
    with_idle = {name: Decimal(price) for name, price in llama["per_million_tokens_with_idle"].items()}
    whole = Decimal(llama["cost"])
    assert with_idle["input"] == pytest.approx(whole / 4 / 2000 * 10**6)
    assert with_idle["output"] == pytest.approx(whole * 3 / 4 / 400 * 10**6)
    assert with_idle["all"] == pytest.approx(whole / 2400 * 10**6)
    assert (
        report(capsys, state, "--idle", "none")["models"][0]["per_million_tokens_with_idle"]["all"] == "250"
    )


def test_where_nobody_knows_reading_from_writing_only_all_tokens_have_a_price(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = {model["model"]: model for model in report(capsys, state)["models"]}

    price = models["qwen"]["per_million_tokens"]
    assert (price["input"], price["output"]) == (None, None)
    assert Decimal(price["all"]) == (Decimal("0.1") * 10**6 / 1200).quantize(Decimal("1e-12"))


def test_models_stand_beside_what_their_tokens_would_have_cost_elsewhere(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = report(capsys, state, "--against", "openai/gpt-4o-mini")["models"]
    (llama,) = [model for model in models if (model["model"], model["currency"]) == ("llama", "USD")]

    # All three calls of llama, of which one ran on a GPU without a rate: their tokens are the same.
    usage = (
        Usage(input_tokens=1000, cache_read_tokens=600, output_tokens=200),
        Usage(input_tokens=1000, output_tokens=200),
        Usage(input_tokens=1000, output_tokens=200),
    )
    right = sum(
        calc_price(one, "gpt-4o-mini", provider_id="openai", genai_request_timestamp=NOON).total_price
        for one in usage
    )
    (elsewhere,) = llama["elsewhere"]
    assert (elsewhere["as"], elsewhere["calls"], elsewhere["currency"]) == ("openai/gpt-4o-mini", 3, "USD")
    assert Decimal(elsewhere["cost"]) == right
    assert Decimal(elsewhere["per_million_tokens"]) == pytest.approx(right / 3600 * 10**6)


def test_a_model_is_compared_with_those_nearest_by_name(
    fresh_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "Meta-Llama-3.1-8B-Instruct"
    spans = [engine("a", 4, gen_ai__request__model=name, gen_ai__response__model=name)]
    (model,) = report(capsys, state_folder(fresh_store, tmp_path, PRICES, spans))["models"]

    assert 1 <= len(model["elsewhere"]) <= 3
    assert all("llama" in found["as"].lower() for found in model["elsewhere"])
    costs = [Decimal(found["cost"]) for found in model["elsewhere"]]
    assert costs == sorted(costs)


def test_people_see_pools_models_features_and_that_it_adds_up(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = printed(capsys, state, "--gpu", *DAY, "--against", "openai/gpt-4o-mini")
    text = " ".join(shown.split())

    assert "GPUs, 2026-06-01 00:00 to 2026-06-02 00:00 UTC, whole hours" in text
    assert "12.96 %" in text
    assert "vllm/llama" in text
    assert "openai/gpt-4o-mini:" in text
    assert "GPU spend by feature; idle time shared out: proportional" in text
    assert "(idle, nobody used it)" in text
    assert "5.400 USD in all: 0.700 direct and 4.700 idle." in text
    assert "0.3000 EUR in all: 0.0000 direct and 0.3000 idle." in text


def test_csv_adds_up_to_the_bill(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = list(csv.DictReader(printed(capsys, state, "--gpu", "--csv", *DAY).splitlines()))

    in_usd = [line for line in lines if line["currency"] == "USD"]
    assert [(line["kind"], line["feature"]) for line in in_usd] == [
        ("call", "search"),
        ("call", "chat"),
        ("idle", ""),
    ]
    assert sum(Decimal(line["cost"]) for line in in_usd) == Decimal("5.4")


def test_a_report_of_part_of_an_hour_is_of_the_whole_hour(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--gpu", "--json", "--since", "2026-06-01T12:30", "--until", "2026-06-01T12:40")
    found = json.loads(printed(capsys, state, *options))

    assert found["since"] == "2026-06-01T12:00:00+00:00"
    assert {pool["pool"]: pool["provisioned_seconds"] for pool in found["pools"]}["cellar"] == "3600"


def test_without_gpus_the_report_says_so(
    fresh_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = state_folder(fresh_store, tmp_path, "", [])

    assert printed(capsys, folder, "--gpu", *DAY) == "No GPUs and no calls on them in this period.\n"
    assert report(capsys, folder)["pools"] == []
    assert json.loads(printed(capsys, folder, "--json", *DAY))["gpu_idle"] == []


def test_the_ordinary_report_says_what_no_call_was_charged_for(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert json.loads(printed(capsys, state, "--json", *DAY))["gpu_idle"] == [
        {"seconds": "600", "cost": "0.3", "currency": "EUR"},
        {"seconds": "4700", "cost": "4.7", "currency": "USD"},
    ]
    shown = " ".join(printed(capsys, state, *DAY).split())
    assert (
        "not in the sums: 1.31 GPU-hours that no call was charged for (idle): 4.700 USD; see `report --gpu`"
        in shown
    )


def test_idle_gpus_without_a_rate_are_not_free(
    fresh_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = state_folder(fresh_store, tmp_path, "", [])
    store = open_store(f"chdb://{folder / 'store'}")
    provision(store, NOON, 3600)
    store.close()
    add_calls(folder, "", [])

    (idle,) = json.loads(printed(capsys, folder, "--json", *DAY))["gpu_idle"]
    assert idle == {"seconds": "3600", "cost": None, "currency": None}
    assert "1.00 GPU-hours that no call was charged for (idle): no rate for them" in printed(
        capsys, folder, *DAY
    )


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--gpu", "--by", "tier"), "--by of --gpu takes some of feature, model, .*; got 'tier'"),
        (("--gpu", "--by", "pool,pool"), "--by names pool twice"),
        (
            ("--gpu", "--against", "openai/gpt-4o-mino"),
            "got 'openai/gpt-4o-mino', and the nearest are openai/gpt-4o-mini",
        ),
        (("--gpu", "--original"), "leave out --original"),
        (("--idle", "even"), "are for --gpu: add it"),
    ],
)
def test_what_cannot_be_reported_is_refused_with_the_reason(
    state: Path, options: tuple[str, ...], why: str
) -> None:
    parser = argparse.ArgumentParser()
    COMMAND.add_arguments(parser)
    with pytest.raises(ConfigurationError, match=why):
        COMMAND.run(parser.parse_args(["--state", str(state), *options]))


def test_a_policy_that_does_not_exist_is_refused(state: Path) -> None:
    reader = open_reader(None, state=state)
    try:
        with pytest.raises(ConfigurationError, match="--idle takes proportional, even, none; got 'fair'"):
            read_gpu(reader, ["feature"], Period(NOON, NOON + timedelta(hours=1)), policy="fair")
    finally:
        reader.close()
