"""A ClickHouse that is away, slow or broken, or refuses one body: what was acknowledged gets there, once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import clickhouse_connect
import psutil
import pytest

from pennytrace_collectors.refused import waiting
from tests.collectors import otlp
from tests.collectors.service.process import REAL, Collector, collector
from tests.collectors.waiting import eventually

from .engine import free_port
from .reading import metrics

SERVER: Final = Path(__file__).parent / "apps" / "clickhouse.py"
SPANS: Final = 20
POISON: Final = otlp.body(3) + b"\x0a\x02\x10\x05"
GROWTH: Final = 300 * 1024**2
WITHIN_S: Final = 60.0


@dataclass(slots=True)
class ClickHouse:
    """A server with a folder and a port that it keeps when it is killed and started again."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        return f"http://127.0.0.1:{self.port}/pennytrace"

    def start(self) -> None:
        # The engine leaves a folder behind where it is started.
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER), str(self.folder), str(self.port)], cwd=self.folder
        )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def misbehave(self, fault: str) -> None:
        (self.folder / "fault").write_text(fault)

    def behave(self) -> None:
        (self.folder / "fault").unlink()

    def stored(self) -> dict[str, int]:
        client = clickhouse_connect.get_client(host="127.0.0.1", port=self.port)
        try:
            query = "SELECT session, count() FROM pennytrace.spend GROUP BY session"
            return {session: calls for session, calls in client.query(query).result_rows}
        finally:
            client.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClickHouse]:
    (tmp_path / "clickhouse").mkdir()
    made = ClickHouse(tmp_path / "clickhouse")
    try:
        yield made
    finally:
        made.kill()


@dataclass(slots=True)
class Client:
    running: Collector
    acknowledged: set[str] = field(default_factory=set)
    refused: int = 0

    def post(self, spans: int = SPANS) -> bool:
        number = f"body {len(self.acknowledged)} after {self.refused}"
        made = [otlp.span({**otlp.CALL, "session.id": number}) for _ in range(spans)]
        taken = self.running.post(otlp.request(made).SerializeToString()) == 200
        if taken:
            self.acknowledged.add(number)
        self.refused += not taken
        return taken

    def posts(self, number: int) -> None:
        for _ in range(number):
            assert self.post()

    def wait_until_loaded(self) -> None:
        eventually(
            lambda: metrics(self.running)["journal_bytes"] == 0, within_s=WITHIN_S, what="all to be loaded"
        )

    def health(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.running.get("/health")[1])
        return document

    def wait_for_warning(self, words: str) -> None:
        eventually(
            lambda: any(words in warning for warning in self.health()["warnings"]),
            within_s=WITHIN_S,
            what=f"health to warn of {words!r}",
        )


@contextmanager
def collecting(server: ClickHouse, state: Path, *options: str) -> Iterator[Client]:
    with collector(REAL, state, "--store", server.dsn, *options) as running:
        yield Client(running)
        assert running.stop() == 0


def test_a_server_that_is_away_at_the_start_and_killed_later_gets_everything_once(
    server: ClickHouse, tmp_path: Path
) -> None:
    with collecting(server, tmp_path / "state") as client:
        client.posts(3)
        client.wait_for_warning("loading fails")
        server.start()
        client.wait_until_loaded()
        server.kill()
        client.posts(3)
        client.wait_for_warning("is not available")
        assert client.health()["status"] == "accepting"
        server.start()
        client.wait_until_loaded()
        assert server.stored() == dict.fromkeys(client.acknowledged, SPANS)


def test_while_it_is_away_the_journal_grows_to_its_limit_and_nothing_else_does(
    server: ClickHouse, tmp_path: Path
) -> None:
    with collecting(server, tmp_path / "state", "--journal-limit", "2MiB") as client:
        process = psutil.Process(client.running.process.pid)
        client.posts(3)
        before = process.memory_info().rss
        while client.post(100):
            pass
        for _ in range(100):
            assert not client.post(100)
        health = client.health()
        assert health["status"] == "refusing"
        assert "has reached its limit" in health["reasons"][0]
        assert metrics(client.running)["journal_bytes"] <= 2 * 1024**2
        assert process.memory_info().rss - before < GROWTH
        server.start()
        eventually(client.post, within_s=WITHIN_S, what="bodies to be taken again")
        client.wait_until_loaded()
        assert client.health()["status"] == "accepting"
        assert server.stored().keys() == client.acknowledged


@pytest.mark.parametrize("fault", ["slow", "proxy", "reset"])
def test_while_it_is_slow_or_broken_bodies_are_taken_and_later_all_are_there_once(
    server: ClickHouse, tmp_path: Path, fault: str
) -> None:
    server.start()
    with collecting(server, tmp_path / "state") as client:
        client.posts(1)
        client.wait_until_loaded()
        server.misbehave(fault)
        client.posts(10)
        if fault == "slow":
            assert metrics(client.running)["journal_bytes"] > 0
        else:
            client.wait_for_warning("loading fails")
        server.behave()
        client.wait_until_loaded()
        assert server.stored() == dict.fromkeys(client.acknowledged, SPANS)
    assert waiting(tmp_path / "state" / "refused") == ()


def test_a_body_that_it_refuses_is_set_aside_and_the_others_of_its_batch_are_there_once(
    server: ClickHouse, tmp_path: Path
) -> None:
    with collecting(server, tmp_path / "state") as client:
        # One batch, because the server is not there yet.
        client.posts(20)
        assert client.running.post(POISON) == 200
        client.posts(20)
        server.start()
        client.wait_until_loaded()
        assert server.stored() == dict.fromkeys(client.acknowledged, SPANS)
        [refused] = waiting(tmp_path / "state" / "refused")
        assert (refused.kind, refused.spans) == ("code 444", 3)
        client.wait_for_warning("1 bodies that the store refused")
