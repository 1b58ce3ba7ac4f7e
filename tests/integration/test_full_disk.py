"""A real collector on a full disk: it says so, keeps what it has acknowledged, and goes on when there is room."""

from __future__ import annotations

import http.client
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from pennytrace_collectors import running as finding
from tests.collectors import otlp
from tests.collectors.service.process import REAL, Collector, collector, spawn
from tests.collectors.waiting import eventually

from .reading import metrics, records, sql

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux to fill a disk for one process")

EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
SPANS: Final = 50
SQL: Final = ("--sql", "127.0.0.1:0")


@dataclass(frozen=True, slots=True)
class Filled:
    """A collector, and how to fill and to empty its disk."""

    running: Collector
    fill: Callable[[], None]
    empty: Callable[[], None]


@contextmanager
def by_limit(folder: Path) -> Iterator[Filled]:
    """No file may grow: what a program sees is nearly what it sees of a full disk, and it needs no rights."""
    with collector(REAL, folder / "state", *SQL) as running:
        pid = running.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        yield Filled(
            running,
            lambda: limit(pid, 0, hard),
            lambda: limit(pid, hard, hard),
        )


def limit(pid: int, soft: int, hard: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def by_device(folder: Path) -> Iterator[Filled]:
    """A small disk of its own, which only the collector sees, filled by a file."""
    with mounted(folder / "state", *SQL) as (running, there):
        yield Filled(running, lambda: ballast(there), (there / "ballast").unlink)


@contextmanager
def mounted(place: Path, *options: str, state: Path | None = None) -> Iterator[tuple[Collector, Path]]:
    """Start a collector with a disk of 300 MiB at `place`; yield it, and how this process sees that disk."""
    place.mkdir(parents=True)
    trial = ["sh", "-c", 'unshare -rm mount -t tmpfs none "$0"', str(place)]
    if subprocess.run(trial, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a disk of his own")
    mount = 'mount -t tmpfs -o size=300m none "$PLACE" && exec "$0" "$@"'
    command = ("unshare", "-rm", "sh", "-c", mount, *REAL)
    state = state or place
    with ExitStack() as stack:
        process = stack.enter_context(spawn(command, state, *options, environment={"PLACE": str(place)}))
        stack.callback(process.kill)
        inside = Path(f"/proc/{process.pid}/root")
        found = eventually(
            lambda: found_in(process, inside / state.relative_to("/")),
            within_s=60,
            what="the collector to start",
        )
        yield Collector(process, found), inside / place.relative_to("/")


def found_in(process: subprocess.Popen[str], state: Path) -> finding.RunningCollector | None:
    assert process.poll() is None, process.communicate()[1]
    return finding.find(state)


def ballast(disk: Path) -> None:
    """Leave no room at all on a disk."""
    with open(disk / "ballast", "wb", buffering=0) as file, suppress(OSError):
        while True:
            os.write(file.fileno(), bytes(4096))


@dataclass(slots=True)
class Client:
    """Sends bodies, and remembers what was acknowledged."""

    running: Collector
    acknowledged: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)

    def post(self) -> tuple[int, str | None, bytes]:
        number, body = self._new()
        connection = http.client.HTTPConnection("127.0.0.1", self.running.http_port, timeout=60)
        try:
            connection.request("POST", "/v1/traces", body, {"Content-Type": "application/x-protobuf"})
            answer = connection.getresponse()
            self._remember(number, taken=answer.status == 200)
            return answer.status, answer.headers.get("retry-after"), answer.read()
        finally:
            connection.close()

    def export(self) -> tuple[grpc.StatusCode, Status]:
        number, body = self._new()
        with grpc.insecure_channel((self.running.found.grpc or "").removeprefix("http://")) as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
            sent = call.future(body, timeout=60)
            self._remember(number, taken=sent.exception() is None)
            details = dict(sent.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
            return sent.code(), Status.FromString(details)

    def taken(self) -> bool:
        return self.post()[0] == 200

    def _new(self) -> tuple[str, bytes]:
        number = f"body {len(self.acknowledged) + len(self.refused)}"
        spans = [otlp.span({**otlp.CALL, "session.id": number}) for _ in range(SPANS)]
        return number, otlp.request(spans).SerializeToString()

    def _remember(self, number: str, *, taken: bool) -> None:
        (self.acknowledged if taken else self.refused).add(number)


def stored(running: Collector) -> dict[str, int]:
    eventually(lambda: metrics(running)["journal_bytes"] == 0, within_s=120, what="the rest to be loaded")
    with sql(running.found) as client:
        rows = records(client, "SELECT session, count() AS calls FROM spend GROUP BY session")
    return {row["session"]: row["calls"] for row in rows}


@pytest.mark.parametrize("full", [by_limit, by_device])
def test_a_full_disk_is_said_and_recovered_from_without_losing_what_was_acknowledged(
    tmp_path: Path, full: Callable[[Path], AbstractContextManager[Filled]]
) -> None:
    with full(tmp_path) as disk:
        client = Client(disk.running)
        for _ in range(2):
            assert [client.taken() for _ in range(5)] == [True] * 5
            disk.fill()
            eventually(lambda: not client.taken(), what="the disk to be full")
            status, retry_after, answer = client.post()
            assert (status, retry_after) == (503, "5")
            assert "is full" in Status.FromString(answer).message
            code, said = client.export()
            retry = RetryInfo()
            assert (code, said.details[0].Unpack(retry), retry.retry_delay.seconds) == (
                grpc.StatusCode.UNAVAILABLE, True, 5,
            )  # fmt: skip
            status, health = disk.running.get("/health")
            assert (status, json.loads(health)["status"]) == (503, "refusing")
            assert "is full" in json.loads(health)["reasons"][0]
            disk.empty()
            eventually(client.taken, what="bodies to be taken again")
            assert json.loads(disk.running.get("/health")[1])["status"] == "accepting"
        found = stored(disk.running)
        assert disk.running.stop() == 0
    assert client.refused
    assert found == dict.fromkeys(client.acknowledged, SPANS)


def test_a_store_whose_disk_is_full_is_waited_for_while_bodies_are_taken(tmp_path: Path) -> None:
    store, state = tmp_path / "disk", tmp_path / "state"
    with mounted(store, "--store", f"chdb://{store}/store", *SQL, state=state) as (running, there):
        client = Client(running)
        assert client.taken()
        eventually(lambda: metrics(running)["journal_bytes"] == 0, within_s=60, what="the first to be loaded")
        ballast(there)
        assert [client.taken() for _ in range(5)] == [True] * 5
        health = eventually(lambda: failing(running), within_s=60, what="loading to fail")
        assert health["status"] == "accepting"
        assert metrics(running)["journal_bytes"] > 0
        (there / "ballast").unlink()
        found = stored(running)
        eventually(lambda: not failing(running), within_s=60, what="health to be well again")
        assert running.stop() == 0
    assert found == dict.fromkeys(client.acknowledged, SPANS)


def failing(running: Collector) -> dict[str, object] | None:
    health: dict[str, object] = json.loads(running.get("/health")[1])
    return health if "loading fails" in str(health["warnings"]) else None
