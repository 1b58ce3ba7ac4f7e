"""The demo as a person runs it: its numbers, its files, its labels, and that nothing is left of it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
import urllib.request
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from pennytrace_collectors import running
from pennytrace_collectors.demo import children
from pennytrace_collectors.demo.errors import ChildFailed
from pennytrace_collectors.demo.provider import Books, serving
from pennytrace_collectors.demo.provider.app import application
from tests.collectors.demo.playing import (
    demo,
    left_behind,
    nothing_is_left,
    read_until,
    report,
    started,
)
from tests.collectors.waiting import eventually

CALLS = 40
UNPRICED = "house-ranker-7b"
EVERYTHING = "feature,feature_source,model,team,customer,session,environment"


@dataclass(frozen=True, slots=True)
class Played:
    out: Path
    said: str
    seconds: float
    left: list[str]
    rows: list[dict[str, Any]]
    """The report by everything, read after the demo had ended."""

    def values(self, *names: str) -> set[tuple[str, ...]]:
        return {tuple(row[name] for name in names) for row in self.rows}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    out = tmp_path_factory.mktemp("played") / "demo-output"
    before = time.monotonic()
    done = demo(out, "--calls", str(CALLS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    seconds = time.monotonic() - before
    return Played(out, done.stdout, seconds, left_behind(out), rows_of(out, EVERYTHING))


def rows_of(out: Path, by: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(report(out / "state", "--by", by, "--json"))["rows"]
    return rows


def test_it_ends_by_itself_within_a_minute_and_leaves_no_process(played: Played) -> None:
    assert played.seconds < 60
    assert played.left == []
    assert running.find(played.out / "state") is None


def test_the_stored_report_says_what_the_provider_billed(played: Played) -> None:
    billed = re.search(
        r"AGREED .* ([\d,]+) calls, ([\d,]+) input tokens, ([\d,]+) output tokens, (\d+\.\d+) USD",
        played.said,
    )
    assert billed is not None, played.said
    numbers = [int(number.replace(",", "")) for number in billed.groups()[:3]]
    names = ("calls", "input_tokens", "output_tokens")
    assert numbers == [sum(row[name] for row in played.rows) for name in names]
    assert numbers[0] == CALLS
    assert Decimal(billed[4]) == sum(Decimal(row["cost"]) for row in played.rows if row["cost"] is not None)


def test_features_are_counted_by_tag_and_the_untagged_one_by_its_function(played: Played) -> None:
    tagged = {"search", "chat-support", "product-descriptions", "review-summary", "recommendations"}
    found = played.values("feature", "feature_source")
    assert found == {(feature, "tag") for feature in tagged} | {("shop.newsletter", "function")}


def test_teams_customers_and_sessions_are_there(played: Played) -> None:
    assert played.values("team") == {("catalog",), ("care",), ("discovery",), ("",)}
    assert len(played.values("customer")) > 1
    assert all(session.startswith("session-") for (session,) in played.values("session"))


def test_a_model_without_a_price_is_shown_as_such_and_not_as_free(played: Played) -> None:
    models = {model for (model,) in played.values("model")}
    assert len(models) == 6
    assert {row["model"] for row in played.rows if row["cost"] is None} == {UNPRICED}
    assert all(Decimal(row["cost"]) > 0 for row in played.rows if row["cost"] is not None)
    assert re.search(rf"\d calls, [\d,]+ tokens of openai_compatible/{UNPRICED}: unknown", played.said)


def test_what_is_simulated_says_so(played: Played) -> None:
    assert played.said.startswith("SIMULATED ")
    heading = played.said[: played.said.index("LLM spend by feature, model")].rstrip().splitlines()[-1]
    assert heading.startswith("SIMULATED ")
    assert played.values("environment") == {("simulated",)}
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
    shutil.copytree(played.out, out)
    (out / "shop.py").write_text((out / "shop.py").read_text() + "# mine\n")
    books = Books()
    with serving(application(books, faults=False)) as url:
        own = {"OPENAI_API_KEY": "mine", "OPENAI_BASE_URL": f"{url}/v1"}
        done = demo(out, "--real", "--model", "gpt-4.1-mini", more=own)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = rows_of(out, "model")
    assert (out / "shop.yours-1.py").read_text().endswith("# mine\n")
    assert "# mine" not in (out / "shop.py").read_text()
    (line,) = books.lines().values()
    assert (row["calls"], row["input_tokens"]) == (line.calls, line.input_tokens)
    assert line.calls == 7
    assert f"REAL CALLS 7 small calls of gpt-4.1-mini to {url}/v1: they cost money." in done.stdout
    assert "simulated" not in done.stdout.lower()


def test_ctrl_c_in_the_middle_leaves_no_process(tmp_path: Path) -> None:
    out = tmp_path / "demo-output"
    with started(out) as process:
        read_until(process, " of 300 calls answered")
        assert len(left_behind(out)) == 3, left_behind(out)  # the demo, the collector, the shop
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        nothing_is_left(out, within_s=0.5)
        assert "Traceback" not in process.communicate()[1]


def test_even_killed_it_leaves_no_process(tmp_path: Path) -> None:
    out = tmp_path / "demo-output"
    with started(out) as process:
        eventually(lambda: running.find(out / "state"), what="the collector to start")
        process.kill()
        process.wait(30)
        nothing_is_left(out, within_s=30)


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


def test_a_model_is_chosen_for_the_readers_own_endpoint_only(tmp_path: Path) -> None:
    done = demo(tmp_path, "--model", "gpt-4o")
    assert done.returncode == 1
    assert "--model is for --real" in done.stderr


def test_a_shop_that_cannot_reach_its_endpoint_says_what_it_saw(tmp_path: Path) -> None:
    script = shutil.copy(str(files("pennytrace_collectors.demo").joinpath("shop.py")), tmp_path)
    nobody = {
        "OPENAI_API_KEY": "mine",
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
        "PENNYTRACE_DISABLED": "true",
    }
    said = "the sample shop failed:\nthe shop had to close: Connection error"
    with pytest.raises(ChildFailed, match=said), children.shop(Path(script), (), nobody) as process:
        list(children.answered(process))
    assert process.returncode == 1
