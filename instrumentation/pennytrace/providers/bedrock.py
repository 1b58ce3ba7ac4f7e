"""Amazon Bedrock through boto3 or botocore: Converse and InvokeModel, whole and streamed. Tried with boto3 1.44.

Hooked is `BaseClient._make_api_call`, through which every call to AWS goes; all but those of the service
`bedrock-runtime` pass at the cost of a comparison. What the app reads stays what it was: a `StreamingBody` is
followed while the app reads it, an `EventStream` while the app iterates over it, and neither is read ahead.

- Bedrock reports input beside what was read from and written to a cache: the total here is their sum, unless
  `totalTokens` says that it was included. OpenAI's models include it in the streams of Converse, whatever their total.
- InvokeModel answers as each maker of models does; where the answer has no counts, or was not read to its end, those
  of the headers `x-amzn-bedrock-*-token-count`, or of `amazon-bedrock-invocationMetrics` in a stream, are taken.
- The model is the one asked for, an inference profile or ARN included: an answer names none, except when a prompt
  router chose it. The id of a call is AWS's request id, as CloudTrail and the invocation log have it.
- Latency-optimised inference, which has prices of its own, is given as the service tier `optimized`.

Not covered: asynchronous invocations (their results stand in S3), bidirectional streams (boto3 has none),
guardrails, which are billed by text unit, and aiobotocore.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pennytrace import semconv
from pennytrace._calls.asking import Question, answered
from pennytrace._calls.call import Outcome, error_type
from pennytrace._calls.ending import end_with_the_process
from pennytrace._calls.items import Items
from pennytrace._calls.methods import Arguments, Method, Methods
from pennytrace._calls.provider import Body, Fields, Operation, Provider, Usage
from pennytrace._calls.reading import Asked, Reading
from pennytrace._calls.usage import Counts, fields, read_counts, text, texts
from pennytrace._guard import never_break_the_host

_STREAMED: Final = frozenset({"ConverseStream", "InvokeModelWithResponseStream"})
_DOCUMENTS_A_SEARCH: Final = 100
_NOT_TEXT: Final = frozenset(
    {
        "role",
        "type",
        "id",
        "toolUseId",
        "tool_use_id",
        "signature",
        "data",
        "bytes",
        "image",
        "images",
        "source",
    }
)

_INPUT: Final = "input"  # without what was read from or written to a cache
_CONVERSED: Final[Counts] = {
    "": {
        "inputTokens": _INPUT,
        "outputTokens": semconv.OUTPUT_TOKENS,
        "cacheReadInputTokens": semconv.CACHE_READ_INPUT_TOKENS,
        "cacheWriteInputTokens": semconv.CACHE_WRITE_INPUT_TOKENS,
        "cacheReadInputTokenCount": semconv.CACHE_READ_INPUT_TOKENS,  # Nova, in InvokeModel
        "cacheWriteInputTokenCount": semconv.CACHE_WRITE_INPUT_TOKENS,
    },
}
_ANTHROPIC: Final[Counts] = {
    "": {
        "input_tokens": _INPUT,
        "output_tokens": semconv.OUTPUT_TOKENS,
        "cache_read_input_tokens": semconv.CACHE_READ_INPUT_TOKENS,
        "cache_creation_input_tokens": semconv.CACHE_WRITE_INPUT_TOKENS,
    },
    "cache_creation": {
        "ephemeral_5m_input_tokens": semconv.CACHE_WRITE_5M,
        "ephemeral_1h_input_tokens": semconv.CACHE_WRITE_1H,
    },
}
_OPENAI: Final[Counts] = {
    "": {"prompt_tokens": semconv.INPUT_TOKENS, "completion_tokens": semconv.OUTPUT_TOKENS},
    "prompt_tokens_details": {"cached_tokens": semconv.CACHE_READ_INPUT_TOKENS},
    "completion_tokens_details": {"reasoning_tokens": semconv.REASONING_OUTPUT_TOKENS},
}
_TOP_LEVEL: Final[Counts] = {
    "": {
        "prompt_token_count": semconv.INPUT_TOKENS,  # Llama
        "generation_token_count": semconv.OUTPUT_TOKENS,
        "inputTextTokenCount": semconv.INPUT_TOKENS,  # Titan
        "totalOutputTextTokenCount": semconv.OUTPUT_TOKENS,
    },
}
_METRICS: Final[Counts] = {
    "": {
        "inputTokenCount": _INPUT,
        "outputTokenCount": semconv.OUTPUT_TOKENS,
        "cacheReadInputTokenCount": semconv.CACHE_READ_INPUT_TOKENS,
        "cacheWriteInputTokenCount": semconv.CACHE_WRITE_INPUT_TOKENS,
    },
}
_HEADERS: Final = {
    "x-amzn-bedrock-input-token-count": "inputTokenCount",
    "x-amzn-bedrock-output-token-count": "outputTokenCount",
    "x-amzn-bedrock-cache-read-input-token-count": "cacheReadInputTokenCount",
    "x-amzn-bedrock-cache-write-input-token-count": "cacheWriteInputTokenCount",
}
_TTLS: Final = {"5m": semconv.CACHE_WRITE_5M, "1h": semconv.CACHE_WRITE_1H}


# --- what is asked ------------------------------------------------------------------------------------------


def _question(client: Any, arguments: Arguments) -> Question | None:
    if client._service_model.service_name != "bedrock-runtime":
        return None
    positional, _ = arguments
    name, parameters = positional[:2]
    model = text(parameters.get("modelId"))
    host, port = _address(client.meta.endpoint_url)
    tier = parameters.get("serviceTier")
    body = {**parameters, "service_tier": tier if isinstance(tier, str) else fields(tier).get("type")}
    kind = f"{name} {_kind(model or '')}".rstrip() if name == "InvokeModel" else name
    return Question("POST", kind, body, host, port, name in _STREAMED, model)


@functools.lru_cache(maxsize=256)
def _address(url: str) -> tuple[str, int]:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)


def _kind(model: str) -> str:
    """Return what kind of model an id names; an ARN may hide it."""
    for kind, words in (
        ("embeddings", ("embed",)),
        ("rerank", ("rerank",)),
        ("images", ("titan-image", "canvas", "stability.", "stable-")),
    ):
        if any(word in model for word in words):
            return kind
    return ""


def _asked_document(body: Body) -> Fields:
    """Return what InvokeModel is asked, which is JSON in a form of the model's own."""
    document = body.get("body")
    return fields(json.loads(document)) if isinstance(document, str | bytes | bytearray) else {}


def _invoked(body: Body) -> Any:
    return list(texts(_asked_document(body), skip=_NOT_TEXT))


def _conversation(body: Body) -> Any:
    parts = [body.get(part) for part in ("messages", "system", "toolConfig")]
    return list(texts(parts, skip=_NOT_TEXT))


# --- counts -------------------------------------------------------------------------------------------------


def _with_total(counts: Usage, *, inclusive: bool = False) -> dict[str, int | float]:
    """Return counts with the total of the input, in the place of what was neither read from nor written to a cache."""
    held = dict(counts)
    if _INPUT in held:
        held[semconv.INPUT_TOKENS] = held.pop(_INPUT) + (0 if inclusive else _cached(held))
    return {name: count for name, count in held.items() if count or name in _TOTALS}


_TOTALS: Final = frozenset({semconv.INPUT_TOKENS, semconv.OUTPUT_TOKENS})


def _cached(counts: Usage) -> int | float:
    names = (semconv.CACHE_READ_INPUT_TOKENS, semconv.CACHE_WRITE_INPUT_TOKENS)
    return sum(counts.get(name, 0) for name in names)


def _tokens(usage: Any, *, includes_cache: bool = False) -> dict[str, int | float]:
    """Return the counts of Converse, and of Nova."""
    counts = read_counts(usage, _CONVERSED)
    details = {
        _TTLS[ttl]: detail.get("inputTokens")
        for detail in map(fields, fields(usage).get("cacheDetails") or ())
        if (ttl := str(detail.get("ttl"))) in _TTLS
    }
    cached = _cached(counts)
    total = fields(usage).get("totalTokens")
    inclusive = bool(cached) and (
        total == counts.get(_INPUT, 0) + counts.get(semconv.OUTPUT_TOKENS, 0)
        or (includes_cache and counts.get(_INPUT, 0) >= cached)
    )
    return {
        **_with_total(counts, inclusive=inclusive),
        **read_counts(details, {"": {name: name for name in details if details[name]}}),
    }


def _conversed(answer: Fields, _: Body) -> Usage | None:
    """Read a response of Converse."""
    return _tokens(answer.get("usage")) or None


def _conversed_event(event: Fields, body: Body) -> Usage | None:
    """Read an event of ConverseStream."""
    return _tokens(event.get("usage"), includes_cache="openai." in str(body.get("modelId"))) or None


def _of_document(answer: Fields, _: Body) -> Usage | None:
    """Read what InvokeModel answered, or a part of it: what the model's maker says before what AWS says."""
    document = fields(answer.get("document"))
    metrics = fields(document.get("amazon-bedrock-invocationMetrics")) or _counts_in_headers(answer)
    if document.get("type") == "message_stop" and "cacheReadInputTokenCount" not in metrics:
        return None  # Anthropic's own counts, which came before, are complete
    return {**_with_total(read_counts(metrics, _METRICS)), **_as_its_maker_counts(document)} or None


def _as_its_maker_counts(document: Fields) -> dict[str, int | float]:
    usage = fields(document.get("usage") or fields(document.get("message")).get("usage"))
    found: dict[str, int | float] = {**read_counts(document, _TOP_LEVEL), **read_counts(usage, _OPENAI)}
    # The usage of an event of Anthropic's is complete, or else the output alone.
    found.update(_with_total(read_counts(usage, _ANTHROPIC)))
    found.update(_tokens(usage or fields(document.get("metadata")).get("usage")))
    results = [fields(result).get("tokenCount") for result in document.get("results") or ()]
    counted = [count for count in results if isinstance(count, int)]
    if counted and semconv.OUTPUT_TOKENS not in found:  # Titan, of every result it wrote
        found[semconv.OUTPUT_TOKENS] = sum(counted)
    return found


def _counts_in_headers(answer: Fields) -> Fields:
    headers = fields(fields(answer.get("ResponseMetadata")).get("HTTPHeaders"))
    named = {name: str(headers.get(header, "")) for header, name in _HEADERS.items()}
    return {name: int(count) for name, count in named.items() if count.isdecimal()}


def _pictured(answer: Fields, _: Body) -> Usage | None:
    images = fields(answer.get("document")).get("images")
    return {semconv.IMAGES: sum(map(bool, images))} if isinstance(images, list) else None


def _ranked(answer: Fields, body: Body) -> Usage | None:
    """Return the searches, of 100 documents at most each, as AWS bills them."""
    documents = _asked_document(body).get("documents")
    if not answer.get("document") or not isinstance(documents, list):
        return None
    return {semconv.SEARCHES: max(1, -(-len(documents) // _DOCUMENTS_A_SEARCH))}


# --- what else is said --------------------------------------------------------------------------------------


def _described(answer: Fields) -> Fields:
    router = fields(fields(answer.get("trace")).get("promptRouter"))
    return {
        "id": fields(answer.get("ResponseMetadata")).get("RequestId"),
        "model": router.get("invokedModelId"),
        "service_tier": _served(answer),
        "error": answer.get("error") or fields(answer.get("document")).get("error"),
    }


def _served(answer: Fields) -> Any:
    """Return the tier, as Converse has it in its answer and InvokeModel in its headers."""
    latency = fields(answer.get("performanceConfig")).get("latency") or answer.get("performanceConfigLatency")
    tier = answer.get("serviceTier")
    return latency if latency == "optimized" else fields(tier).get("type") or tier


def _said(event: Fields) -> Any:
    return list(texts(event.get("delta"), skip=_NOT_TEXT))


_SAID_IN: Final = (
    "delta",
    "contentBlockDelta",
    "outputText",
    "generation",
    "outputs",
    "choices",
    "text",
    "generations",
)


def _said_in_document(event: Fields) -> Any:
    document = fields(event.get("document"))
    return list(texts([document.get(part) for part in _SAID_IN], skip=_NOT_TEXT))


# --- following what the app reads ---------------------------------------------------------------------------


def _followed(asked: Asked, response: Any) -> Any:
    asked.call.attempts += int(fields(response.get("ResponseMetadata")).get("RetryAttempts") or 0)
    about = {name: value for name, value in response.items() if name not in ("stream", "body")}
    stream = response.get("stream") or response.get("body")
    if stream is None:
        answered(asked, response)
    elif asked.call.request.stream:
        _follow_events(stream, asked, about)
    else:
        _follow_body(stream, asked, about)
    return response


def _follow_events(stream: Any, asked: Asked, about: Fields) -> None:
    """Follow the raw events, which the stream parses after they have passed: so it stays what it is."""
    events = _Events(stream._event_generator, asked, meaning=functools.partial(_meaning, about))
    stream._event_generator = events
    _follow(stream._raw_stream, events, _closing)


def _meaning(about: Fields, event: Any) -> Fields:
    """Return what an event says, with what was said before the stream."""
    headers, content = event.headers, json.loads(event.payload or b"{}")
    kind = headers.get(":event-type")
    if kind is None:
        return {**about, "error": {"type": headers.get(":exception-type") or headers.get(":error-code")}}
    if kind == "chunk":
        return {**about, "document": json.loads(base64.b64decode(content["bytes"]))}
    return {**about, **content}


class _Events(Items):
    """The raw events of a stream on their way to the app."""

    @property
    def busy(self) -> bool:
        """Whether an event is being read."""
        raw_events: Any = self._inner
        return bool(raw_events.gi_running)


def _follow_body(body: Any, asked: Asked, about: Fields) -> None:
    _follow(body._raw_stream, _Body(asked, about), _reading)


def _follow(raw: Any, following: Any, followed: Callable[[Any], type[Any]]) -> None:
    """Give a response of the HTTP library, which every way to read leads to, a class of its own class's.

    A class and not attributes of the instance, which would hold it in a cycle.
    """
    kind: Any = type(raw)
    raw.pennytrace_following = following
    raw.__class__ = followed(kind)


@functools.lru_cache(maxsize=16)
def _closing(kind: Any) -> type[Any]:
    """Return the class with its way to be closed followed."""

    def close(raw: Any) -> None:
        following = raw.pennytrace_following
        if not following.busy:  # or the library closes it, because of an error that it is about to raise
            following.end()
        kind.close(raw)

    return type(kind.__name__, (kind,), {"__module__": kind.__module__, "close": close})


@functools.lru_cache(maxsize=16)
def _reading(kind: Any) -> type[Any]:
    """Return the class with its ways to be read and closed followed."""

    def read(raw: Any, amt: int | None = None, *args: Any, **kwargs: Any) -> Any:
        following = raw.pennytrace_following
        following.busy = True
        try:
            data = kind.read(raw, amt, *args, **kwargs)
        except BaseException as error:
            following.end(error)
            raise
        finally:
            following.busy = False
        if data or amt != 0:
            following.keep(data, last=amt is None)
        return data

    closing = _closing(kind)
    return type(kind.__name__, (closing,), {"__module__": kind.__module__, "read": read})


class _Body:
    """A body on its way to the app."""

    def __init__(self, asked: Asked, about: Fields) -> None:
        self._asked = asked
        self._about = about
        self._parts: list[bytes] = []
        self._ended = False
        self.busy = False
        """Whether a part of it is being read."""
        end_with_the_process(self)

    @never_break_the_host("reading a Bedrock body along")
    def keep(self, data: bytes, *, last: bool) -> None:
        """Note what the app has read."""
        self._parts.append(data)
        if last or not data:
            self.end(complete=True)

    @never_break_the_host("ending a Bedrock body")
    def end(self, error: BaseException | None = None, *, complete: bool = False) -> None:
        """End the call; only the first time counts."""
        if not self._ended:
            self._ended = True
            self._asked.call.finish(functools.partial(self._outcomes, error_type(error)))

    def _outcomes(self, error: str | None) -> Iterable[Outcome]:
        _, operation, body = self._asked
        reading = Reading(operation, body)
        reading.take({**self._about, "document": _document(b"".join(self._parts))})
        return (reading.outcome(error, estimate=False),)

    def disown(self) -> None:
        """Leave the call to the process that began it."""
        self._ended = True
        self._asked.call.disown()

    def __del__(self) -> None:
        self.end()


def _document(content: bytes) -> Mapping[str, Any]:
    """Return a document; nothing when it was not read to its end."""
    try:
        return fields(json.loads(content))
    except ValueError:
        return {}


def _converse(usage: Callable[[Fields, Body], Usage | None]) -> Operation:
    return Operation(name="chat", usage=usage, describes=_described, prompt=_conversation, delivered=_said)


def _invoke(name: str, usage: Callable[[Fields, Body], Usage | None] = _of_document) -> Operation:
    return Operation(
        name=name, usage=usage, describes=_described, prompt=_invoked, delivered=_said_in_document
    )


PROVIDER = Provider(
    id="bedrock",
    distribution="botocore",
    docs="https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html",
    shape=Methods(
        (
            Method(
                module="botocore.client",
                name="BaseClient._make_api_call",
                question=_question,
                answer=_followed,
            ),
        )
    ),
    operations={
        "POST Converse": _converse(_conversed),
        "POST ConverseStream": _converse(_conversed_event),
        "POST InvokeModel": _invoke("chat"),
        "POST InvokeModelWithResponseStream": _invoke("chat"),
        "POST InvokeModel embeddings": _invoke("embeddings"),
        "POST InvokeModel images": _invoke("image_generation", _pictured),
        "POST InvokeModel rerank": _invoke("rerank", _ranked),
    },
    name_of_host=lambda host: "aws.bedrock",
)
