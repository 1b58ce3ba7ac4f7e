"""An app that asks a server of its own for whom it asks: one JSON line a call, with the id that the app saw.

Run with OPENAI_BASE_URL and OPENAI_API_KEY; an argument `embeddings` asks for those, and for nothing else.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, Final

import openai

import pennytrace

pennytrace.init(team="shop", tags={"not": "sent"})

MODEL: Final = "tiny-llama"
MESSAGES: Final[Any] = [{"role": "user", "content": "where is my parcel?"}]
THEIR_PARENT: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"

client = openai.OpenAI(max_retries=0)


def chat() -> str:
    return client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=4).id


def stream() -> str:
    with client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=4, stream=True) as chunks:
        return [chunk.id for chunk in chunks][-1]


def asynchronous() -> str:
    async def ask() -> str:
        async with openai.AsyncOpenAI(max_retries=0) as client:
            return (await client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=4)).id

    return asyncio.run(ask())


def completion() -> str:
    return client.completions.create(model=MODEL, prompt=["one", "two"], max_tokens=4).id


def drafts() -> str:
    return client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=4, n=2).id


def response() -> str:
    return client.responses.create(model=MODEL, input="where is my parcel?", max_output_tokens=16).id


def traced() -> str:
    headers = {"Traceparent": THEIR_PARENT, "Tracestate": "congo=t61rcWkgMzE"}
    return client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=4, extra_headers=headers
    ).id


def embeddings() -> str:
    answer: Any = client.embeddings.create(model=MODEL, input=["one", "two"])
    return str(answer.model_extra["id"])


def tell(call: str, id: str) -> None:
    sys.stdout.write(json.dumps({"call": call, "id": id}) + "\n")


def main() -> None:
    """Make each call under a feature of its own, and the last one under none."""
    calls = (
        [embeddings]
        if "embeddings" in sys.argv
        else [chat, stream, asynchronous, completion, drafts, response, traced]
    )
    for call in calls:
        with pennytrace.tag(feature=f"{call.__name__}, ä=b", customer="acme", user="u-1", session="s-1"):
            tell(call.__name__, call())
    tell("untagged", calls[0]())


if __name__ == "__main__":
    main()
    pennytrace.shutdown()
