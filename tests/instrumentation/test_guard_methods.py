"""The same for libraries that are followed event by event: each step is broken, and Ollama's library works on."""

from __future__ import annotations

from typing import Any

import ollama
import pytest

import pennytrace
from tests.instrumentation.sink import Sink
from tests.instrumentation.test_guard import STEPS, broken
from tests.instrumentation.test_ollama import MESSAGES, MODEL, WORDS, Server, asynchronously, client, server

__all__ = ["broken", "client", "server"]


def said(events: Any) -> str:
    return "".join(event.message.content or "" for event in events)


@pytest.mark.parametrize("broken", sorted(STEPS), indirect=True)
def test_a_step_that_fails_changes_nothing_for_the_app(
    broken: str, client: ollama.Client, server: Server, sink: Sink
) -> None:
    async def ask(client: ollama.AsyncClient) -> str:
        stream: Any = await client.chat(model=MODEL, messages=MESSAGES, stream=True)
        return said([event async for event in stream])

    pennytrace.init(endpoint=sink.url)
    with pennytrace.tag(feature="f"):
        assert client.chat(model=MODEL, messages=MESSAGES).message.content == "".join(WORDS)
    assert said(client.chat(model=MODEL, messages=MESSAGES, stream=True)) == "".join(WORDS)
    left: Any = client.chat(model=MODEL, messages=MESSAGES, stream=True)
    assert next(left).message.content == WORDS[0]
    left.close()
    assert asynchronously(server, ask) == "".join(WORDS)
    server.status = 404
    with pytest.raises(ollama.ResponseError):
        client.chat(model=MODEL, messages=MESSAGES)
    pennytrace.shutdown(0.2)
