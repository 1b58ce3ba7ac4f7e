"""Makes many calls of every kind and looks at what the process still holds: `python tests/benchmarks/leaks.py`.

The calls are chats, streams that are read to their end, closed early or just dropped, errors, and the same with
asyncio. They come in laps: the collector is away for the first half of each and back for the second, and the lap
ends when all its calls are delivered. A process that leaks holds more after every lap.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a script sees its own folder only

import pennytrace
from tests.benchmarks.comparison.transport import NO_SUCH_MODEL, clients

_SINK: Final = Path(__file__).resolve().parent / "comparison" / "sink.py"
_CHUNKS: Final = 5
_PATIENCE: Final = 120.0  # seconds
_ASKED: Final[dict[str, Any]] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "What does a penny weigh?"}],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the process holds after a lap, everything delivered and the garbage collected."""

    calls: int
    """Made so far."""
    delivered: int
    """Of them, as the collector counts."""
    memory_blocks: int
    """Allocated by Python: each object, string or buffer is one at least."""
    objects: int
    """That the garbage collector knows."""
    resident_bytes: int
    threads: int
    files: int
    """Open descriptors, sockets included."""


_TOLERANCE: Final = {
    "memory_blocks": 250,
    "objects": 20,
    "resident_bytes": 2 * 2**20,
    "threads": 0,
    "files": 0,
}
"""How much more there may be in the end than in the beginning: a lap leaves its own result, and some dozen blocks."""


def leaks(held: Sequence[Held]) -> list[str]:
    """Return what there is more and more of, as sentences; a lap that only warms up is left out.

    What is there in the better one of the last two laps is compared with the worse one of the first two.
    """
    before, after = held[1:3], held[-2:]
    found = []
    for name, tolerance in _TOLERANCE.items():
        most, least = max(getattr(lap, name) for lap in before), min(getattr(lap, name) for lap in after)
        if least > most + tolerance:
            found.append(f"{name} rose from {most} to {least} in {after[-1].calls - before[0].calls} calls")
    lost = held[-1].calls - held[-1].delivered
    return [*found, f"{lost} calls were not delivered"] if lost else found


def laps(count: int, rounds: int) -> Iterator[Held]:
    """Make `count` laps of `rounds` rounds, each of which is a call of every kind; tell what is held after each."""
    port = _free_port()
    pennytrace.init(endpoint=f"http://127.0.0.1:{port}/app", service="leaks")
    kinds = _kinds()
    calls = delivered = 0
    with asyncio.Runner() as runner:
        for _ in range(count):
            _make(kinds, runner, rounds - rounds // 2)  # nobody listens
            with _collector(port):
                _make(kinds, runner, rounds // 2)
                _settle(runner)
                _deliver_all()
                delivered += _count(port)
                calls += rounds * len(kinds)
                yield _held(calls, delivered)
    pennytrace.shutdown()


def _make(kinds: Sequence[Callable[[], Any]], runner: asyncio.Runner, rounds: int) -> None:
    for _ in range(rounds):
        for call in kinds:
            coroutine = call()
            if coroutine is not None:
                runner.run(coroutine)


def _settle(runner: asyncio.Runner) -> None:
    """End what the app has dropped: some of it lies in cycles, and some waits for the event loop."""
    for _ in range(3):
        gc.collect()
        runner.run(asyncio.sleep(0.001))


def _kinds() -> list[Callable[[], Any]]:
    """Return one call of each kind; an asynchronous one returns what is to be awaited."""
    client, async_client = clients(chunks=_CHUNKS)
    return [
        *_plain_kinds(client.chat.completions.create),
        *_async_kinds(async_client.chat.completions.create),
    ]


def _plain_kinds(create: Callable[..., Any]) -> list[Callable[[], Any]]:
    def chat() -> None:
        create(**_ASKED)

    def stream_read() -> None:
        assert sum(1 for _ in create(**_ASKED, stream=True)) == _CHUNKS

    def stream_closed() -> None:
        with create(**_ASKED, stream=True) as stream:
            next(stream)

    def stream_dropped() -> None:
        next(create(**_ASKED, stream=True))

    def stream_never_read() -> None:
        create(**_ASKED, stream=True)

    def error() -> None:
        _fails(lambda: create(**{**_ASKED, "model": NO_SUCH_MODEL}))

    return [chat, stream_read, stream_closed, stream_dropped, stream_never_read, error]


def _async_kinds(create: Callable[..., Any]) -> list[Callable[[], Any]]:
    async def chat() -> None:
        await create(**_ASKED)

    async def stream_read() -> None:
        assert len([chunk async for chunk in await create(**_ASKED, stream=True)]) == _CHUNKS

    async def stream_closed() -> None:
        async with await create(**_ASKED, stream=True) as stream:
            await anext(aiter(stream))

    async def cancelled() -> None:
        task = asyncio.ensure_future(stream_read())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    return [chat, stream_read, stream_closed, cancelled]


def _fails(call: Callable[[], object]) -> None:
    openai = sys.modules["openai"]
    try:
        call()
    except openai.NotFoundError:
        return
    raise AssertionError("the provider was to refuse")


def _deliver_all() -> None:
    if not pennytrace.flush(_PATIENCE):
        raise RuntimeError(f"the calls were not delivered within {_PATIENCE:g} s")


def _empty_caches() -> None:
    """Leave out what caches hold: that is bounded by their size, and no leak."""
    for found in gc.get_objects():
        # By its very type: `isinstance` would wake up every lazy proxy of the SDK.
        if type(found) is functools._lru_cache_wrapper and found.__module__.startswith("pennytrace"):
            if found.cache_parameters()["maxsize"] is None:
                raise RuntimeError(f"the cache of {found.__module__}.{found.__qualname__} has no bound")
            found.cache_clear()


def _held(calls: int, delivered: int) -> Held:
    _empty_caches()
    gc.collect()
    process = psutil.Process()
    return Held(
        calls=calls,
        delivered=delivered,
        memory_blocks=sys.getallocatedblocks(),
        objects=len(gc.get_objects()),
        resident_bytes=process.memory_info().rss,
        threads=threading.active_count(),
        files=process.num_fds(),
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _collector(port: int) -> Iterator[None]:
    with subprocess.Popen([sys.executable, _SINK, str(port)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it listens now
        try:
            yield
        finally:
            process.terminate()


def _count(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/app") as answer:
        counted: dict[str, int] = json.load(answer)
    return counted["spans"]


def main() -> int:
    """Print what is held after each lap, a line of JSON each; return 1 when something leaks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000, help="in all (default: %(default)s)")
    parser.add_argument("--laps", type=int, default=10, help="at least five (default: %(default)s)")
    options = parser.parse_args()
    held = []
    with tempfile.TemporaryDirectory() as spool:
        os.environ["PENNYTRACE_SPOOL"] = spool
        for lap in laps(options.laps, options.calls // options.laps // len(_kinds())):
            print(json.dumps(asdict(lap)), flush=True)  # noqa: T201
            held.append(lap)
    found = leaks(held)
    print("\n".join(found) or "nothing leaks", file=sys.stderr)  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
