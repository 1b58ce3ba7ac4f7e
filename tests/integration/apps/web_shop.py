"""An app with one line of pennytrace and the real openai client: every way of calling that the first version knows.

Run with OPENAI_BASE_URL and OPENAI_API_KEY, and how often to do it all; prints how many chunks its streams had.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, Final

import openai

import pennytrace

pennytrace.init()

ASK: Final[dict[str, Any]] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "how heavy is a penny?"}],
}


def checkout(client: openai.OpenAI) -> None:
    """Counts for this function."""
    client.chat.completions.create(**ASK)


@pennytrace.tag(feature="search", team="growth")
def search(client: openai.OpenAI) -> int:
    """Streams, and looks the question up."""
    client.embeddings.create(model="text-embedding-3-small", input=["a penny", "two pennies"])
    return sum(1 for _ in client.chat.completions.create(**ASK, stream=True))


async def support(client: openai.AsyncOpenAI) -> int:
    """Several at once, each for a customer of its own."""

    async def one(customer: str) -> int:
        with pennytrace.tag(feature="support", customer=customer):
            await client.chat.completions.create(**ASK)
            return len([chunk async for chunk in await client.chat.completions.create(**ASK, stream=True)])

    return sum(await asyncio.gather(*(one(f"customer {number}") for number in range(3))))


async def main(rounds: int) -> None:
    """Do it all, some times over."""
    chunks = 0
    async with openai.AsyncOpenAI(max_retries=0) as asynchronous:
        with openai.OpenAI(max_retries=0) as client:
            for _ in range(rounds):
                checkout(client)
                chunks += search(client) + await support(asynchronous)
    sys.stdout.write(json.dumps({"chunks": chunks}) + "\n")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
