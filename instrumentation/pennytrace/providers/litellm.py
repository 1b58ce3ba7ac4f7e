"""LiteLLM: every kind of call, to every provider, through its functions, its `Router` or its proxy.

Hooked are `HTTPHandler.post`, `.get` and their asynchronous twins, through which it sends nearly all requests, each
when it is sent: so what a cache answers, or a mock, is no call, and every attempt of a retry or a fallback is one.
What it sends through openai's library instead (OpenAI, Azure OpenAI and many compatible servers) is recorded there.
Tried with litellm 1.106.

- What is read is what the provider itself answered, by the rules of its own client library, and not what litellm makes
  of it: litellm puts counts of its own making in the place of what was not reported, and does not mark them.
- Where a request is of no known form, litellm's own word for it (`completion`, `rerank`, ...) tells what it is, and
  the names that usage has with most providers are looked for.
- The provider is the one litellm was told, in the conventions' name for it; the model is the one in the request.
- The cost that litellm works out is its own and is left out; one that the provider reports is kept.

- litellm stops reading some streams before their last byte: their call ends when the app lets go of the stream.

Not covered: what litellm sends by its library in Rust (all of `ocr()`, transcription on Bedrock, and Anthropic's
messages where LITELLM_RUST is set), the providers `aiohttp_openai` and `nvidia_riva`, realtime sessions, and jobs
that are charged by how long they ran (Replicate).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from pennytrace import semconv
from pennytrace._calls.asking import Question, count_attempt
from pennytrace._calls.follow import follow
from pennytrace._calls.methods import Adding, Arguments, Method, Methods, http_response
from pennytrace._calls.provider import Body, Fields, Hook, Operation, Provider, Usage
from pennytrace._calls.reading import Asked
from pennytrace._calls.usage import Counts, fields, read_counts, text
from pennytrace._guard import never_break_the_host
from pennytrace.providers import anthropic, bedrock, google_genai, ollama, openai
from pennytrace.providers._openai.hosts import COMPATIBLE, name_of_host

_HANDLERS: Final = "litellm.llms.custom_httpx.http_handler"
_LOGGING: Final = "litellm.litellm_core_utils.litellm_logging"

_PROVIDERS: Final = {
    "anthropic_text": "anthropic",
    "azure": "azure.ai.openai",
    "azure_text": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "bedrock_mantle": "aws.bedrock",
    "cohere_chat": "cohere",
    "codestral": "mistral_ai",
    "fireworks_ai": "fireworks",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "ollama_chat": "ollama",
    "text-completion-codestral": "mistral_ai",
    "together_ai": "together",
    "vertex_ai": "gcp.vertex_ai",
    "vertex_ai_beta": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "watsonx_text": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""What litellm and the conventions call differently."""
_LANGUAGES: Final = frozenset(
    {
        "openai",
        "openai_like",
        "custom_openai",
        "text-completion-openai",
        "hosted_vllm",
        "vllm",
        "lm_studio",
        "llamafile",
        "litellm_proxy",
    }
)
"""What in litellm says only how to speak to a server, and not whose it is: the host tells, if anything does."""

# --- what is asked ------------------------------------------------------------------------------------------


class _Told(NamedTuple):
    """What litellm says of a request that it is about to send."""

    kind: str
    provider: str | None
    model: str | None


_NOTHING_TOLD: Final = _Told("", None, None)
_MOST_TOLD: Final = 1000
_told: dict[str, _Told] = {}
"""What litellm said of a URL, just before it sent a request there: not every request brings that along."""

_KINDS: Final = {
    "completion": "chat",
    "anthropic_messages": "chat",
    "responses": "chat",
    "generate_content": "generate_content",
    "generate_content_stream": "generate_content",
    "text_completion": "text_completion",
    "embedding": "embeddings",
    "image_generation": "image_generation",
    "image_edit": "image_generation",
    "image_variation": "image_generation",
    "transcription": "transcription",
    "speech": "speech",
    "moderation": "moderation",
    "rerank": "rerank",
}
"""The operation's name by litellm's, in which an `a` before it stands for asynchronous."""

_CONVERSE: Final = "Converse"
_INVOKE: Final = "InvokeModel"
_INVOKED: Final = {"embeddings": "embeddings", "image_generation": "images", "rerank": "rerank"}
_PATHS: Final = (
    (re.compile(r"(/api/(?:chat|generate|embed))$"), r"\1"),  # Ollama
    (re.compile(r"(/(?:chat/)?completions|/embeddings|/moderations)$"), r"\1"),
    (re.compile(r"(/responses(?:/[^/]+(?:/cancel)?)?)$"), r"\1"),
    (re.compile(r"(/(?:images|audio)/[a-z]+)$"), r"\1"),
    (re.compile(r"/v\d/messages(/batches(?:/.+)?)?$"), r"/v1/messages\1"),
    (re.compile(r"/anthropic/models/[^/]+:(?:streamR|r)awPredict$"), "/v1/messages"),
    (
        re.compile(r":((?:g|streamG)enerateContent|embedContent|batchEmbedContents|predictLongRunning)$"),
        r"\1",
    ),
    (re.compile(r"/converse$"), _CONVERSE),
    (re.compile(r"/converse-stream$"), f"{_CONVERSE}Stream"),
    (re.compile(r"/invoke-with-response-stream$"), f"{_INVOKE}WithResponseStream"),
)
"""What stands for a request in the operations below, by what its path ends with."""
_MODEL_IN_PATH: Final = re.compile(r"/(?:models?|deployments)/([^/:]+(?::\d+)?)(?=[/:])")


def _question(method: str) -> Callable[[Any, Arguments], Question | None]:
    def question(_: Any, arguments: Arguments) -> Question | None:
        positional, named = arguments
        url = str(named["url"] if "url" in named else positional[0])
        host, port, path = _parts(url)
        told = _told_by(named.get("logging_obj")) or _told.get(_without_query(url), _NOTHING_TOLD)
        operation = _operation(method, path, told)
        if operation is None:
            return None
        body = _body(operation, path, _sent(positional, named))
        return Question(
            method,
            operation,
            body,
            host,
            port,
            bool(named.get("stream")),
            text(body.get("model")) or _model_in(path) or told.model,
            _provider(told.provider, host),
        )

    return question


def _parts(url: str) -> tuple[str, int, str]:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443), parts.path


def _without_query(url: str) -> str:
    return url.partition("?")[0]


def _told_by(logging: Any) -> _Told | None:
    if logging is None:
        return None
    details = fields(fields(logging).get("model_call_details"))
    return _Told(
        text(fields(logging).get("call_type")) or "",
        text(details.get("custom_llm_provider")),
        text(details.get("model")),
    )


def _operation(method: str, path: str, told: _Told) -> str | None:
    """Return what stands for a request in the operations; None when it is nothing that costs money."""
    for pattern, name in _PATHS:
        found = pattern.search(path)
        if found is not None and PROVIDER.operation(method, found.expand(name))[0] is not None:
            return found.expand(name)
    kind = _KINDS.get(told.kind) or _KINDS.get(told.kind.removeprefix("a"))
    if path.endswith("/invoke"):
        return f"{_INVOKE} {_INVOKED.get(kind or '', '')}".rstrip()
    return kind if method == "POST" else None


def _model_in(path: str) -> str | None:
    from urllib.parse import unquote

    found = _MODEL_IN_PATH.search(path)
    return unquote(found[1]) if found else None


def _body(operation: str, path: str, sent: Any) -> Body:
    if operation.startswith(_INVOKE):
        return {"modelId": _model_in(path), "body": sent}
    asked = json.loads(sent) if isinstance(sent, str | bytes) else sent
    body = asked if isinstance(asked, dict) else {}
    return {**body, "modelId": _model_in(path)} if operation.startswith(_CONVERSE) else body


def _sent(positional: Sequence[Any], named: Mapping[str, Any]) -> Any:
    data = positional[1] if len(positional) > 1 else named.get("data")
    return named.get("json") or data


def _provider(name: str | None, host: str) -> str:
    known = name_of_host(host)
    if known != COMPATIBLE or name is None or name in _LANGUAGES:
        return known
    return _PROVIDERS.get(name, name)


@never_break_the_host("noting what litellm is about to send")
def _note(logging: Any, named: Mapping[str, Any]) -> None:
    url, told = text(fields(named.get("additional_args")).get("api_base")), _told_by(logging)
    if url is not None and told is not None:
        if len(_told) >= _MOST_TOLD:
            _told.clear()
        _told[_without_query(url)] = told


def _about_to_send(
    wrapped: Callable[..., Any], logging: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    _note(logging, kwargs)
    return wrapped(*args, **kwargs)


def _sends_again(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    count_attempt()
    return wrapped(*args, **kwargs)


# --- asking for the usage of a stream -----------------------------------------------------------------------


def _with_body(arguments: Arguments, body: Body) -> Arguments | None:
    positional, named = arguments
    headers = {name.lower() for name in named.get("headers") or ()}
    if headers & {"content-length", "x-amz-date"}:  # the body is measured or signed
        return None
    if named.get("json"):
        return positional, {**named, "json": body}
    if len(positional) > 1:
        return (positional[0], json.dumps(body), *positional[2:]), named
    return positional, {**named, "data": json.dumps(body)}


def _with_headers(arguments: Arguments, adding: Adding) -> Arguments:
    positional, named = arguments
    headers = named.get("headers") or {}  # litellm gives them by name, everywhere
    return positional, {**named, "headers": {**headers, **adding(headers)}}


def _hidden(asked: Asked, response: Any) -> Any:
    follow(response, asked, stream=True, hides=True)
    return response


def _refuses_usage(error: BaseException) -> bool:
    said = f"{error} {getattr(error, 'text', '')}"
    return getattr(error, "status_code", None) in (400, 422) and "stream_options" in said


# --- what is answered, where no client library of its own says ------------------------------------------------

_TOKENS: Final[Counts] = {
    "": {
        "input_tokens": semconv.INPUT_TOKENS,
        "output_tokens": semconv.OUTPUT_TOKENS,
        "prompt_tokens": semconv.INPUT_TOKENS,
        "completion_tokens": semconv.OUTPUT_TOKENS,
        "search_units": semconv.SEARCHES,
    },
    "prompt_tokens_details": {"cached_tokens": semconv.CACHE_READ_INPUT_TOKENS},
    "completion_tokens_details": {"reasoning_tokens": semconv.REASONING_OUTPUT_TOKENS},
}
_ONE_TOTAL: Final[Counts] = {"": {"total_tokens": semconv.INPUT_TOKENS}}


def _usage(answer: Fields, _: Body) -> Usage | None:
    """Read the usage wherever most providers have it, and what Cohere billed before what it counted."""
    reported = fields(answer.get("usage")) or fields(fields(answer.get("delta")).get("usage"))
    reported = reported or fields(answer.get("meta"))
    counts: dict[str, int | float] = {}
    for usage in (reported, reported.get("tokens"), reported.get("billed_units")):
        counts.update(read_counts(usage, _TOKENS))
    return counts or None


def _usage_of_input(answer: Fields, body: Body) -> Usage | None:
    """Read the usage of what has no output to count: the total may be all that is said."""
    return _usage(answer, body) or read_counts(answer.get("usage"), _ONE_TOTAL) or None


def _made_images(answer: Fields, body: Body) -> Usage | None:
    images = answer.get("data") or answer.get("images")
    count = {semconv.IMAGES: len(images)} if isinstance(images, list) else {}
    return {**(_usage(answer, body) or {}), **count} or None


def _spoken(_: Fields, body: Body) -> Usage | None:
    said = text(body.get("input")) or text(body.get("text"))
    return {semconv.CHARACTERS: len(said)} if said else None


def _heard(answer: Fields, body: Body) -> Usage | None:
    seconds = answer.get("duration") or fields(answer.get("metadata")).get("duration")
    heard = {semconv.AUDIO_SECONDS: seconds} if isinstance(seconds, int | float) and seconds > 0 else {}
    return {**(_usage(answer, body) or {}), **heard} or None


_USAGE_BY_KIND: Final[Mapping[str, Callable[[Fields, Body], Usage | None]]] = {
    "embeddings": _usage_of_input,
    "rerank": _usage_of_input,
    "image_generation": _made_images,
    "speech": _spoken,
    "transcription": _heard,
}


def _others() -> dict[str, Operation]:
    operations = {
        kind: Operation(name=kind, usage=_USAGE_BY_KIND.get(kind, _usage))
        for kind in sorted(set(_KINDS.values()))
    }
    known, _ = openai.PROVIDER.operation("POST", "/chat/completions")
    if known is not None:  # most speak in chunks of that form, whatever their path
        operations["chat"] = replace(known, usage=_usage, with_usage=None)
    return {f"POST {kind}": operation for kind, operation in operations.items()}


def _documented(operation: Operation) -> Operation:
    """Return how to read what InvokeModel answers where it comes without what boto3 puts around it."""

    def around(answer: Fields) -> Fields:
        return {"document": answer}

    return replace(
        operation,
        usage=lambda answer, body: operation.usage(around(answer), body),
        describes=lambda answer: operation.describes(around(answer)),
        delivered=lambda answer: operation.delivered(around(answer)),
    )


def _known() -> dict[str, Operation]:
    """Return the requests that the client libraries of their own know."""
    known: dict[str, Operation] = {}
    for provider in (bedrock, google_genai, ollama, anthropic, openai):
        known.update(provider.PROVIDER.operations)
    for name, operation in known.items():
        if name.startswith(f"POST {_INVOKE}"):
            known[name] = _documented(operation)
    embeddings = known.get("POST /embeddings")
    if embeddings is not None:
        known["POST /embeddings"] = replace(embeddings, usage=_usage_of_input, small=())
    return known


# --- the hooks ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Handlers:
    """The shape: the methods that send, and those that tell what is sent, without which less is known."""

    methods: Methods

    def hooks(self, provider: Provider) -> Sequence[Hook]:
        """Return the methods to wrap."""
        return (
            *self.methods.hooks(provider),
            Hook(_LOGGING, "Logging.pre_call", _about_to_send, optional=True),
            Hook(_HANDLERS, "AsyncHTTPHandler.single_connection_post_request", _sends_again, optional=True),
        )


def _method(name: str, method: str, *, asynchronous: bool = False) -> Method:
    return Method(
        module=_HANDLERS,
        name=name,
        question=_question(method),
        answer=http_response,
        asynchronous=asynchronous,
        with_body=_with_body,
        hiding=_hidden,
        with_headers=_with_headers,
    )


PROVIDER = Provider(
    id="litellm",
    distribution="litellm",
    docs="https://docs.litellm.ai/docs/completion/usage",
    shape=_Handlers(
        Methods(
            (
                _method("HTTPHandler.post", "POST"),
                _method("HTTPHandler.get", "GET"),
                _method("AsyncHTTPHandler.post", "POST", asynchronous=True),
                _method("AsyncHTTPHandler.get", "GET", asynchronous=True),
            )
        )
    ),
    operations={**_others(), **_known()},
    name_of_host=name_of_host,
    refuses_usage=_refuses_usage,
)
