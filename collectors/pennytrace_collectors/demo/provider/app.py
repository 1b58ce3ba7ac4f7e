"""The provider's HTTP interface: chat completions, embeddings, now and then an error, and a page about itself."""

from __future__ import annotations

import array
import asyncio
import base64
import contextlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from pennytrace_collectors.demo.provider.answers import Answer, Models, new_id, tokens_of
from pennytrace_collectors.demo.provider.books import Books
from pennytrace_collectors.demo.provider.page import page

_DIMENSIONS: Final = 1536
_RATE_LIMITED_EVERY: Final = 23  # requests
_BROKEN_EVERY: Final = 41


@dataclass(frozen=True, slots=True)
class Delays:
    """How long the simulated models take, in seconds."""

    first_word: tuple[float, float] = (0.06, 0.2)
    word: float = 0.003

    def before_the_first_word(self) -> float:
        """Return how long to think this time."""
        return random.uniform(*self.first_word)


@dataclass(slots=True)
class _Provider:
    books: Books
    delays: Delays
    faults: bool
    models: Models = field(default_factory=Models)
    requests: int = 0

    async def chat(self, request: Request) -> Response:
        body = await _body(request, "model", "messages")
        answer = self.models.chat(body)
        await asyncio.sleep(self.delays.before_the_first_word())
        if body.get("stream"):
            wanted = bool((body.get("stream_options") or {}).get("include_usage"))
            return StreamingResponse(self._events(answer, wanted), media_type="text/event-stream")
        await asyncio.sleep(self.delays.word * len(answer.words))
        self._bill(answer)
        return JSONResponse(answer.completion())

    async def embeddings(self, request: Request) -> Response:
        body = await _body(request, "model", "input")
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        tokens = sum(tokens_of(str(text)) for text in texts)
        model = str(body["model"])
        plain = body.get("encoding_format") == "float"
        await asyncio.sleep(self.delays.before_the_first_word() / 4)
        self.books.bill(model, model, tokens_in=tokens)
        data = [
            {"object": "embedding", "index": index, "embedding": _embedding(str(text), plain=plain)}
            for index, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "data": data, "model": model, "usage": usage})

    async def about(self, request: Request) -> Response:
        return HTMLResponse(page(self.books.lines(), self.books.turned_away()))

    def sometimes_busy(
        self, serve: Callable[[Request], Awaitable[Response]]
    ) -> Callable[..., Awaitable[Response]]:
        """Let the first attempt of some requests fail, as busy providers do; a retry always gets through."""

        async def answer(request: Request) -> Response:
            self.requests += 1
            fault = self._fault() if request.headers.get("x-stainless-retry-count", "0") == "0" else None
            response = fault or await serve(request)
            response.headers["x-request-id"] = f"req_{new_id()}"
            response.headers["x-simulated"] = "true"
            return response

        return answer

    def _fault(self) -> Response | None:
        if not self.faults:
            return None
        if self.requests % _RATE_LIMITED_EVERY == 0:
            self.books.turn_away(429)
            return _error(
                429, "Rate limit reached (simulated). Please try again in 50ms.", "rate_limit_exceeded"
            )
        if self.requests % _BROKEN_EVERY == 0:
            self.books.turn_away(500)
            return _error(500, "The server had an error while processing your request (simulated).", None)
        return None

    async def _events(self, answer: Answer, include_usage: bool) -> AsyncIterator[str]:
        chunks = list(answer.chunks(include_usage=include_usage))
        for chunk in chunks[:-1]:
            yield f"data: {json.dumps(chunk, separators=(',', ':'))}\n\n"
            await asyncio.sleep(self.delays.word)
        self._bill(answer)  # before the last chunk leaves: who has the whole answer finds it in the books
        yield f"data: {json.dumps(chunks[-1], separators=(',', ':'))}\n\n"
        yield "data: [DONE]\n\n"

    def _bill(self, answer: Answer) -> None:
        usage = answer.usage
        self.books.bill(
            answer.requested,
            answer.served,
            tokens_in=usage.prompt,
            cached=usage.cached,
            tokens_out=usage.completion,
        )


class _BadRequest(Exception):
    """A request that the provider cannot read; its message is for the client."""


def application(books: Books, *, delays: Delays | None = None, faults: bool = True) -> ASGIApp:
    """Return the provider; `faults` are the errors of a busy one, which the SDK retries."""
    provider = _Provider(books, delays or Delays(), faults)
    app = Starlette(
        routes=[
            Route("/", provider.about),
            Route("/v1/chat/completions", provider.sometimes_busy(provider.chat), methods=["POST"]),
            Route("/v1/embeddings", provider.sometimes_busy(provider.embeddings), methods=["POST"]),
        ],
        exception_handlers={_BadRequest: _refuse},
    )

    async def undisturbed(scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(ClientDisconnect):  # who leaves in the middle is not worth a line in the log
            await app(scope, receive, send)

    return undisturbed


async def _body(request: Request, *required: str) -> Mapping[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _BadRequest("We could not parse the JSON body of your request. (simulated)")
    for name in required:
        if not body.get(name):
            raise _BadRequest(f"Missing required parameter: '{name}'. (simulated)")
    return body


async def _refuse(request: Request, error: Exception) -> Response:
    return _error(400, str(error), None)


def _error(status: int, message: str, code: str | None) -> Response:
    kind = {400: "invalid_request_error", 429: "requests", 500: "server_error"}[status]
    headers = {"retry-after-ms": "50"} if status == 429 else {}
    error = {"message": message, "type": kind, "param": None, "code": code}
    return JSONResponse({"error": error}, status, headers)


def _embedding(text: str, *, plain: bool) -> str | list[float]:
    chance = random.Random(text)
    numbers = array.array("f", (chance.uniform(-0.05, 0.05) for _ in range(_DIMENSIONS)))
    return numbers.tolist() if plain else base64.b64encode(numbers.tobytes()).decode()
