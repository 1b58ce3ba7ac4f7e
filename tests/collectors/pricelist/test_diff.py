"""`pennytrace prices diff`: what another list says differently, and what past spend would have come to by it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.collectors import otlp
from tests.collectors.reports.reporting import state_folder
from tests.collectors.service.process import REAL, collector

from .conftest import Prices
from .data import OLD

IN_USE = """
[[price]]
model = "tiny"
input_mtok = 1
output_mtok = 3
"""
CANDIDATE = """
[[price]]
model = "tiny"
input_mtok = 1
output_mtok = 4

[[price]]
model = "unheard-of"
input_mtok = 2
"""


@pytest.fixture
def store(fresh_store: Path, prices: Prices) -> Path:
    """A state folder with 3 calls of `tiny`, 1 of `unheard-of`, and 2 of gpt-4o."""
    spans = []
    for model, count in (("tiny", 3), ("unheard-of", 1), ("gpt-4o", 2)):
        for _ in range(count):
            made = otlp.span(
                dict(otlp.CALL)
                | {
                    "gen_ai.request.model": model,
                    "gen_ai.response.model": model,
                    "gen_ai.usage.input_tokens": 1_000_000,
                    "gen_ai.usage.output_tokens": 500_000,
                    "pennytrace.feature": "search",
                }
            )
            made.start_time_unix_nano = int(datetime.now(UTC).timestamp()) * 10**9
            spans.append(made)
    prices.state.mkdir()
    return state_folder(fresh_store, prices.state, IN_USE, spans)


def test_the_lists_are_compared_without_a_store(prices: Prices, file: Callable[[str], str]) -> None:
    text = prices("diff", "--prices", file(CANDIDATE))

    assert "2 models added, 0 removed, prices of 0 changed." in text
    assert "added: */tiny" in text
    assert "Past spend was not compared: no store in" in text
    assert prices.json("diff", "--prices", file(CANDIDATE))["spend"] is None


def test_past_spend_is_compared_and_nothing_changed(
    store: Path, prices: Prices, file: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENNYTRACE_PRICES", str(store / "prices.toml"))
    found = prices.json("diff", "--prices", file(CANDIDATE))

    (change,) = {
        (change["model"], change["old"]["price"], change["new"]["price"])
        for change in found["prices"]["changed"]
        if change["meter"] == "output"
    }
    assert change == ("*/tiny", "3.00", "4.00")
    assert found["prices"]["added"] == ["*/unheard-of"]
    spend = found["spend"]["comparison"]
    by_model = {one["model"]: one for one in spend["differences"]}
    assert by_model.keys() == {"tiny", "unheard-of"}, "what does not differ is left out"
    tiny, unheard = by_model["tiny"], by_model["unheard-of"]
    assert (tiny["calls"], tiny["was"], tiny["would_be"], tiny["difference"]) == (3, "7.5", "9", "1.5")
    assert (unheard["calls"], unheard["would_be"], unheard["newly_priced"]) == (1, "2", 1)
    assert found["spend"]["calls"] == 6

    assert prices.json("diff", "--prices", file(CANDIDATE))["spend"]["comparison"] == spend, "nothing changed"


def test_another_data_file_is_compared_with_the_installed_one(prices: Prices, tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(OLD)
    found = prices.json("diff", "--data", str(path))

    assert {"acme/road-1", "acme/coyote-2", "acme/gone-1"} <= set(found["prices"]["added"])
    assert "anthropic/claude-3-5-sonnet" in found["prices"]["removed"]


def test_a_running_collector_compares_for_us(store: Path, prices: Prices, file: Callable[[str], str]) -> None:
    with collector(REAL, store, "--prices", str(store / "prices.toml")) as running:
        made = subprocess.run(
            [sys.executable, "-m", "pennytrace.cli", "prices", "diff", "--prices", file(CANDIDATE)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert made.returncode == 0, made.stderr
        running.stop()

    assert "1 model added, 0 removed, prices of 1 changed." in made.stdout
    row = next(line.split() for line in made.stdout.splitlines() if line.split()[:1] == ["search"])
    assert "4 calls of 6 would change." in made.stdout
    assert row[0] == "search"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prices", "/no/such.toml"], "--prices must name a file that exists; got '/no/such.toml'"),
        (["--data", "/no/such.json"], "--data must name a file that exists; got '/no/such.json'"),
        (["--since", "never"], "--since must be an age"),
    ],
)
def test_wrong_options_are_told(arguments: list[str], said: str, prices: Prices) -> None:
    assert said in prices("diff", *arguments, status=1)
