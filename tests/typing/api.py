"""The public functions as a type checker sees them: checked by mypy, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import assert_type

import pennytrace
from pennytrace.command import Command
from pennytrace.commands.doctor import Doctor
from pennytrace.commands.run import Run
from pennytrace.finding import Finding

assert_type(pennytrace.__version__, str)
pennytrace.init()
pennytrace.init(
    service="shop",
    environment="production",
    endpoint="http://127.0.0.1:4318",
    headers={"authorization": "Bearer t"},
    feature="search",
    team="core",
    customer="acme",
    tags={"region": "eu"},
    queue_size=1000,
    spool="/var/lib/shop",
    spool_size="64M",
    propagate=["feature", "team"],
)
assert_type(pennytrace.outgoing_headers(), dict[str, str])
with pennytrace.received({"baggage": "pennytrace.feature=search"}):
    pass
pennytrace.init("shop")  # type: ignore[call-arg]  # by keyword only
assert_type(pennytrace.flush(), bool)
assert_type(pennytrace.flush(timeout=1.5), bool)
assert_type(pennytrace.shutdown(timeout=1), bool)

with pennytrace.tag(feature="search", team=None, customer=42, user="u", session="s", anything=1.5):
    pass
pennytrace.tag("search")  # type: ignore[call-arg]  # by keyword only


@pennytrace.tag(feature="search")
def search(query: str, *, limit: int = 10) -> list[str]:
    return [query] * limit


@pennytrace.tag(feature="search")
async def search_later(query: str) -> list[str]:
    return [query]


@pennytrace.tag(feature="search")
def pages() -> Iterator[int]:
    yield 1


@pennytrace.tag(feature="search")
async def pages_later() -> AsyncIterator[int]:
    yield 1


assert_type(search("penny", limit=2), list[str])
assert_type(next(pages()), int)
search(3)  # type: ignore[arg-type]


async def use() -> None:
    assert_type(await search_later("penny"), list[str])
    async for page in pages_later():
        assert_type(page, int)


def work(item: int) -> str:
    return str(item)


with ThreadPoolExecutor() as pool:
    assert_type(pool.submit(pennytrace.carry(work), 1), Future[str])
pool.submit(pennytrace.carry(work), "1")  # type: ignore[arg-type]

commands: list[Command] = [Run(), Doctor()]
assert_type(Finding(area="a", state="ok", what="w").advice, str)
Finding(area="a", state="good", what="w")  # type: ignore[arg-type]
