"""The calculations that pennytrace began with, over calls that go the whole way: app or exporter, collector, report.

The calls of 2023 and 2024 are OTLP with the time of then; those of today are made by the real openai client, which
believes that it talks to OpenAI and to Together. The page of the docs is read as well: its price file is the one in
force here, and each amount that it states must be what the report says.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest

from tests.collectors import otlp
from tests.collectors.service.process import REAL, Collector, collector
from tests.instrumentation import provider as providers
from tests.instrumentation.processes import clean_environment
from tests.instrumentation.provider import Answer

from . import seed
from .reading import Record, exact, report_json, sql, wait_until_priced

PAGE: Final = Path(__file__).parents[2] / "docs" / "how-to" / "what-it-costs.md"
APP: Final = Path(__file__).parent / "apps" / "seed_calls.py"
SINCE: Final = ("--since", "2023-01-01")
USAGE: Final = {"prompt_tokens": 8000, "completion_tokens": 500, "total_tokens": 8500}
STAFF: Final = 200_000
CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Today:
    """Calls that are made now, by the openai client."""

    host: str
    model: str
    calls: int
    """A thousand, or ten: each of a model costs the same, so that ten tell what a thousand cost."""
    thousand: str
    """What a thousand cost."""


TODAY: Final = (
    Today("api.openai.com", "gpt-4-turbo", 1000, "95"),
    Today("api.openai.com", "gpt-3.5-turbo-1106", 10, "9"),
    Today("api.together.xyz", seed.MIXTRAL, 10, "5.1"),
    Today("api.together.xyz", seed.MISTRAL_7B, 10, "1.7"),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """What the report says of all those calls."""

    by_feature: Mapping[str, Record]
    by_meter: Mapping[tuple[str, str], Record]
    by_hour: Mapping[tuple[str, str], Record]
    totals: tuple[Record, Record]
    """By feature, and by feature and meter."""
    unpriced: list[Record]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("seed")
    state, prices = folder / "state", folder / "prices.toml"
    prices.write_text(price_file_of_the_page(), "utf-8")
    sent = sum(calls.number for calls in seed.ALL) + sum(today.calls for today in TODAY)
    with (
        collector(REAL, state, "--sql", "127.0.0.1:0", "--prices", str(prices)) as running,
        sql(running.found) as client,
    ):
        for calls in seed.ALL:
            assert running.post(otlp.request(calls.spans()).SerializeToString()) == 200
        ask_by_sdk(running)
        wait_until_priced(running, client, calls=sent)
        features = report_json(state, "feature", *SINCE)
        meters = report_json(state, "feature,meter", *SINCE)
        hours = report_json(state, "feature,hour", *SINCE)
        assert running.stop() == 0
    return Scene(
        by_feature={row["feature"]: row for row in features["rows"]},
        by_meter={(row["feature"], row["meter"]): row for row in meters["rows"]},
        by_hour={(row["feature"], row["hour"]): row for row in hours["rows"]},
        totals=(features["totals"][0], meters["totals"][0]),
        unpriced=features["unpriced"],
    )


def ask_by_sdk(running: Collector) -> None:
    """Make today's calls in an app of its own, whose way to the providers leads to a server here."""
    with providers.running() as provider:
        settings = {
            "HTTP_PROXY": f"http://127.0.0.1:{provider.port}",
            "NO_PROXY": "127.0.0.1,localhost",
            "OPENAI_API_KEY": "none",
            "OTEL_EXPORTER_OTLP_ENDPOINT": running.found.http or "",
        }
        with subprocess.Popen(
            [sys.executable, str(APP)],
            env=clean_environment(settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as app:
            assert app.stdin is not None
            assert app.stdout is not None
            for today in TODAY:
                provider.answer = Answer(usage=dict(USAGE), model=today.model)
                order = {
                    "base_url": f"http://{today.host}/v1",
                    "model": today.model,
                    "calls": today.calls,
                    "feature": f"today's {today.model}",
                }
                app.stdin.write(json.dumps(order) + "\n")
                app.stdin.flush()
                assert app.stdout.readline() == "done\n", app.communicate()[1]
            _, errors = app.communicate(timeout=60)
            assert (app.returncode, errors) == (0, "")


def price_file_of_the_page() -> str:
    """The price file that the page shows."""
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return str(text)


def tables_of_the_page() -> Iterator[dict[str, str]]:
    """The rows of its tables, by column."""
    lines = PAGE.read_text("utf-8").splitlines()
    heads: list[str] = []
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            heads = []
        elif not heads:
            heads = cells
        elif not cells[0].startswith("---"):
            yield dict(zip(heads, cells, strict=True))


def cost(scene: Scene, feature: str) -> Decimal:
    """What a feature has cost, all of whose calls are priced."""
    row = scene.by_feature[feature]
    assert row["coverage"]["calls"] == "1"
    assert row["currency"] == "USD"
    return exact(row["cost"])


def part(scene: Scene, feature: str, *meters: str) -> Decimal:
    """What some meters of a feature have cost."""
    found = [scene.by_meter[feature, meter] for meter in meters if (feature, meter) in scene.by_meter]
    return sum((exact(row["cost"]) for row in found), Decimal(0))


@pytest.mark.parametrize(
    ("feature", "right"),
    [
        ("GPT-3.5 Turbo (1106), OpenAI", "9"),
        ("Mixtral 8x7B, Together", "5.1"),
        ("Mistral 7B, Together", "1.7"),
        ("GPT-4 Turbo, OpenAI", "95"),
        ("Mixtral 8x7B, own H100s", "2"),
        ("a 7B model, own RTX 4090s", "0.4"),
    ],
)
def test_a_thousand_requests_cost_what_was_reckoned(scene: Scene, feature: str, right: str) -> None:
    assert cost(scene, feature) == Decimal(right)
    assert scene.by_feature[feature]["calls"] == 1000


def test_the_seconds_of_gpus_are_told_beside_their_cost(scene: Scene) -> None:
    row = scene.by_meter["a 7B model, own RTX 4090s", "gpu_seconds"]
    assert (row["quantity"], row["unit"], exact(row["cost"])) == ("2000", "seconds", Decimal("0.4"))


@pytest.mark.parametrize("today", TODAY, ids=lambda today: today.model)
def test_the_openai_client_s_calls_of_today_cost_the_same(scene: Scene, today: Today) -> None:
    feature = f"today's {today.model}"
    assert scene.by_feature[feature]["calls"] == today.calls
    assert cost(scene, feature) * (1000 // today.calls) == Decimal(today.thousand)


def test_an_hour_with_a_game_character_costs_28_50_most_of_it_for_input(scene: Scene) -> None:
    (hour,) = [row for (feature, _), row in scene.by_hour.items() if feature == "a game character"]
    assert (hour["calls"], exact(hour["cost"])) == (300, Decimal("28.5"))
    assert part(scene, "a game character", "input") / exact(hour["cost"]) > Decimal("0.8")


@pytest.mark.parametrize(
    ("feature", "an_hour", "a_run"),
    [("own runs, reserved machine", "19.22", "84.10"), ("own runs, machine on demand", "32.77", "111.20")],
)
def test_a_run_on_an_own_machine_with_its_staff(scene: Scene, feature: str, an_hour: str, a_run: str) -> None:
    row = scene.by_feature[feature]
    assert row["calls"] == seed.RUNS_A_YEAR
    # Money for a GPU second is kept with 18 decimals: the year of 252,288,000 of them is right to a billionth.
    of_the_machine = Decimal(an_hour) * seed.HOURS_A_RUN * seed.RUNS_A_YEAR
    assert abs(cost(scene, feature) - of_the_machine) < Decimal("1e-9")
    assert ((cost(scene, feature) + STAFF) / seed.RUNS_A_YEAR).quantize(CENT) == Decimal(a_run)


def test_a_run_at_openai_costs_4_to_12(scene: Scene) -> None:
    assert cost(scene, "a run of 500,000 tokens, OpenAI") == Decimal("4")
    assert cost(scene, "a run of 1,500,000 tokens, OpenAI") == Decimal("12")


def test_one_conversation_three_ways(scene: Scene) -> None:
    asks, answers = Decimal("2.5") / 10**6, Decimal(10) / 10**6
    whole = 50_000 * asks + 5_000 * answers
    assert cost(scene, "as it is") == whole == Decimal("0.175")
    assert part(scene, "as it is", "input") == 50_000 * asks
    assert cost(scene, "4 of 5 input tokens cached") == whole - 40_000 * asks / 2 == Decimal("0.125")
    assert cost(scene, "as a batch") == whole / 2 == Decimal("0.0875")


def test_the_parts_by_meter_add_up_to_every_feature(scene: Scene) -> None:
    for feature, row in scene.by_feature.items():
        parts = [found for (name, _), found in scene.by_meter.items() if name == feature]
        assert sum(exact(found["cost"]) for found in parts if found["cost"]) == exact(row["cost"]), feature
    for name in ("calls", "input_tokens", "output_tokens", "cost"):
        assert scene.totals[0][name] == scene.totals[1][name]


def test_nothing_is_without_a_price(scene: Scene) -> None:
    assert scene.unpriced == []


def test_the_page_says_what_the_report_says(scene: Scene) -> None:
    stated = {row[next(iter(row))]: row for row in tables_of_the_page()}
    assert stated.keys() == {calls.feature for calls in seed.ALL}
    for feature, row in stated.items():
        assert amount(row["cost"]) == cost(scene, feature).quantize(amount(row["cost"])), feature
        shown_parts: dict[str, tuple[str, ...]] = {
            "input": ("input", "cache_read"),
            "output": ("output",),
        }
        for column, meters in shown_parts.items():
            if row.get(column):
                assert amount(row[column]) == part(scene, feature, *meters), (feature, column)
        if "a run, with staff" in row:
            runs = scene.by_feature[feature]["calls"]
            staff = STAFF if feature.startswith("own") else 0
            assert amount(row["a run, with staff"]) == ((cost(scene, feature) + staff) / runs).quantize(CENT)


def amount(cell: str) -> Decimal:
    """Money as the page writes it."""
    assert re.fullmatch(r"\$[\d,]+\.\d+", cell), cell
    return Decimal(cell.lstrip("$").replace(",", ""))
