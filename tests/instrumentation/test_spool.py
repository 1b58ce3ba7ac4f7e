"""The spool: what the collector does not take waits on disk, across restarts and beside other processes."""

from __future__ import annotations

import json
import logging
import os
import resource
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from opentelemetry import context, metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import pennytrace
from pennytrace import semconv
from pennytrace._calls import active as _active
from pennytrace._delivery import backoff as _backoff
from pennytrace._delivery import courier as _courier
from pennytrace._delivery import http as _http
from pennytrace._delivery import presence as _presence
from pennytrace._delivery.body import Body
from pennytrace._delivery.otlp import Span, encode_request, encode_span
from pennytrace._delivery.queue import QueuedDelivery
from pennytrace._delivery.spool import Spool
from tests.instrumentation import sink as sinks
from tests.instrumentation.apps import APP
from tests.instrumentation.processes import BIN, clean_environment, python, run
from tests.instrumentation.provider import MODEL
from tests.instrumentation.sink import Recorded, Reply, Sink

MESSAGES: Any = [{"role": "user", "content": "?"}]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_backoff, "FIRST", 0.02)
    monkeypatch.setattr(_courier, "_SPOOL_REST", 0.05)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port: int = reserved.getsockname()[1]
    return port


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def away(free_port: int, folder: Path) -> str:
    """Record for a collector that is not there; return its URL."""
    url = f"http://127.0.0.1:{free_port}"
    pennytrace.init(endpoint=url, spool=folder, headers={"Authorization": "Bearer s3cret"})
    return url


@contextmanager
def back(url: str) -> Iterator[Sink]:
    """Let the collector be there."""
    with sinks.running(int(url.rpartition(":")[2])) as sink:
        yield sink
        pennytrace.shutdown()


def ask(client: openai.OpenAI, times: int = 1) -> None:
    for _ in range(times):
        client.chat.completions.create(model=MODEL, messages=MESSAGES)


def delivery() -> QueuedDelivery:
    recorder = _active.recorder
    assert recorder is not None
    assert isinstance(recorder.delivery, QueuedDelivery)
    return recorder.delivery


def waiting(folder: Path) -> list[Path]:
    """Return the files that wait, oldest first."""
    return sorted(folder.glob("*/*.otlp"), key=lambda path: path.name)


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    for _ in range(1000):
        if holds():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came to hold")


def span(text: str = "") -> Callable[[], bytes]:
    """Return a call as the recorder would put it, with a text to make it long."""
    ids = os.urandom(24)
    call = Span(ids[8:], ids[:8], None, "chat m", 1, 2, {semconv.REQUEST_MODEL: text}, failed=False)
    return lambda: encode_span(call)


def body(text: str) -> bytes:
    return encode_request(b"", b"", [span(text)()])


def calls_in(sink: Sink) -> list[Recorded]:
    return [span for span in sink.spans if span.name != semconv.LOSS]


class TestWhileTheCollectorIsAway:
    def test_calls_wait_on_disk_and_arrive_when_it_is_back(
        self, client: openai.OpenAI, away: str, folder: Path
    ) -> None:
        ask(client, 5)
        assert not pennytrace.flush(0.1)
        assert waiting(folder)
        assert delivery().waiting == 5
        with back(away) as sink:
            assert pennytrace.flush(30)
            assert len({call.span_id for call in sink.spans}) == 5
        assert waiting(folder) == []

    def test_what_waits_is_a_request_that_needs_nothing_else(
        self, client: openai.OpenAI, away: str, folder: Path
    ) -> None:
        ask(client, 3)
        assert not pennytrace.flush(0)
        (file,) = waiting(folder)
        assert len(sinks.decode(file.read_bytes())) == 3

    def test_nobody_else_can_read_it_and_no_header_is_in_it(
        self, client: openai.OpenAI, away: str, folder: Path
    ) -> None:
        ask(client)
        assert not pennytrace.flush(0)
        (file,) = waiting(folder)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for written in file.parent.iterdir():
            assert b"s3cret" not in written.read_bytes()

    def test_few_calls_do_not_make_many_files(self, client: openai.OpenAI, away: str, folder: Path) -> None:
        for number in (1, 2, 3):
            ask(client)
            eventually(lambda number=number: [*folder.glob(f"*/*-{number}.otlp")] != [])  # type: ignore[misc]
        assert len(waiting(folder)) == 1
        with back(away) as sink:
            assert pennytrace.flush(30)
            assert len({call.span_id for call in sink.spans}) == 3

    @pytest.mark.parametrize("status", [401, 429, 500, 503])
    def test_an_answer_that_asks_to_come_again_is_like_being_away(
        self, client: openai.OpenAI, sink: Sink, folder: Path, status: int
    ) -> None:
        pennytrace.init(endpoint=sink.url, spool=folder)
        sink.replies.append(Reply(status, {"Retry-After": "1"}))
        ask(client, 2)
        assert not pennytrace.flush(0.3), "it was asked to wait for a second"
        assert len(sink.requests) == 1
        assert waiting(folder)
        assert pennytrace.flush(30)
        assert len({call.span_id for call in sink.spans}) == 2
        assert waiting(folder) == []

    def test_the_happy_path_never_touches_the_disk(
        self, client: openai.OpenAI, sink: Sink, folder: Path
    ) -> None:
        pennytrace.init(endpoint=sink.url, spool=folder)
        ask(client)
        assert pennytrace.flush()
        assert not folder.exists()

    def test_without_a_spool_calls_wait_in_memory(
        self, client: openai.OpenAI, free_port: int, tmp_path: Path
    ) -> None:
        url = f"http://127.0.0.1:{free_port}"
        pennytrace.init(endpoint=url, spool="off")
        ask(client, 3)
        assert not pennytrace.flush(0.1)
        with back(url) as sink:
            assert pennytrace.flush(30)
            assert len(sink.spans) == 3
        assert not (tmp_path / "state").exists()


class TestASlowCollector:
    @pytest.fixture(autouse=True)
    def short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_http, "TIMEOUT", 0.5)

    def test_that_hangs_costs_no_call_and_little_memory(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections and says nothing
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            pennytrace.init(endpoint=url, spool=folder, queue_size=4000)
            clock = threading.Event()
            for _ in range(100):  # 5,000 a second
                for _ in range(100):
                    delivery().put(span())
                clock.wait(0.02)
            assert not pennytrace.flush(0.1)
            assert delivery().losses.calls() == 0
            assert len(delivery()._queue) <= 4000
        with back(url) as sink:
            assert pennytrace.flush(20)
            assert len({call.span_id for call in calls_in(sink)}) == 10_000

    def test_that_dribbles_is_given_up(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        with answering(dribble) as url:
            pennytrace.init(endpoint=url, spool=folder)
            delivery().put(span())
            assert not pennytrace.flush(1)
            assert waiting(folder)
        assert "timed out" in caplog.text

    def test_whose_answer_never_ends_is_read_in_part(self, folder: Path) -> None:
        with answering(babble) as url:
            pennytrace.init(endpoint=url, spool=folder)
            delivery().put(span())
            assert pennytrace.flush(30)


@contextmanager
def answering(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Let every connection be answered by a function; give the URL."""

    def serve() -> None:
        with suppress(OSError):  # the end of the server
            while True:
                connection, _ = server.accept()
                with connection, suppress(OSError):  # the client has had enough
                    talk(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        pennytrace.shutdown(0)
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def dribble(connection: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1000:
        threading.Event().wait(0.1)
        connection.send(bytes([byte]))


def babble(connection: socket.socket) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    while True:
        connection.send(b"x" * 65536)


class TestOneBadFile:
    def test_does_not_hold_up_the_others(
        self, client: openai.OpenAI, away: str, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool = Spool(str(folder), f"{away}/v1/traces", limit=2**20)
        for text in ("bad", "good", "fine"):
            spool._newest = None  # each in its own file
            spool.add(Body(body(text), 1))
        with sinks.running(int(away.rpartition(":")[2])) as sink:
            take = sink.take

            def fussy(headers: dict[str, str], content: bytes) -> Reply:
                return Reply(500) if b"bad" in content else take(headers, content)

            monkeypatch.setattr(sink, "take", fussy)
            ask(client)
            sink.wait_for(spans=3)
            eventually(lambda: len(waiting(folder)) == 1)
            (left,) = waiting(folder)
            assert b"bad" in left.read_bytes()
            pennytrace.shutdown(0)

    def test_that_is_damaged_is_set_aside_and_counted(
        self, client: openai.OpenAI, away: str, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        spool = Spool(str(folder), f"{away}/v1/traces", limit=2**20)
        for calls in (2, 3, 1):
            spool._newest = None
            spool.add(Body(body("whole"), calls))
        cut, garbled, _ = waiting(folder)
        cut.write_bytes(cut.read_bytes()[:-5])
        garbled.write_bytes(b"\xff" * 100)
        foreign = cut.parent / "notes.txt"
        foreign.write_text("mine")
        with back(away) as sink:
            ask(client)
            sink.wait_for(spans=2)
            assert pennytrace.flush(30)
            assert delivery().losses.calls(semconv.SPOOL_DAMAGED) == 5
            sink.wait_for(spans=3)
        assert sink.spans[-1].attributes[semconv.LOST_CALLS] == 5
        assert "damaged" in caplog.text
        assert len(list(cut.parent.glob("*.damaged"))) == 2
        assert foreign.read_text() == "mine"
        assert waiting(folder) == []

    def test_that_is_refused_for_good_makes_way(self, client: openai.OpenAI, away: str, folder: Path) -> None:
        ask(client, 2)
        assert not pennytrace.flush(0)
        with back(away) as sink:
            sink.replies.extend([Reply(400)] * 3)
            pennytrace.flush(30)
            assert waiting(folder) == []
            ask(client)
            pennytrace.flush(30)
            assert len(calls_in(sink)) == 1
        assert delivery_losses(folder) == {"refused": 2}


def delivery_losses(folder: Path) -> dict[str, int]:
    """Return what is written down about losses."""
    (file,) = folder.glob("*/lost.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return {line["reason"]: line["calls"] for line in lines}


class TestBounds:
    def test_the_oldest_go_first_and_everybody_hears_of_it(
        self, away: str, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        pennytrace.init(endpoint=away, spool=folder, spool_size="1M")
        with caplog.at_level(logging.WARNING, logger="pennytrace"):
            for number in range(4):
                for _ in range(600):
                    delivery().put(span(f"{number}" * 1000))
                assert not pennytrace.flush(0)
        lost = delivery().losses.calls(semconv.SPOOL_FULL)
        assert lost > 0
        assert sum(file.stat().st_size for file in waiting(folder)) <= 2**20
        assert len([record for record in caplog.records if "spool full" in record.getMessage()]) == 1
        doctor = run(
            [BIN / "pennytrace", "doctor"],
            environment={"PENNYTRACE_SPOOL": str(folder), "PENNYTRACE_ENDPOINT": away},
        ).stdout
        assert f"{lost:,} calls lost since" in doctor
        assert "(spool full)" in doctor
        assert f"{2400 - lost:,} calls wait in {folder}" in doctor
        with back(away) as sink:
            assert pennytrace.flush(30)
            assert len({call.span_id for call in calls_in(sink)}) == 2400 - lost
            texts = {call.attributes[semconv.REQUEST_MODEL][0] for call in calls_in(sink)}
            assert "3" in texts
            assert "0" not in texts
        losses = [one for one in sink.spans if one.name == semconv.LOSS]
        assert [one.attributes for one in losses] == [
            {semconv.LOST_CALLS: lost, semconv.LOST_REASON: "spool full"}
        ]

    def test_a_full_disk_is_told_once_and_calls_stay_in_memory(
        self, client: openai.OpenAI, away: str, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # no file may have a byte
        try:
            ask(client, 3)
            assert not pennytrace.flush(0.1)
            ask(client, 2)
            assert not pennytrace.flush(0.1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        told = [one for one in caplog.records if "cannot use its spool" in one.getMessage()]
        assert [one.levelno for one in told].count(logging.WARNING) == 1
        assert list(folder.glob("*/*.tmp")) == []
        with back(away) as sink:
            assert pennytrace.flush(30)
            assert len({call.span_id for call in sink.spans}) == 5

    @pytest.mark.parametrize("place", ["a file", "a read-only system"])
    def test_a_folder_that_cannot_be_used_is_told_once_and_calls_stay_in_memory(
        self,
        client: openai.OpenAI,
        free_port: int,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        place: str,
    ) -> None:
        unusable = tmp_path / "file" if place == "a file" else Path("/sys/pennytrace")
        if place == "a file":
            unusable.write_text("")
        url = f"http://127.0.0.1:{free_port}"
        pennytrace.init(endpoint=url, spool=unusable)
        ask(client, 3)
        assert not pennytrace.flush(0.1)
        told = [one for one in caplog.records if "cannot use its spool" in one.getMessage()]
        assert [one.levelno for one in told].count(logging.WARNING) == 1
        with back(url) as sink:
            assert pennytrace.flush(30)
            assert len(sink.spans) == 3

    def test_a_folder_of_somebody_else_is_not_used(
        self, client: openai.OpenAI, away: str, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        ask(client)
        assert not pennytrace.flush(0.1)
        assert waiting(folder) == []


class TestDoctor:
    def test_says_that_nothing_waits(self, folder: Path, sink: Sink) -> None:
        environment = {"PENNYTRACE_SPOOL": str(folder), "PENNYTRACE_ENDPOINT": sink.url}
        done = run([BIN / "pennytrace", "doctor", "--json"], environment=environment)
        (found,) = [finding for finding in json.loads(done.stdout) if finding["area"] == "spool"]
        assert found["state"] == "ok"
        assert "no call waits" in found["what"]

    def test_says_when_the_folder_cannot_be_used(self, folder: Path, sink: Sink) -> None:
        folder.write_text("")
        environment = {"PENNYTRACE_SPOOL": str(folder), "PENNYTRACE_ENDPOINT": sink.url}
        done = run([BIN / "pennytrace", "doctor"], environment=environment)
        assert "FAIL  spool" in done.stdout


class TestProcesses:
    def test_that_ended_have_their_calls_sent_by_the_next(self, free_port: int, folder: Path) -> None:
        url = f"http://127.0.0.1:{free_port}"
        first = python(APP + "call(3)", TEST_ENDPOINT=url, PENNYTRACE_SPOOL=str(folder))
        assert first.returncode == 0
        assert "They wait in" in first.stderr
        with sinks.running(free_port) as sink:
            second = python(APP + "call(2)", TEST_ENDPOINT=url, PENNYTRACE_SPOOL=str(folder))
            assert (second.returncode, second.stderr) == (0, "")
            assert len({call.span_id for call in sink.spans}) == len(sink.spans) == 5
        assert waiting(folder) == []

    def test_that_were_killed_lose_nothing_that_was_put_there(self, free_port: int, folder: Path) -> None:
        url = f"http://127.0.0.1:{free_port}"
        program = APP + "call(3); pennytrace.flush(0.1)\nimport signal; os.kill(os.getpid(), signal.SIGKILL)"
        assert python(program, TEST_ENDPOINT=url, PENNYTRACE_SPOOL=str(folder)).returncode == -9
        with sinks.running(free_port) as sink:
            python(APP + "call(2)", TEST_ENDPOINT=url, PENNYTRACE_SPOOL=str(folder))
            assert len({call.span_id for call in sink.spans}) == len(sink.spans) == 5

    def test_share_a_spool_and_send_each_call_once(self, free_port: int, folder: Path) -> None:
        url = f"http://127.0.0.1:{free_port}"
        program = APP + (
            "for _ in range(10):\n    call(2); pennytrace.flush(0)\n"
            "print('ready', flush=True); sys.stdin.read(); assert pennytrace.flush(20)"
        )
        apps = [
            subprocess.Popen(
                [sys.executable, "-c", program],
                env=clean_environment({"TEST_ENDPOINT": url, "PENNYTRACE_SPOOL": str(folder)}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(3)
        ]
        for app in apps:
            assert app.stdout is not None
            assert app.stdout.readline() == "ready\n"
        with sinks.running(free_port) as sink:
            for app in apps:
                app.communicate(timeout=30)
                assert app.returncode == 0
            assert len({call.span_id for call in sink.spans}) == len(sink.spans) == 60
        assert waiting(folder) == []

    def test_only_one_of_them_sends_at_a_time(self, folder: Path) -> None:
        one, other = (Spool(str(folder), "http://h/v1/traces", limit=2**20) for _ in range(2))
        one.add(Body(body("x"), 1))
        with one.held() as first, other.held() as second:
            assert (first, second) == (True, False)
        with other.held() as third:
            assert third

    def test_for_other_collectors_have_spools_of_their_own(self, folder: Path) -> None:
        for url in ("http://a/v1/traces", "http://b/v1/traces"):
            Spool(str(folder), url, limit=2**20).add(Body(body("x"), 1))
        assert len({file.parent for file in waiting(folder)}) == 2


class TestBesideTheAppsOpenTelemetry:
    def test_its_metrics_show_what_waits_and_what_was_lost(
        self, client: openai.OpenAI, away: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reader = InMemoryMetricReader()
        meters = MeterProvider([reader])
        monkeypatch.setattr(metrics, "get_meter", meters.get_meter)
        monkeypatch.setattr(_presence, "_shown", False)
        _presence._lost_by.clear()  # of other tests
        _presence._waiting_in.clear()
        ask(client, 3)
        assert not pennytrace.flush(0)
        delivery().losses.count(semconv.REFUSED, 7, "for the test")
        eventually(lambda: delivery().waiting == 3)  # for a moment a call is on its way from memory to disk
        data: Any = reader.get_metrics_data()
        found = {
            (metric.name, point.attributes.get(semconv.LOST_REASON)): point.value
            for metric in data.resource_metrics[0].scope_metrics[0].metrics
            for point in metric.data.data_points
        }
        assert found["pennytrace.calls.waiting", None] == 3
        assert found["pennytrace.calls.lost", "refused"] == 7
        assert found["pennytrace.calls.lost", "queue full"] == 0

    def test_its_traces_do_not_show_how_calls_are_sent(self, sink: Sink) -> None:
        seen: list[object] = []
        pennytrace.init(endpoint=sink.url)

        def look() -> bytes:
            seen.append(context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY))
            return span()()

        delivery().put(look)
        assert pennytrace.flush()
        assert seen == [True]
        assert context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY) is None
