"""The demo as a person runs it: its numbers, its files, its labels, and that nothing is left of it."""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pennytrace_collectors import running
from pennytrace_collectors.demo.provider import Books, serving
from pennytrace_collectors.demo.provider.app import application
from tests.collectors.demo.playing import (
    demo,
    environment,
    left_behind,
    nothing_is_left,
    read_until,
    report,
    started,
)
from tests.collectors.waiting import eventually

CALLS = 40
UNPRICED = "house-ranker-7b"


@dataclass(frozen=True, slots=True)
class Played:
    out: Path
    said: str
    seconds: float
    left: list[str]

    def rows(self, by: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(report(self.out / "state", "--by", by, "--json"))["rows"]
        return rows


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    out = tmp_path_factory.mktemp("played") / "demo-output"
    before = time.monotonic()
    done = demo(out, "--calls", str(CALLS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return Played(out, done.stdout, time.monotonic() - before, left_behind(out))


def test_it_ends_by_itself_within_a_minute_and_leaves_no_process(played: Played) -> None:
    assert played.seconds < 60
    assert played.left == []
    assert running.find(played.out / "state") is None


def test_the_stored_report_says_what_the_provider_billed(played: Played) -> None:
    rows = played.rows("feature,model")
    billed = re.search(
        r"AGREED .* ([\d,]+) calls, ([\d,]+) input tokens, ([\d,]+) output tokens, (\d+\.\d+) USD",
        played.said,
    )
    assert billed is not None, played.said
    assert int(billed[1].replace(",", "")) == sum(row["calls"] for row in rows) == CALLS
    assert int(billed[2].replace(",", "")) == sum(row["input_tokens"] for row in rows)
    assert int(billed[3].replace(",", "")) == sum(row["output_tokens"] for row in rows)
    totals = json.loads(report(played.out / "state", "--json"))["totals"]
    assert [(total["cost"], total["currency"]) for total in totals] == [(billed[4], "USD")]


def test_features_are_counted_by_tag_and_the_untagged_one_by_its_function(played: Played) -> None:
    found = {(row["feature"], row["feature_source"]) for row in played.rows("feature,feature_source")}
    tagged = {"search", "chat-support", "product-descriptions", "review-summary", "recommendations"}
    assert found == {(feature, "tag") for feature in tagged} | {("shop.newsletter", "function")}


def test_teams_customers_and_sessions_are_there(played: Played) -> None:
    teams = {row["team"] for row in played.rows("team")}
    assert teams == {"catalog", "care", "discovery", ""}
    assert len(played.rows("customer")) > 1
    assert all(row["session"].startswith("session-") for row in played.rows("session"))


def test_a_model_without_a_price_is_shown_as_such_and_not_as_free(played: Played) -> None:
    costs = {row["model"]: row["cost"] for row in played.rows("model")}
    assert costs.pop(UNPRICED) is None
    assert len(costs) == 5
    assert all(float(cost) > 0 for cost in costs.values())
    assert re.search(rf"\d calls, [\d,]+ tokens of openai_compatible/{UNPRICED}: unknown", played.said)


def test_what_is_simulated_says_so(played: Played) -> None:
    assert played.said.startswith("SIMULATED ")
    heading = played.said[: played.said.index("LLM spend by feature, model")].rstrip().splitlines()[-1]
    assert heading.startswith("SIMULATED ")
    assert {row["environment"] for row in played.rows("environment")} == {"simulated"}
    assert "SIMULATED" in (played.out / "prices.toml").read_text()


def test_the_grafana_files_are_there_and_valid(played: Played) -> None:
    grafana = played.out / "grafana"
    boards = list(grafana.glob("dashboards/*.json"))
    assert boards
    assert all(json.loads(board.read_text())["panels"] for board in boards)
    sources = yaml.safe_load((grafana / "provisioning/datasources/pennytrace.yaml").read_text())
    assert sources["datasources"][0]["jsonData"]["port"] == 8123  # where `pennytrace collect` will listen


def test_it_says_where_everything_is(played: Played) -> None:
    for name in ("state", "shop.py", "prices.toml", "grafana/provisioning", "collector.log"):
        assert str(played.out / name) in played.said
        assert (played.out / name).exists()
    log = (played.out / "collector.log").read_text()
    assert "ERROR" not in log
    assert "Traceback" not in log


def test_a_second_run_begins_afresh_with_the_readers_own_endpoint(played: Played, tmp_path: Path) -> None:
    out = tmp_path / "demo-output"
    played.out.rename(out)
    (out / "shop.py").write_text((out / "shop.py").read_text() + "# mine\n")
    books = Books()
    try:
        with serving(application(books, faults=False)) as url:
            own = {"OPENAI_API_KEY": "mine", "OPENAI_BASE_URL": f"{url}/v1"}
            done = demo(out, "--real", "--model", "gpt-4.1-mini", more=own)
        assert done.returncode == 0, done.stdout + done.stderr
        (row,) = json.loads(report(out / "state", "--by", "model", "--json"))["rows"]
        assert (out / "shop.yours-1.py").read_text().endswith("# mine\n")
        assert "# mine" not in (out / "shop.py").read_text()
    finally:
        out.rename(played.out)
    (line,) = books.lines().values()
    assert (row["calls"], row["input_tokens"]) == (line.calls, line.input_tokens)
    assert line.calls == 7
    assert f"REAL CALLS 7 small calls of gpt-4.1-mini to {url}/v1: they cost money." in done.stdout
    assert "simulated" not in done.stdout.lower()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_ended_in_the_middle_it_leaves_no_process(tmp_path: Path, how: signal.Signals) -> None:
    out = tmp_path / "demo-output"
    with started(out) as process:
        read_until(process, "75 of 300 calls answered")
        assert len(left_behind(out)) == 3, left_behind(out)  # the demo, the collector, the shop
        process.send_signal(how)
        assert process.wait(30) == (130 if how is signal.SIGINT else -signal.SIGKILL)
        nothing_is_left(out, within_s=0.5 if how is signal.SIGINT else 30)
        assert "Traceback" not in process.communicate()[1]


def test_kept_running_it_goes_on_slowly_until_it_is_told_to_end(tmp_path: Path) -> None:
    out = tmp_path / "demo-output"
    with started(out, "--keep", "--calls", "10") as process:
        said = read_until(process, "Still running")
        collector = running.find(out / "state")
        assert collector is not None
        assert all(str(url) in said for url in (collector.http, collector.grpc, collector.sql))
        provider = re.search(r"provider +(http://\S+) \(simulated\)", said)
        assert provider is not None
        with urllib.request.urlopen(provider[1]) as page:
            assert "Everything here is simulated" in page.read().decode()
        eventually(lambda: calls_of(out) > 10, what="more calls")
        sources = yaml.safe_load((out / "grafana/provisioning/datasources/pennytrace.yaml").read_text())
        assert str(collector.sql).endswith(f":{sources['datasources'][0]['jsonData']['port']}")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        nothing_is_left(out, within_s=0.5)


def calls_of(out: Path) -> int:
    calls: int = json.loads(report(out / "state", "--json"))["totals"][0]["calls"]
    return calls


@pytest.mark.parametrize("missing", ["OPENAI_API_KEY", "OPENAI_BASE_URL"])
def test_real_without_an_endpoint_says_what_to_set(tmp_path: Path, missing: str) -> None:
    own = {"OPENAI_API_KEY": "mine", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1", missing: ""}
    done = demo(tmp_path / "demo-output", "--real", more=own)
    assert done.returncode == 1
    assert done.stderr.startswith(f"pennytrace: error: --real needs {missing}, which is not set: set it to")
    assert not (tmp_path / "demo-output").exists()
    assert (
        environment()["PENNYTRACE_DISABLED"] == "true"
    )  # the reader's own settings were in the way, and ignored


def test_real_with_an_endpoint_that_fails_says_what_the_shop_saw(tmp_path: Path) -> None:
    nobody = {"OPENAI_API_KEY": "mine", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}
    done = demo(tmp_path / "demo-output", "--real", more=nobody)
    assert done.returncode == 1
    assert (
        "pennytrace: error: the sample shop failed:\nthe shop had to close: Connection error." in done.stderr
    )
    assert "Traceback" not in done.stderr
    nothing_is_left(tmp_path, within_s=0.5)
