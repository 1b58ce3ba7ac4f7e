"""Runs a collector as a process of its own, as in production."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pennytrace_collectors import running
from tests.collectors.waiting import eventually

ROOT = Path(__file__).parents[3]
RECORDING = (sys.executable, "-m", "tests.collectors.service.recording")
REAL = (sys.executable, "-m", "pennytrace.cli", "collect")
FREE_PORTS = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--sql", "off")


@dataclass(frozen=True, slots=True)
class Collector:
    process: subprocess.Popen[str]
    found: running.RunningCollector

    @property
    def http_port(self) -> int:
        return urlsplit(self.found.http or "").port or 0

    def post(self, body: bytes) -> int:
        """Return the status of one post on a connection of its own."""
        return request(self.http_port, "POST", "/v1/traces", body)[0]

    def get(self, path: str) -> tuple[int, str]:
        status, body = request(self.http_port, "GET", path)
        return status, body.decode()

    def stop(self, signal_number: int = signal.SIGTERM, *, within_s: float = 60.0) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(signal_number)
        return self.process.wait(within_s)


def request(port: int, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": "application/x-protobuf"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def spawn(
    command: Sequence[str], state: Path, *options: str, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*command, "--state", str(state), *FREE_PORTS, *options],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def fail_to_start(
    command: Sequence[str], state: Path, *options: str, environment: Mapping[str, str] | None = None
) -> str:
    """Return what a collector that must not start says on standard error."""
    with spawn(command, state, *options, environment=environment) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    return errors


@contextmanager
def collector(
    command: Sequence[str], state: Path, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[Collector]:
    """Start a collector, wait until it listens, and make sure that it is gone after the block."""
    with spawn(command, state, *options, environment=environment) as process:
        try:
            yield Collector(
                process, eventually(lambda: _found(process, state), what="the collector to start")
            )
        finally:
            process.kill()


def _found(process: subprocess.Popen[str], state: Path) -> running.RunningCollector | None:
    assert process.poll() is None, process.communicate()[1]
    found = running.find(state)
    return found if found is not None and found.pid == process.pid else None
