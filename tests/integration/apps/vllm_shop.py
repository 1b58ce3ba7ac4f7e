"""An app on a real engine: one line of pennytrace, several features, and what the engine itself says of each.

Run with OPENAI_BASE_URL and OPENAI_API_KEY; prints one JSON line a feature. Everything that it reports comes from
the engine: the usage in responses that the app sees, and the engine's own counters before and after.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, cast

import openai
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam
from opentelemetry.sdk.trace import TracerProvider

import pennytrace

pennytrace.init()

MODEL: Final = "tiny-llama"
SHORT: Final = "where is my parcel?"
LONG: Final = "summarise what the customer asked, and translate the answer of the cashier. " * 4
_COUNTERS: Final = {
    "input_tokens": "prompt_tokens_total",
    "cached_tokens": "prompt_tokens_cached_total",
    "output_tokens": "generation_tokens_total",
    "calls": "request_success_total",
}

client = openai.OpenAI(max_retries=0)


@dataclass
class Seen:
    """What the app saw of the calls of one feature."""

    calls: int = 0
    usages: list[dict[str, int]] = field(default_factory=list)
    """Of the responses that show it to the app."""
    texts: list[str] = field(default_factory=list)
    usage_chunks: int = 0
    """Chunks of streams that carry usage."""
    empty_chunks: int = 0
    """Chunks of streams without a choice."""
    trace_id: str = ""
    span_id: str = ""
    error: str = ""

    def answered(self, text: str | None, usage: CompletionUsage | None) -> None:
        """Note a whole answer."""
        self.calls += 1
        self.texts.append(text or "")
        if usage is not None:
            details = usage.prompt_tokens_details
            cached = (details.cached_tokens or 0) if details else 0
            self.usages.append(
                {
                    "input_tokens": usage.prompt_tokens,
                    "cached_tokens": cached,
                    "output_tokens": usage.completion_tokens,
                }
            )

    def streamed(self, chunks: Iterable[ChatCompletionChunk]) -> None:
        """Note a stream that was read to its end."""
        usage, text = None, ""
        for chunk in chunks:
            self.empty_chunks += not chunk.choices
            self.usage_chunks += chunk.usage is not None
            usage = chunk.usage or usage
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
        self.answered(text, usage)


def asking(text: str, tokens: int) -> dict[str, Any]:
    """A request whose answer has exactly that many tokens."""
    message: ChatCompletionMessageParam = {"role": "user", "content": text}
    return {
        "model": MODEL,
        "messages": [message],
        "max_tokens": tokens,
        "temperature": 0,
        "extra_body": {"ignore_eos": True},
    }


def recommend(seen: Seen) -> None:
    """Nobody tags these: they count for this function."""
    for tokens in (5, 11, 17):
        answer = client.chat.completions.create(**asking(SHORT, tokens))
        seen.answered(answer.choices[0].message.content, answer.usage)


@pennytrace.tag(feature="search", team="growth", customer="acme")
def search(seen: Seen) -> None:
    """Streams of an app that does not ask for usage."""
    for tokens in (7, 13):
        seen.streamed(client.chat.completions.create(**asking(SHORT, tokens), stream=True))


@pennytrace.tag(feature="translate")
def translate(seen: Seen) -> None:
    """Streams of an app that asks for usage itself."""
    for tokens in (3, 19):
        request = {**asking(SHORT, tokens), "stream_options": {"include_usage": True}}
        seen.streamed(client.chat.completions.create(**request, stream=True))


@pennytrace.tag(feature="faq")
def faq(seen: Seen) -> None:
    """The same long prompt again and again, of which the engine keeps most in its cache."""
    for _ in range(3):
        answer = client.chat.completions.create(**asking(LONG, 4))
        seen.answered(answer.choices[0].message.content, answer.usage)
    seen.streamed(client.chat.completions.create(**asking(LONG, 4), stream=True))


@pennytrace.tag(feature="variants")
def variants(seen: Seen) -> None:
    """Raw responses, and the SDK's own helper for streams."""
    raw = client.chat.completions.with_raw_response.create(**asking(SHORT, 6))
    answer = raw.parse()
    seen.answered(answer.choices[0].message.content, answer.usage)
    with client.chat.completions.stream(**asking(SHORT, 6)) as stream:
        seen.answered("".join(event.delta for event in stream if event.type == "content.delta"), None)


@pennytrace.tag(feature="drafts")
def drafts(seen: Seen) -> None:
    """Three answers to one question: the engine works on three prompts, the response bills one."""
    answer = client.chat.completions.create(**{**asking(SHORT, 6), "n": 3, "temperature": 1})
    seen.answered(answer.choices[0].message.content, answer.usage)


async def summaries(seen: Seen) -> None:
    """Concurrent calls of a tagged coroutine."""

    @pennytrace.tag(feature="summaries")
    async def one(client: openai.AsyncOpenAI, tokens: int) -> None:
        answer = await client.chat.completions.create(**asking(LONG, tokens))
        seen.answered(answer.choices[0].message.content, answer.usage)

    async with openai.AsyncOpenAI(max_retries=0) as asynchronous:
        await asyncio.gather(*(one(asynchronous, tokens) for tokens in (2, 8, 14, 20)))


async def chat(seen: Seen) -> None:
    """Concurrent streams inside one tag."""

    async def one(client: openai.AsyncOpenAI, tokens: int) -> None:
        stream = await client.chat.completions.create(**asking(SHORT, tokens), stream=True)
        seen.streamed([chunk async for chunk in stream])

    with pennytrace.tag(feature="chat", user="u-7"):
        async with openai.AsyncOpenAI(max_retries=0) as asynchronous:
            await asyncio.gather(*(one(asynchronous, tokens) for tokens in (4, 9, 15)))


def basket(seen: Seen) -> None:
    """A call inside a span of the app's own tracing: it joins that trace, and counts for its route."""
    tracer = TracerProvider().get_tracer("shop")
    with tracer.start_as_current_span("POST /basket", attributes={"http.route": "/basket"}) as span:
        context = span.get_span_context()
        seen.trace_id, seen.span_id = f"{context.trace_id:032x}", f"{context.span_id:016x}"
        answer = client.chat.completions.create(**asking(SHORT, 12))
    seen.answered(answer.choices[0].message.content, answer.usage)


@pennytrace.tag(feature="misspelt")
def misspelt(seen: Seen) -> None:
    """A call that the engine refuses."""
    try:
        client.chat.completions.create(**{**asking(SHORT, 12), "model": "tiny-lama"})
    except openai.NotFoundError as error:
        seen.error = type(error).__name__


@pennytrace.tag(feature="abandoned")
def abandoned(seen: Seen) -> None:
    """A stream that the app leaves after two pieces of text."""
    with client.chat.completions.create(**asking(SHORT, 200), stream=True) as stream:
        for chunk in stream:
            if piece := chunk.choices[0].delta.content:
                seen.texts.append(piece)
            if len(seen.texts) == 2:
                break


def counters() -> dict[str, int]:
    """What the engine has counted since it was started."""
    address = os.environ["OPENAI_BASE_URL"].removesuffix("/v1") + "/metrics"
    with urllib.request.urlopen(address, timeout=30) as answer:
        metrics = answer.read().decode()
    found = {}
    for name, counter in _COUNTERS.items():
        samples = re.findall(rf"^vllm:{counter}\{{.*\}} (\S+)$", metrics, re.MULTILINE)
        found[name] = int(sum(map(float, samples)))
    return found


def counted(before: dict[str, int], calls: int) -> dict[str, int]:
    """What the engine has counted since `before`, once it has counted that many calls."""
    deadline = time.monotonic() + 30
    while True:
        now = counters()
        since = {name: now[name] - before[name] for name in now}
        if since["calls"] >= calls or time.monotonic() > deadline:
            return since
        time.sleep(0.05)


def tell(feature: str, work: Callable[[Seen], Any]) -> None:
    """Run a feature and print what the app saw, and what the engine counted."""
    before, seen = counters(), Seen()
    if asyncio.iscoroutine(running := work(seen)):
        asyncio.run(running)
    told = {"feature": feature, **dataclasses.asdict(seen), "engine": counted(before, seen.calls)}
    sys.stdout.write(json.dumps(told) + "\n")


def main() -> None:
    """Run every feature, one after the other."""
    features = {
        "vllm_shop.recommend": recommend,
        "search": search,
        "translate": translate,
        "faq": faq,
        "variants": variants,
        "drafts": drafts,
        "summaries": summaries,
        "chat": chat,
        "/basket": basket,
        "misspelt": misspelt,
        "abandoned": abandoned,
    }
    for feature, work in features.items():
        tell(feature, cast(Callable[[Seen], Any], work))


if __name__ == "__main__":
    main()
