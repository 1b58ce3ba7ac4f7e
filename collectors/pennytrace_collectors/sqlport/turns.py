"""Whose turn it is: a bounded number of queries at once, in threads of their own, and a bounded queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from .faults import Code, Fault
from .limits import Limits

_T = TypeVar("_T")


class Turns:
    """The turns of one event loop."""

    def __init__(self, limits: Limits) -> None:
        self._free = asyncio.Semaphore(limits.concurrent)
        self._room = limits.concurrent + limits.waiting
        self._workers = ThreadPoolExecutor(limits.concurrent, thread_name_prefix="pennytrace-sql")

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it.

        Raises:
            Fault: Too many wait already.
        """
        if self._room == 0:
            raise Fault(Code.TOO_MANY_SIMULTANEOUS_QUERIES, "Too many simultaneous queries; try again")
        self._room -= 1
        try:
            async with self._free:
                yield
        finally:
            self._room += 1

    def work(self, call: Callable[[], _T]) -> Awaitable[_T]:
        """Run a call that may block, in a worker."""
        return asyncio.get_running_loop().run_in_executor(self._workers, call)

    def end(self) -> None:
        """Wait for the workers; nothing is run any more."""
        self._workers.shutdown(wait=True, cancel_futures=True)
