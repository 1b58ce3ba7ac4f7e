"""The demo's child processes: each starts in a session of its own and is gone when its block is left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from pennytrace_collectors import running
from pennytrace_collectors.demo import leash
from pennytrace_collectors.demo.errors import ChildFailed
from pennytrace_collectors.demo.folder import Folder
from pennytrace_collectors.running import RunningCollector

_FREE_PORTS: Final = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--sql", "127.0.0.1:0")
_COLLECTOR_STARTS_S: Final = 60.0
_COLLECTOR_STOPS_S: Final = 25.0
_SHOP_STOPS_S: Final = 8.0
_LINES_TOLD: Final = 8
_NO_PROXY: Final = ("no_proxy", "NO_PROXY")


@contextlib.contextmanager
def collector(folder: Folder, *, prices: Path | None) -> Iterator[RunningCollector]:
    """Run a collector on free ports until the block is left; then it stops cleanly, with everything loaded.

    Raises:
        ChildFailed: It does not start.
    """
    options = ("--prices", str(prices)) if prices else ()
    command = (*leash.COMMAND, "collect", "--state", str(folder.state), *_FREE_PORTS, *options)
    # The working directory too, because the embedded engine leaves a cache of its own in that.
    folder.state.mkdir(mode=0o700)
    with folder.log.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder.state,
            env=clean_environment(),
            start_new_session=True,
        )
    with _ending(process, signal.SIGTERM, within_s=_COLLECTOR_STOPS_S):
        yield _started(process, folder)


@contextlib.contextmanager
def shop(
    script: Path, options: Sequence[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """Run the sample shop; its lines come on `stdout`."""
    process = subprocess.Popen(
        (sys.executable, str(script), *options),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=script.parent,
        env={**clean_environment(), **environment},
        start_new_session=True,
    )
    with _ending(process, signal.SIGINT, within_s=_SHOP_STOPS_S):
        yield process


def answered(process: subprocess.Popen[str]) -> Iterator[int]:
    """Yield how many calls the shop has had answered, each time it says so.

    Raises:
        ChildFailed: It ended with an error.
    """
    said: deque[str] = deque(maxlen=_LINES_TOLD)
    for line in process.stdout or ():
        count, _, rest = line.partition(" ")
        if count.isdigit() and rest == "calls answered\n":
            yield int(count)
        else:
            said.append(line)
    if process.wait() != 0:
        raise ChildFailed(f"the sample shop failed:\n{''.join(said).strip()}")


def pennytrace(*arguments: str) -> str:
    """Run a command of pennytrace and return what it prints.

    Raises:
        ChildFailed: It failed.
    """
    command = (sys.executable, "-m", "pennytrace.cli", *arguments)
    with (
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment()
        ) as process,
        _ending(process, signal.SIGTERM, within_s=5),
    ):
        out, errors = process.communicate()
    if process.returncode != 0:
        raise ChildFailed(f"`pennytrace {' '.join(arguments)}` failed:\n{errors.strip()}")
    return out


def clean_environment() -> dict[str, str]:
    """Return the environment without what would lead the demo to the reader's own store, collector or provider."""
    misleading = ("PENNYTRACE_", "OTEL_", "OPENAI_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(misleading)}
    return {**kept, **past_proxies()}


def past_proxies() -> dict[str, str]:
    """Return the variables that keep calls within this machine from a proxy, whatever else goes through it."""
    known = [os.environ[name] for name in _NO_PROXY if os.environ.get(name)]
    return dict.fromkeys(_NO_PROXY, ",".join([*known[:1], "127.0.0.1"]))


@contextlib.contextmanager
def _ending(
    process: subprocess.Popen[str] | subprocess.Popen[bytes], signal_: int, *, within_s: float
) -> Iterator[None]:
    """Stop a process when the block is left, at once if it takes too long or Ctrl-C is pressed again."""
    try:
        yield
    finally:
        try:
            if process.poll() is None:
                process.send_signal(signal_)
                process.wait(within_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _started(process: subprocess.Popen[bytes], folder: Folder) -> RunningCollector:
    deadline = time.monotonic() + _COLLECTOR_STARTS_S
    while process.poll() is None and time.monotonic() < deadline:
        found = running.find(folder.state)
        if found is not None and found.pid == process.pid:
            return found
        time.sleep(0.05)
    told = "\n".join(folder.log.read_text("utf-8", errors="replace").splitlines()[-_LINES_TOLD:])
    raise ChildFailed(f"the collector did not start:\n{told}")
