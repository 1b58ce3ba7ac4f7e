"""Ollama's client library: chat, generate and embed, whole and streamed. Tried with ollama 0.6.

Hooked are `Client._request` and `AsyncClient._request`, through which every call of the library goes; pulling and
listing models pass. A generation is counted in the last event of its stream. Ollama's cloud bills by subscription,
and a server of one's own by its GPU: what is recorded here are the tokens.
"""

from __future__ import annotations

from typing import Any, Final

from pennytrace import semconv
from pennytrace._calls.asking import Question
from pennytrace._calls.methods import Arguments, Method, Methods, generators
from pennytrace._calls.provider import Body, Fields, Operation, Provider, Usage
from pennytrace._calls.usage import Counts, read_counts, texts

_MODULE: Final = "ollama._client"
_TOKENS: Final[Counts] = {
    "": {"prompt_eval_count": semconv.INPUT_TOKENS, "eval_count": semconv.OUTPUT_TOKENS},
}
_NOT_TEXT: Final = frozenset({"role", "images", "tool_name", "type"})


def _question(client: Any, arguments: Arguments) -> Question:
    positional, named = arguments
    _, method, path = positional[:3]
    url = client._client.base_url
    port = url.port or (80 if url.scheme == "http" else 443)
    return Question(method, path, named.get("json") or {}, url.host, port, bool(named.get("stream")))


def _usage(answer: Fields, _: Body) -> Usage | None:
    return read_counts(answer, _TOKENS) or None


def _conversation(body: Body) -> Any:
    asked = [body.get(name) for name in ("messages", "tools", "system", "prompt", "suffix", "input")]
    return list(texts(asked, skip=_NOT_TEXT))


def _delivered(event: Fields) -> Any:
    parts = [event.get(name) for name in ("message", "response", "thinking")]
    return list(texts(parts, skip=_NOT_TEXT))


def _generation(name: str) -> Operation:
    return Operation(name=name, usage=_usage, prompt=_conversation, delivered=_delivered)


PROVIDER = Provider(
    id="ollama",
    distribution="ollama",
    docs="https://docs.ollama.com/api/usage",
    shape=Methods(
        (
            Method(module=_MODULE, name="Client._request", question=_question, answer=generators),
            Method(
                module=_MODULE,
                name="AsyncClient._request",
                question=_question,
                answer=generators,
                asynchronous=True,
            ),
        )
    ),
    operations={
        "POST /api/chat": _generation("chat"),
        "POST /api/generate": _generation("text_completion"),
        "POST /api/embed": Operation(name="embeddings", usage=_usage, prompt=_conversation),
    },
    name_of_host=lambda host: "ollama",
)
