"""An app that asks vLLM's server many things at once: streams, aborts, shared prefixes, several answers.

It prints, for each call, what the client saw of it, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import openai

import pennytrace

MODEL = "tiny-llama"
ORDER = "The quick brown fox jumps over the lazy dog while the cashier counts to one hundred and twelve. "


def tell(feature: str, id: str | None, usage: Any = None, **more: Any) -> None:
    """Print what was seen of a call."""
    details = getattr(usage, "prompt_tokens_details", None)
    seen = {} if usage is None else {"input": usage.prompt_tokens, "output": usage.completion_tokens}
    if details is not None:
        seen["cached"] = details.cached_tokens
    sys.stdout.write(json.dumps({"feature": feature, "id": id, **seen, **more}) + "\n")


def tagged(feature: str, call: Callable[[], Awaitable[Any]]) -> Any:
    """Start a call under its feature."""

    async def run() -> Any:
        with pennytrace.tag(feature=feature, customer="acme"):
            return await call()

    return asyncio.create_task(run())


def arguments(text: str, tokens: int, **more: Any) -> dict[str, Any]:
    """A request for an answer of exactly so many tokens."""
    messages = [{"role": "user", "content": text}]
    fixed = {"ignore_eos": True}
    return {"model": MODEL, "messages": messages, "max_tokens": tokens, "extra_body": fixed, **more}


async def whole(client: openai.AsyncOpenAI, feature: str, text: str, tokens: int, **more: Any) -> None:
    """A chat that is not streamed."""
    answer = await client.chat.completions.create(**arguments(text, tokens, **more))
    tell(feature, answer.id, answer.usage)


async def streamed(client: openai.AsyncOpenAI, feature: str, text: str, tokens: int) -> None:
    """A chat that is."""
    asked: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    id, usage = None, None
    async for chunk in await client.chat.completions.create(**arguments(text, tokens), **asked):
        id, usage = chunk.id, chunk.usage or usage
    tell(feature, id, usage)


async def left(client: openai.AsyncOpenAI, feature: str) -> None:
    """A stream that nobody reads to its end."""
    stream = await client.chat.completions.create(**arguments(ORDER, 400), stream=True)
    seen, id = 0, None
    async for chunk in stream:
        seen, id = seen + 1, chunk.id
        if seen == 1:
            break
    await stream.close()
    tell(feature, id)


async def until(client: openai.AsyncOpenAI, metric: str, number: int) -> None:
    """Wait until the engine says that so many requests are `running` or `waiting`."""
    url = str(client.base_url).removesuffix("/v1/") + "/metrics"
    for _ in range(200):
        with await asyncio.to_thread(urllib.request.urlopen, url) as answer:
            lines = answer.read().decode().splitlines()
        found = [line for line in lines if line.startswith(f"vllm:num_requests_{metric}{{")]
        if float(found[0].split()[-1]) >= number:
            return
        await asyncio.sleep(0.01)


async def main() -> None:
    """Ask all of it."""
    pennytrace.init(service="load")
    client = openai.AsyncOpenAI(max_retries=0, timeout=120)
    await asyncio.gather(
        *(tagged("whole", partial(whole, client, "whole", f"{n} {ORDER}", 10 + n)) for n in range(3)),
        *(tagged("streamed", partial(streamed, client, "streamed", f"say {n}", 20)) for n in range(3)),
        tagged("answers", lambda: whole(client, "answers", "three", 8, n=3)),
    )
    beside = [tagged("beside", partial(whole, client, "beside", f"{n}", 400)) for n in range(3)]
    await until(client, "running", 3)
    await tagged("left", lambda: left(client, "left"))
    await asyncio.gather(*beside)
    for _ in range(2):
        await tagged("shared", lambda: whole(client, "shared", ORDER * 2, 4))
    completed = await tagged(
        "lines",
        lambda: client.completions.create(
            model=MODEL, prompt=["one", "and another one"], max_tokens=6, extra_body={"ignore_eos": True}
        ),
    )
    tell("lines", completed.id, completed.usage)
    await asyncio.gather(
        *(tagged("busy", partial(whole, client, "busy", f"{n} {ORDER}", 60)) for n in range(12))
    )
    await client.close()
    pennytrace.flush()


asyncio.run(main())
