"""A thousand connections that do nothing and a hundred that drip: the others are served as if they were not there."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import grpc
import psutil
import pytest

from pennytrace_collectors.receive.listen import allowed
from tests.collectors import otlp
from tests.collectors.service.process import RECORDING, Collector, collector
from tests.collectors.service.stores import Folder
from tests.collectors.waiting import eventually

IDLE: Final = 1000
DRIPPING: Final = 100
CALLS: Final = 50
ENOUGH_S: Final = 10.0
"""For one post, on a machine that is busy with other things."""
GROWTH: Final = 300 * 1024**2
EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
HEADERS: Final = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
BODY: Final = HEADERS + b"content-length: 100000\r\n\r\n"


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    (tmp_path / "loaded").mkdir()
    return {"RECORDING_FOLDER": str(tmp_path / "loaded")}


def port_of(url: str | None) -> int:
    return int((url or "").rpartition(":")[2])


@contextmanager
def crowd(port: int, number: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections that have said something and go on with a byte now and then, as long as they are let."""
    done = threading.Event()
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            for _ in range(number)
        ]
        dripping = threading.Thread(target=drip, args=(sockets if said else [], said, done))
        dripping.start()
        try:
            yield sockets
        finally:
            done.set()
            dripping.join()


def drip(sockets: list[socket.socket], said: bytes, done: threading.Event) -> None:
    for number in range(10**6):
        for connection in sockets:
            with contextlib.suppress(OSError):
                connection.sendall(said[number : number + 1] or b"x")
        if done.wait(0.02):
            return


def slowest_post(running: Collector) -> float:
    """The longest that one of many posts took, in seconds, half of them over either protocol."""
    slowest = 0.0
    with grpc.insecure_channel((running.found.grpc or "").removeprefix("http://")) as channel:
        export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
        for number in range(CALLS):
            began = time.monotonic()
            if number % 2:
                assert running.post(otlp.body()) == 200
            else:
                assert export(otlp.body(), timeout=60) == b""
            slowest = max(slowest, time.monotonic() - began)
    return slowest


def test_others_are_served_beside_a_crowd_that_holds_on(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    allowed()
    with collector(RECORDING, tmp_path / "state", environment=environment) as running, ExitStack() as stack:
        process = psutil.Process(running.process.pid)
        before, files = process.memory_info().rss, process.num_fds()
        http_port, grpc_port = port_of(running.found.http), port_of(running.found.grpc)
        stack.enter_context(crowd(http_port, IDLE))
        stack.enter_context(crowd(grpc_port, IDLE))
        stack.enter_context(crowd(http_port, DRIPPING, HEADERS))
        stack.enter_context(crowd(http_port, DRIPPING, BODY))
        assert slowest_post(running) < ENOUGH_S
        assert process.memory_info().rss - before < GROWTH
        assert process.num_fds() - files < 2 * IDLE + 2 * DRIPPING + 200
        stack.close()
        eventually(lambda: process.num_fds() < files + 50, within_s=60, what="the connections to be closed")
        assert running.stop() == 0
    assert len(set(Folder(tmp_path / "loaded").span_ids())) == CALLS


def test_a_crowd_never_takes_the_files_that_the_journal_needs(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    few = ("bash", "-c", 'ulimit -n 400 && exec "$0" "$@"', *RECORDING)
    with collector(few, tmp_path / "state", environment=environment) as running, ExitStack() as stack:
        process = psutil.Process(running.process.pid)
        port = port_of(running.found.http)
        for _ in range(5):
            stack.enter_context(crowd(port, 100))
            assert running.post(otlp.body()) == 200
            assert process.num_fds() < 300
        assert json.loads(running.get("/health")[1])["status"] == "accepting"
        assert running.stop() == 0
    assert len(set(Folder(tmp_path / "loaded").span_ids())) == 5
