"""Makes the calls of the comparison, in a process and a virtual environment of its own.

`python worker.py PEER ENDPOINT` starts the peer, says how long that took, and then answers one command a line,
both ways in JSON: `{"kind": "chat", "calls": 16}` makes that many calls, delivers what was recorded of them, and
tells the CPU seconds of it in three parts: this thread's in the calls, the other threads' meanwhile, and those of
the whole process for delivering the rest. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import IO, Any, Final

# By name, from this very folder: in the environment of a peer nothing of ours is installed.
_transport: Final = importlib.import_module("transport")
_CHUNKS: Final = 100
_ASKED: Final[dict[str, Any]] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "What does a penny weigh?"}],
}

Block = Callable[[int], object]
"""Makes a number of calls."""


def blocks(around: Callable[[], Any]) -> dict[str, Block]:
    """Return the kinds of calls, each as what makes a block of them; `around` goes around every call."""
    client, async_client = _transport.clients(chunks=_CHUNKS)
    runner = asyncio.Runner()

    def chats(calls: int) -> None:
        for _ in range(calls):
            with around():
                client.chat.completions.create(**_ASKED)

    def streams(calls: int) -> None:
        for _ in range(calls):
            with around():
                delivered = sum(1 for _ in client.chat.completions.create(**_ASKED, stream=True))
            assert delivered >= _CHUNKS

    async def async_chats(calls: int) -> None:
        for _ in range(calls):
            with around():
                await async_client.chat.completions.create(**_ASKED)

    return {"chat": chats, "stream": streams, "async": lambda calls: runner.run(async_chats(calls))}


def serve(commands: IO[str], answers: IO[str], peer: str, endpoint: str) -> None:
    """Start the peer and answer commands until there are no more."""

    def tell(**answer: object) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    _transport.clients(chunks=_CHUNKS)[0].chat.completions  # noqa: B018 - an app loads that much of the SDK anyway
    wall, cpu = time.perf_counter(), time.process_time()
    started = importlib.import_module("starts").start(peer, endpoint)
    tell(wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu)
    make = blocks(started.around)
    for line in commands:
        command = json.loads(line)
        tell(**_timed(functools.partial(make[command["kind"]], command["calls"]), started.flush))


def _timed(calls: Callable[[], object], flush: Callable[[], object]) -> dict[str, float]:
    process, thread = time.process_time(), time.thread_time()
    calls()
    thread = time.thread_time() - thread
    called = time.process_time()
    flush()
    return {
        "calls_s": thread,
        "meanwhile_s": max(0.0, called - process - thread),
        "flush_s": time.process_time() - called,
    }


def main() -> None:
    """Serve on the standard input and output; what else is printed goes to the standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, answers, *sys.argv[1:])


if __name__ == "__main__":
    main()
