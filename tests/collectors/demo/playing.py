"""Runs `pennytrace demo` as a person does, and looks for what it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.collectors.waiting import eventually

COMMAND = (sys.executable, "-m", "pennytrace.cli")
PATIENCE_S = 120.0


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the tests' own environment, with what must not lead the demo astray."""
    misleading = {
        "PENNYTRACE_STORE": "http://clickhouse.invalid/x",
        "PENNYTRACE_DISABLED": "true",
        "HTTP_PROXY": "http://127.0.0.1:1",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return {**kept, **misleading, **(more or {})}


def demo(out: Path, *options: str, more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the demo to its end."""
    return subprocess.run(
        [*COMMAND, "demo", "--out", str(out), *options],
        env=environment(more),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@contextmanager
def started(out: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Start the demo; it is killed at the end of the block, if it still runs then."""
    command = [*COMMAND, "demo", "--out", str(out), *options]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], wanted: str) -> str:
    """Read what the demo prints up to a line that holds `wanted`, and return all of it."""
    said = ""
    for line in process.stdout or ():
        said += line
        if wanted in line:
            return said
    raise AssertionError(f"{wanted!r} was never said:\n{said}\n{process.communicate()[1]}")


def report(state: Path, *options: str) -> str:
    """Return what `pennytrace report` prints about a state folder."""
    done = subprocess.run(
        [*COMMAND, "report", "--state", str(state), *options],
        env={name: value for name, value in os.environ.items() if not name.startswith("PENNYTRACE_")},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    return done.stdout


def left_behind(out: Path) -> list[str]:
    """Return the command lines of the processes that work for a demo in this folder."""
    lines = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:  # it has just ended, or is not ours to look at
            continue
        if str(out) in line and process.status() != psutil.STATUS_ZOMBIE:
            lines.append(line)
    return lines


def nothing_is_left(out: Path, *, within_s: float) -> None:
    """Fail when a process of the demo goes on after this time."""
    eventually(lambda: not left_behind(out), within_s=within_s, what="the demo's processes to end")
