"""What the store refuses is set aside, shown wherever people look, and can be tried again or given up."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pennytrace.cli import main
from pennytrace_collectors.checks import check
from pennytrace_collectors.errors import OrderError
from pennytrace_collectors.journal import Journal, Limits
from pennytrace_collectors.journal.record import frame
from pennytrace_collectors.refused import set_aside, waiting
from pennytrace_collectors.replay import put_back, replay
from tests.collectors import otlp
from tests.collectors.waiting import eventually
from tests.integration.reading import sql

from .process import REAL, RECORDING, Collector, collector
from .stores import Folder

WRONG_WIRE_TYPE = b"\x0a\x02\x10\x05"
"""`scope_spans` as a number: an unknown field for protobuf's readers, a corrupt message for ClickHouse."""
POISON = otlp.body(3) + WRONG_WIRE_TYPE


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PENNYTRACE_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("PENNYTRACE_STORE", raising=False)
    return tmp_path / "state"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "loaded")
    made.folder.mkdir()
    return made


@pytest.fixture
def environment(folder: Folder) -> Mapping[str, str]:
    return {"RECORDING_FOLDER": str(folder.folder)}


def put_aside(state: Path, name: str = "1") -> tuple[str, bytes]:
    """Set a good body aside, as if a store had refused it; return its name and the id of its span."""
    span = otlp.span()
    body = otlp.request([span]).SerializeToString()
    framing = frame(body, 1)
    path = set_aside(state / "refused", framing.prefix + body + framing.trailer, "not today", name=name)
    return path.stem, span.span_id


def names(state: Path) -> list[str]:
    return [one.name for one in waiting(state / "refused")]


def sample(running: Collector, name: str) -> str:
    _, text = running.get("/metrics")
    found = re.search(rf"^pennytrace_collector_{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return found[1] if found else ""


def loaded(running: Collector) -> bool:
    return sample(running, "journal_bytes") == "0.0"


def pennytrace(*arguments: str) -> int:
    return main(["refused", *arguments])


def test_a_body_that_clickhouse_cannot_read_is_set_aside_shown_everywhere_and_can_be_dropped(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with collector(REAL, state, "--sql", "127.0.0.1:0") as running, sql(running.found) as client:
        for body in (otlp.body(2), POISON, otlp.body(2)):
            assert running.post(body) == 200
        [name] = eventually(lambda: names(state), within_s=60, what="the body to be set aside")
        eventually(lambda: loaded(running), within_s=60, what="the others to be loaded")
        assert client.query("SELECT count() FROM spend").result_rows == [(4,)]
        assert sample(running, 'refused_waiting{reason="code 444"}') == "1.0"
        assert "1 bodies that the store refused are set aside" in running.get("/health")[1]
        [finding] = [one for one in check() if "refused by the store" in one.what]
        assert (finding.state, "1 bodies with 3 spans" in finding.what) == ("warning", True)

        assert pennytrace("list") == 0
        shown = capsys.readouterr().out
        assert f"{name}  2" in shown
        assert "3 spans" in shown
        assert "Protobuf messages are corrupted" in shown

        assert pennytrace("replay", name) == 0
        [again] = eventually(lambda: sorted({*names(state)} - {name}), within_s=60, what="a second refusal")
        assert names(state) == [again]
        assert pennytrace("drop", again) == 0
        assert sample(running, 'refused_waiting{reason="code 444"}') == ""
        assert json.loads(running.get("/health")[1])["warnings"] == []
        assert running.stop() == 0
    assert list((state / "refused").glob("*.*")) == []


def test_a_running_collector_loads_what_is_replayed(
    state: Path, folder: Folder, environment: Mapping[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    (first, one), (second, two), (third, _) = (put_aside(state, name) for name in "123")
    with collector(RECORDING, state, environment=environment) as running:
        assert pennytrace("replay", first, second) == 0
        assert "2 put back: the collector loads them now" in capsys.readouterr().out
        eventually(lambda: len(folder.span_ids()) == 2)
        assert running.stop() == 0
    assert sorted(folder.span_ids()) == sorted([one, two])
    assert names(state) == [third]
    assert sorted(path.stem for path in (state / "refused").glob("*.json")) == [third]


def test_without_a_collector_the_next_one_loads_what_is_replayed(
    state: Path, folder: Folder, environment: Mapping[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    _, span_id = put_aside(state)
    assert pennytrace("replay", "--all") == 0
    assert "loads them at its next start" in capsys.readouterr().out
    assert names(state) == []
    with collector(RECORDING, state, environment=environment) as running:
        eventually(folder.span_ids)
        assert running.stop() == 0
    assert folder.span_ids() == [span_id]


def test_what_was_laid_out_for_a_collector_that_was_killed_is_taken_by_the_next(
    state: Path, folder: Folder, environment: Mapping[str, str]
) -> None:
    name, span_id = put_aside(state)
    again = state / "refused" / "again"
    again.mkdir()
    os.rename(state / "refused" / f"{name}.segment", again / f"{name}.segment")
    with collector(RECORDING, state, environment=environment) as running:
        eventually(folder.span_ids)
        assert running.stop() == 0
    assert folder.span_ids() == [span_id]
    assert list((state / "refused").glob("*.*")) == []


def test_a_collector_that_is_stuck_leaves_what_is_replayed_where_it_was(
    state: Path, folder: Folder, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pennytrace_collectors.replay._TAKEN_WITHIN_S", 0.2)
    stuck = {**environment, "RECORDING_STUCK": "1", "RECORDING_DRAIN_S": "0"}
    with collector(RECORDING, state, environment=stuck) as running:
        assert running.post(otlp.body()) == 200
        # Once a load has begun, nothing else is looked at.
        eventually((folder.folder / "begun.stuck").exists)
        name, _ = put_aside(state)
        try:
            with pytest.raises(OrderError, match=r"has not taken 1 of them .* they stay aside"):
                replay(state, [name])
        finally:
            running.process.kill()
    assert names(state) == [name]


def test_a_journal_without_room_is_not_filled_further(state: Path) -> None:
    name, _ = put_aside(state)
    journal = Journal(state / "journal", limits=Limits(total_bytes=1))
    again = state / "refused" / "again"
    again.mkdir()
    for number in (1, 2):
        (again / f"{number}.segment").write_bytes((state / "refused" / f"{name}.segment").read_bytes())
    # An empty journal takes one of any size, or a large one could never be replayed.
    assert put_back(state / "refused", journal.adopt) == 1
    assert put_back(state / "refused", journal.adopt) == 0
    segment = journal.take(5)
    assert segment is not None
    journal.read(segment)
    journal.remove(segment)
    assert put_back(state / "refused", journal.adopt) == 1
    journal.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["replay"], "give the names that `pennytrace refused list` shows, or --all; not both"),
        (["drop"], "give the names"),
        (["drop", "../journal/lock"], "nothing is set aside under the name '../journal/lock'"),
    ],
)
def test_a_name_that_is_none_is_refused_and_nothing_is_touched(
    state: Path, capsys: pytest.CaptureFixture[str], arguments: Sequence[str], words: str
) -> None:
    name, _ = put_aside(state)
    assert pennytrace(*arguments) != 0
    assert words in capsys.readouterr().err
    assert names(state) == [name]


def test_the_list_is_there_for_machines_too(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, _ = put_aside(state)
    (state / "refused" / "2-note-is-gone.segment").write_bytes(b"12345")
    assert pennytrace("list", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["name"], first["reason"], first["spans"]) == (name, "not today", 1)
    assert (second["name"], second["reason"], second["spans"], second["bytes"]) == (
        "2-note-is-gone", "", None, 5,
    )  # fmt: skip
    assert pennytrace("drop", "--all") == 0
    assert pennytrace("list") == 0
    assert capsys.readouterr().out.splitlines() == ["2 deleted.", "Nothing is set aside."]
