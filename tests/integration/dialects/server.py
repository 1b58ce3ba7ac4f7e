"""The provider that the real packages call: OpenAI's, Anthropic's and Bedrock's answers over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from tests.instrumentation import openai_server
from tests.integration.dialects.answers import answers


class Provider(openai_server.OpenAI):
    """Answers a request by its path, and as a stream when it asks for one."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = answers()

    def next_answer(self, request: str) -> Any:
        self.answers = answers()  # each with an id of its own
        asked = self.requests[-1][1]
        streamed = isinstance(asked, dict) and asked.get("stream")
        return super().next_answer(unquote(request) + (" stream" if streamed else ""))


@contextmanager
def running() -> Iterator[Provider]:
    told = Provider()
    with openai_server.running(told):
        yield told
