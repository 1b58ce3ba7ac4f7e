"""A provider that is a transport inside the process, so that no socket of the client blurs a figure.

As from a real one, every chunk of a stream comes in a read of its own, with `"usage": null` in it where usage was
asked for. It serves every openai version: those before 3 are built on httpx, the later ones on httpx2.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final

NO_SUCH_MODEL: Final = "gpt-none"
"""A request for it fails."""
_HEAD: Final = {"id": "chatcmpl-1", "created": 1, "model": "gpt-4o-mini-2024-07-18"}
_USAGE: Final = {
    "prompt_tokens": 12,
    "completion_tokens": 100,
    "total_tokens": 112,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}


def clients(*, chunks: int) -> tuple[Any, Any]:
    """Return a client and an asynchronous one; a stream brings so many chunks, and one more with the usage."""
    openai = importlib.import_module("openai")
    httpx = importlib.import_module(_http_library(openai))
    transport = httpx.MockTransport(_answering(httpx, chunks))
    return (
        openai.OpenAI(api_key="none", max_retries=0, http_client=httpx.Client(transport=transport)),
        openai.AsyncOpenAI(api_key="none", max_retries=0, http_client=httpx.AsyncClient(transport=transport)),
    )


def _http_library(openai: Any) -> str:
    module: str = openai.DefaultHttpxClient.__mro__[1].__module__
    return module.partition(".")[0]


def _answering(httpx: Any, chunks: int) -> Callable[[Any], Any]:
    completion = _completion()
    plain, counted = _events(chunks, with_usage=False), _events(chunks, with_usage=True)

    class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, pieces: Sequence[bytes]) -> None:
            self._pieces = pieces

        def __iter__(self) -> Iterator[bytes]:
            return iter(self._pieces)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for piece in self._pieces:
                yield piece

    def answer(request: Any) -> Any:
        asked = json.loads(request.content)
        if asked["model"] == NO_SUCH_MODEL:
            return httpx.Response(
                404, json={"error": {"message": "no such model", "code": "model_not_found"}}
            )
        if not asked.get("stream"):
            return httpx.Response(200, content=completion, headers={"Content-Type": "application/json"})
        with_usage = (asked.get("stream_options") or {}).get("include_usage")
        pieces = Pieces(counted if with_usage else plain)
        return httpx.Response(200, stream=pieces, headers={"Content-Type": "text/event-stream"})

    return answer


def _completion() -> bytes:
    message = {"role": "assistant", "content": "About 3.56 grams."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": _USAGE}).encode()


def _events(chunks: int, *, with_usage: bool) -> list[bytes]:
    usage = {"usage": None} if with_usage else {}
    word: dict[str, Any] = {"index": 0, "delta": {"content": " word"}, "finish_reason": None}
    first = {**word, "delta": {"role": "assistant", "content": " word"}}
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    events = [_event(choices=[choice], **usage) for choice in [first, *[word] * (chunks - 2), last]]
    if with_usage:
        events.append(_event(choices=[], usage=_USAGE))
    return [*events, b"data: [DONE]\n\n"]


def _event(**fields: object) -> bytes:
    return b"data: " + json.dumps({**_HEAD, "object": "chat.completion.chunk", **fields}).encode() + b"\n\n"
