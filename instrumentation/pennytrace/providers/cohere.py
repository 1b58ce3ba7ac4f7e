"""Cohere's client library: chat, generate, embed, rerank and the rest of its API. Tried with cohere 7.3.

Hooked are `HttpClient.request` and `HttpClient.stream` and their asynchronous twins, through which every call of
`Client`, `ClientV2` and their resources goes; they call themselves to try again, so a call and its retries are one.

- Cohere says what it bills (`billed_units`) beside what the model saw (`tokens`, with a prompt of Cohere's own in it,
  which costs nothing): the tokens here are the billed ones, and the others only where nothing is said to be billed.
- Ranking is billed by the search, pictures to embed by their tokens, or where none are reported by the picture.
- An answer of Cohere's names no model: the one that was asked for is the one that is priced.

Not covered: classifications, embed jobs, batches, fine-tuning and connectors, whose units have no name here or whose
results stand elsewhere; and `BedrockClient`, `SagemakerClient` and the clients of OCI, which others bill.
"""

from __future__ import annotations

import re
from types import TracebackType
from typing import Any, Final

from pennytrace import semconv
from pennytrace._calls.asking import Question, count_attempt, failed, inside
from pennytrace._calls.call import Outcome
from pennytrace._calls.follow import follow
from pennytrace._calls.methods import Arguments, Method, Methods
from pennytrace._calls.provider import Body, Fields, Operation, Provider, Usage
from pennytrace._calls.reading import Asked
from pennytrace._calls.usage import fields, texts
from pennytrace._guard import never_break_the_host

_MODULE: Final = "cohere.core.http_client"
_BILLED_BY_OTHERS: Final = frozenset({"cohere.aws_client", "cohere.oci_client"})
_NOT_TEXT: Final = frozenset(
    {"role", "type", "id", "image_url", "url", "tool_call_id", "model", "input_type"}
)

_REPORTS: Final = re.compile(rb'"billed_units"|"tokens"\s*:\s*\{')
_BILLED: Final = {
    "output_tokens": semconv.OUTPUT_TOKENS,
    "search_units": semconv.SEARCHES,
    "pages": semconv.PAGES,
}


# --- what is asked ------------------------------------------------------------------------------------------


def _whole_question(client: Any, arguments: Arguments) -> Question | None:
    if arguments[1].get("retries"):
        count_attempt()
        return None
    return _question(client, arguments)


def _stream_question(client: Any, arguments: Arguments) -> Question | None:
    question = _question(client, arguments)
    return None if question is None else question._replace(stream=True)


def _question(client: Any, arguments: Arguments) -> Question | None:
    positional, named = arguments
    if _is_billed_by_others(client.httpx_client):
        return None
    path = positional[0] if positional else named.get("path")
    host, port = _address(client.get_base_url(named.get("base_url")))
    body = fields(named.get("json")) or fields(named.get("data"))
    return Question(named["method"], f"/{path}", body, host, port)


def _is_billed_by_others(http_client: Any) -> bool:
    hooks = http_client.event_hooks.get("request", ())
    return any(getattr(hook, "__module__", "") in _BILLED_BY_OTHERS for hook in hooks)


def _address(url: str) -> tuple[str, int]:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)


def _prompt(body: Body) -> Any:
    parts = (
        "messages",
        "message",
        "chat_history",
        "preamble",
        "documents",
        "tools",
        "prompt",
        "texts",
        "inputs",
    )
    return list(texts([body.get(part) for part in parts], skip=_NOT_TEXT))


# --- what is answered ---------------------------------------------------------------------------------------


def _usage(answer: Fields, _: Body) -> Usage | None:
    counts = _counts(answer)
    billed = _whole_numbers(counts.get("billed_units")) or _whole_numbers(counts.get("tokens"))
    found = {name: billed[key] for key, name in _BILLED.items() if key in billed}
    found.update(_input(billed))
    cached = _whole_numbers(counts).get("cached_tokens", 0)
    if 0 < cached <= found.get(semconv.INPUT_TOKENS, 0):
        found[semconv.CACHE_READ_INPUT_TOKENS] = cached
    return found or None


def _counts(answer: Fields) -> Fields:
    """Return where the counts stand: differently in both versions of the API, whole and in the end of a stream."""
    end = fields(answer.get("delta")) or fields(answer.get("response"))
    return fields(answer.get("usage") or answer.get("meta") or end.get("usage") or end.get("meta"))


def _whole_numbers(counts: Any) -> dict[str, int]:
    """Return the counts, which Cohere declares as floating-point numbers."""
    return {
        name: int(count)
        for name, count in fields(counts).items()
        if type(count) in (int, float) and count >= 0 and count == int(count)
    }


def _input(billed: dict[str, int]) -> dict[str, int]:
    pictures = billed.get("image_tokens", 0)
    found: dict[str, int] = {}
    if {"input_tokens", "text_tokens", "image_tokens"} & billed.keys():
        found[semconv.INPUT_TOKENS] = max(
            billed.get("input_tokens", 0), billed.get("text_tokens", 0) + pictures
        )
    if pictures:
        found[semconv.IMAGE_INPUT_TOKENS] = pictures
    elif billed.get("images"):
        found[semconv.IMAGES] = billed["images"]
    return found


def _described(answer: Fields) -> Fields:
    end = fields(answer.get("response"))
    id = answer.get("id") or answer.get("generation_id") or end.get("generation_id")
    return {"id": id, "error": fields(answer.get("delta")).get("error")}


def _delivered(event: Fields) -> Any:
    said = event.get("text") if event.get("event_type") != "stream-end" else None
    return list(texts([said, event.get("delta"), event.get("tool_call_delta")], skip=_NOT_TEXT))


def _followed(asked: Asked, response: Any) -> Any:
    """See to the end of a call with a response of the HTTP library, which the client library has yet to judge."""
    if response.status_code >= 400:
        outcome = Outcome({}, semconv.MISSING, error=str(response.status_code))
        asked.call.finish(lambda: (outcome,))
    else:
        follow(response, asked, stream=asked.call.request.stream)
    return response


class _Streamed:
    """Takes the place of the context manager that sends the request when it is entered."""

    def __init__(self, inner: Any, asked: Asked) -> None:
        self._inner = inner
        self._asked = asked

    def __enter__(self) -> Any:
        try:
            with inside(self._asked.call):
                response = self._inner.__enter__()
        except BaseException as error:
            failed(self._asked, error)
            raise
        _follow_stream(self._asked, response)
        return response

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        return self._inner.__exit__(kind, error, trace)

    async def __aenter__(self) -> Any:
        try:
            with inside(self._asked.call):
                response = await self._inner.__aenter__()
        except BaseException as error:
            failed(self._asked, error)
            raise
        _follow_stream(self._asked, response)
        return response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        return await self._inner.__aexit__(kind, error, trace)


@never_break_the_host("following a stream")
def _follow_stream(asked: Asked, response: Any) -> None:
    _followed(asked, response)


def _streamed(asked: Asked, manager: Any) -> Any:
    return _Streamed(manager, asked)


def _operation(name: str) -> Operation:
    return Operation(
        name=name,
        usage=_usage,
        describes=_described,
        prompt=_prompt,
        delivered=_delivered,
        reports=_REPORTS,
    )


PROVIDER = Provider(
    id="cohere",
    distribution="cohere",
    docs="https://docs.cohere.com/reference/chat",
    shape=Methods(
        (
            Method(module=_MODULE, name="HttpClient.request", question=_whole_question, answer=_followed),
            Method(module=_MODULE, name="HttpClient.stream", question=_stream_question, answer=_streamed),
            Method(
                module=_MODULE,
                name="AsyncHttpClient.request",
                question=_whole_question,
                answer=_followed,
                asynchronous=True,
            ),
            Method(
                module=_MODULE, name="AsyncHttpClient.stream", question=_stream_question, answer=_streamed
            ),
        )
    ),
    operations={
        "POST /v1/chat": _operation("chat"),
        "POST /v2/chat": _operation("chat"),
        "POST /v1/generate": _operation("text_completion"),
        "POST /v1/summarize": _operation("text_completion"),
        "POST /v1/embed": _operation("embeddings"),
        "POST /v2/embed": _operation("embeddings"),
        "POST /v1/rerank": _operation("rerank"),
        "POST /v2/rerank": _operation("rerank"),
        "POST /v2/audio/transcriptions": _operation("transcription"),
        "POST /v2/parse": _operation("ocr"),
    },
    name_of_host=lambda host: "cohere",
)
