"""The comparison's side of its processes: starts a worker or the sink, asks it, and ends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import psutil

_FOLDER: Final = Path(__file__).resolve().parent
_SETTINGS: Final = (
    "OTEL_",
    "PENNYTRACE_",
    "OPENAI_",
    "LANGFUSE_",
    "OPENLIT_",
    "TRACELOOP_",
    "OPENINFERENCE_",
)
USUAL_VARIABLES: Final[Mapping[str, str]] = {
    "OTEL_SERVICE_NAME": "benchmark",
    "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test,team=checkout",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20none",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
}
"""What an app that is deployed with OpenTelemetry finds in its environment."""


class Spent(NamedTuple):
    """CPU seconds of one block of calls."""

    calls_s: float
    """The calling thread's."""
    meanwhile_s: float
    """The other threads', during the calls."""
    flush_s: float
    """The whole process's, until all was delivered."""


class Start(NamedTuple):
    """What the start of a peer took, its imports included."""

    wall_s: float
    cpu_s: float


class Held(NamedTuple):
    """What a process holds on to."""

    bytes: int
    """Resident memory."""
    threads: int
    files: int
    """Open descriptors, sockets included."""


@dataclass(frozen=True, slots=True)
class Sink:
    """A collector that takes everything."""

    url: str

    def spans(self, name: str) -> int:
        """Return how many spans have come below `/name` since the last time."""
        with urllib.request.urlopen(f"{self.url}/{name}") as answer:
            counted: dict[str, int] = json.load(answer)
        return counted["spans"]


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that makes calls."""

    name: str
    process: subprocess.Popen[str]
    complaints: IO[str]
    start: Start

    def make(self, kind: str, calls: int) -> Spent:
        """Make calls of a kind and deliver what was recorded of them."""
        return Spent(**_ask(self.process, self.complaints, self.name, kind=kind, calls=calls))

    def holds(self) -> Held:
        """Return what the process holds on to now."""
        process = psutil.Process(self.process.pid)
        with process.oneshot():
            return Held(process.memory_info().rss, process.num_threads(), process.num_fds())


@contextmanager
def sink() -> Iterator[Sink]:
    """Start the sink."""
    command = [sys.executable, str(_FOLDER / "sink.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Sink(f"http://127.0.0.1:{process.stdout.readline().strip()}")
        finally:
            process.terminate()


@contextmanager
def worker(
    python: Path,
    peer: str,
    sink: Sink,
    *,
    name: str | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Worker]:
    """Start a worker for a peer, delivering below `/name` (the peer's own name) of the sink.

    Raises:
        RuntimeError: The peer could not be started; with what the process said last.
    """
    name = name or peer
    environment = {key: value for key, value in os.environ.items() if not key.startswith(_SETTINGS)}
    with (
        tempfile.TemporaryDirectory() as spool,
        tempfile.TemporaryFile("w+") as complaints,
        subprocess.Popen(
            [python, _FOLDER / "worker.py", peer, f"{sink.url}/{name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env={**environment, "PENNYTRACE_SPOOL": spool, **(variables or {})},
            text=True,
        ) as process,
    ):
        yield Worker(name, process, complaints, Start(**_answer(process, complaints, name)))


def _ask(process: subprocess.Popen[str], complaints: IO[str], name: str, **command: object) -> dict[str, Any]:
    assert process.stdin is not None
    process.stdin.write(json.dumps(command) + "\n")
    process.stdin.flush()
    return _answer(process, complaints, name)


def _answer(process: subprocess.Popen[str], complaints: IO[str], name: str) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        complaints.seek(0)
        raise RuntimeError(f"the worker of {name} has died:\n{complaints.read()[-2000:]}")
    answer: dict[str, Any] = json.loads(line)
    return answer
