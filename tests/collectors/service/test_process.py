"""The collector as a process: starts, says where it is, stops cleanly, survives being killed."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest

from pennytrace_collectors import running
from tests.collectors import otlp
from tests.collectors.waiting import eventually

from .process import REAL, RECORDING, Collector, collector, fail_to_start, request
from .stores import Folder

KILLS = int(os.environ.get("PENNYTRACE_KILL_ROUNDS", "4"))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "loaded")
    made.folder.mkdir()
    return made


@pytest.fixture
def environment(folder: Folder) -> Mapping[str, str]:
    return {"RECORDING_FOLDER": str(folder.folder)}


def new_body() -> tuple[bytes, bytes]:
    """Return a body of one call and the id of its span."""
    span = otlp.span()
    return otlp.request([span]).SerializeToString(), span.span_id


def test_it_says_where_it_listens_and_removes_that_when_it_stops(
    state: Path, folder: Folder, environment: Mapping[str, str]
) -> None:
    with collector(RECORDING, state, "--sql", "127.0.0.1:0", environment=environment) as running_collector:
        found = running_collector.found
        assert json.loads((state / "collector.json").read_text())["http"] == found.http
        assert request(int((found.sql or "").rpartition(":")[2]), "GET", "/ping") == (200, b"Ok.\n")
        assert running_collector.get("/health")[0] == 200
        assert running_collector.stop() == 0
        output, errors = running_collector.process.communicate()
    for url in (found.http, found.grpc, found.sql, str(state)):
        assert str(url) in output
    assert "Traceback" not in errors
    assert running.find(state) is None
    assert not (state / "collector.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop_loads_everything_over_both_protocols(
    state: Path, folder: Folder, environment: Mapping[str, str], number: signal.Signals
) -> None:
    over_http, first = new_body()
    over_grpc, second = new_body()
    with collector(RECORDING, state, environment=environment) as running_collector:
        assert running_collector.post(over_http) == 200
        with grpc.insecure_channel((running_collector.found.grpc or "").removeprefix("http://")) as channel:
            method = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
            export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
            assert export(over_grpc, timeout=30) == b""
        assert running_collector.stop(number) == 0
    assert sorted(folder.span_ids()) == sorted([first, second])
    assert [path.name for path in (state / "journal").iterdir()] == ["lock"]


def test_a_request_in_flight_is_answered_before_it_stops(
    state: Path, folder: Folder, environment: Mapping[str, str]
) -> None:
    body, span_id = new_body()
    with collector(RECORDING, state, environment=environment) as running_collector:
        port = running_collector.http_port
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(
                b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
                b"content-length: %d\r\n\r\n" % len(body) + body[:10]
            )
            # A request counts as in flight once the server has seen it.
            seen = 'received_requests_total{protocol="http/protobuf"} 1'
            eventually(lambda: seen in running_collector.get("/metrics")[1])
            running_collector.process.terminate()
            eventually(lambda: refuses(port))
            connection.sendall(body[10:])
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert running_collector.process.wait(30) == 0
    assert folder.span_ids() == [span_id]


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_store_that_is_stuck_does_not_keep_it_from_stopping(
    state: Path, environment: Mapping[str, str]
) -> None:
    stuck = {**environment, "RECORDING_STUCK": "1", "RECORDING_DRAIN_S": "0.1"}
    with collector(RECORDING, state, environment=stuck) as running_collector:
        assert running_collector.post(otlp.body()) == 200
        assert running_collector.stop() == 0
        assert "is loaded at the next start" in running_collector.process.communicate()[1]
    assert list((state / "journal").glob("*.segment"))
    assert not (state / "collector.json").exists()


def test_a_second_signal_stops_it_at_once(state: Path, environment: Mapping[str, str]) -> None:
    stuck = {**environment, "RECORDING_STUCK": "1", "RECORDING_DRAIN_S": "600"}
    with collector(RECORDING, state, environment=stuck) as running_collector:
        assert running_collector.post(otlp.body()) == 200
        running_collector.process.terminate()
        eventually(lambda: refuses(running_collector.http_port))
        assert running_collector.stop() == 128 + signal.SIGTERM


def test_a_second_collector_on_the_same_state_is_refused(state: Path, environment: Mapping[str, str]) -> None:
    with collector(RECORDING, state, environment=environment) as running_collector:
        errors = fail_to_start(REAL, state)
        assert re.search(
            rf"error: another collector \(pid {running_collector.process.pid}\).*--state", errors
        )
        assert running_collector.stop() == 0


@pytest.mark.parametrize("option", ["http", "grpc"])
def test_a_port_in_use_is_named_with_its_option(
    state: Path, tmp_path: Path, environment: Mapping[str, str], option: str
) -> None:
    with collector(RECORDING, state, environment=environment) as running_collector:
        taken = (getattr(running_collector.found, option) or "").removeprefix("http://")
        errors = fail_to_start(RECORDING, tmp_path / "other", f"--{option}", taken, environment=environment)
        assert f"cannot listen on {taken}: port {taken.rpartition(':')[2]} is in use" in errors
        assert f"--{option} HOST:PORT" in errors
        assert running_collector.stop() == 0


def test_while_the_store_is_away_bodies_are_taken_and_health_says_what_is_wrong(
    state: Path, tmp_path: Path, folder: Folder, environment: Mapping[str, str]
) -> None:
    away = tmp_path / "away"
    away.touch()
    body, span_id = new_body()
    server = {
        **environment,
        "RECORDING_AWAY": str(away),
        "PENNYTRACE_STORE": "http://clickhouse.invalid:8123/p",
    }
    with collector(RECORDING, state, environment=server) as running_collector:
        assert running_collector.post(body) == 200
        health = eventually(lambda: with_warnings(running_collector))
        assert (health["status"], health["warnings"]) == ("accepting", ["loading fails: the store is away"])
        assert health["journal_bytes"] > 0
        away.unlink()
        eventually(folder.span_ids)
        assert running_collector.stop() == 0
    assert folder.span_ids() == [span_id]


def with_warnings(running_collector: Collector) -> dict[str, Any] | None:
    status, body = running_collector.get("/health")
    assert status == 200
    health: dict[str, Any] = json.loads(body)
    return health if health["warnings"] else None


def test_a_full_journal_is_a_503_and_health_says_so(
    state: Path, folder: Folder, environment: Mapping[str, str]
) -> None:
    stuck = {**environment, "RECORDING_STUCK": "1", "RECORDING_DRAIN_S": "0"}
    body = otlp.body(100)
    limit = str(len(body) + 100)
    with collector(RECORDING, state, "--journal-limit", limit, environment=stuck) as running_collector:
        assert running_collector.post(body) == 200
        assert running_collector.post(body) == 503
        assert running_collector.post(otlp.body(0)) == 200
        status, health = running_collector.get("/health")
        assert status == 503
        assert json.loads(health)["status"] == "refusing"
        assert f"has reached its limit of {limit} bytes" in json.loads(health)["reasons"][0]
        assert 'rejected_requests_total{reason="journal_full"} 1.0' in running_collector.get("/metrics")[1]
    # Killed while the store was stuck; a store that works gets it all.
    with collector(RECORDING, state, environment=environment) as running_collector:
        assert running_collector.post(body) == 200
        assert running_collector.stop() == 0
    assert len(set(folder.span_ids())) == 100


def test_metrics_follow_a_body_from_receipt_to_the_store(state: Path, environment: Mapping[str, str]) -> None:
    with collector(RECORDING, state, environment=environment) as running_collector:
        body = otlp.request([otlp.span(), otlp.span(), otlp.span(span_id=b"short")]).SerializeToString()
        assert running_collector.post(body) == 200
        assert running_collector.post(b"nonsense") == 400
        metrics = eventually(lambda: loaded(running_collector, 2))
        assert running_collector.stop() == 0
    values = dict(re.findall(r"^pennytrace_collector_(\S+) (\S+)$", metrics, re.MULTILINE))
    assert values['received_requests_total{protocol="http/protobuf"}'] == "2.0"
    assert (
        values["received_spans_total"]
        == values["journaled_spans_total"]
        == values["loaded_spans_total"]
        == "2.0"
    )
    assert values['rejected_requests_total{reason="malformed"}'] == values["rejected_spans_total"] == "1.0"
    assert values["journal_bytes"] == values["lag_seconds"] == values["load_failures_total"] == "0.0"
    assert values["unpriced_calls"] == "0.0"


def loaded(running_collector: Collector, spans: int) -> str:
    _, metrics = running_collector.get("/metrics")
    done = f"loaded_spans_total {spans}.0\n" in metrics and "unpriced_calls" in metrics
    return metrics if done and "journal_bytes 0.0\n" in metrics else ""


def test_every_acknowledged_body_survives_being_killed_again_and_again(
    state: Path, folder: Folder, environment: Mapping[str, str]
) -> None:
    acknowledged: set[bytes] = set()
    for round_ in range(KILLS):
        with collector(RECORDING, state, environment=environment) as running_collector:
            threads = [
                threading.Thread(target=post_until_it_dies, args=(running_collector, acknowledged))
                for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            before = len(acknowledged)
            eventually(lambda: len(acknowledged) >= before + 40)  # noqa: B023 - read in this round only
            # At another moment of receiving, writing and loading each time.
            time.sleep(0.37 * round_)
            running_collector.process.kill()
            for thread in threads:
                thread.join()
    with collector(RECORDING, state, environment=environment) as running_collector:
        assert running_collector.stop() == 0
    kept = folder.span_ids()
    assert acknowledged <= set(kept)
    assert not list((state / "journal").glob("*.segment"))


def post_until_it_dies(running_collector: Collector, acknowledged: set[bytes]) -> None:
    while True:
        body, span_id = new_body()
        try:
            if running_collector.post(body) == 200:
                acknowledged.add(span_id)
        except (OSError, http.client.HTTPException):
            return
