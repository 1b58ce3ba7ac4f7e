"""Hugging Face's InferenceClient and its asynchronous twin, for all their tasks. Tried with huggingface_hub 2.4.

Hooked are `InferenceClient._inner_post` and `AsyncInferenceClient._inner_post`, through which every task goes, and
`TaskProviderHelper.prepare_request`, only to see which model was asked for: what is sent is the provider's name for it.

- Chats report usage as OpenAI's do; streams are asked for it. A server that refuses that is asked again without.
- Text generation is counted by the server's `details`; without them it is missing, or estimated in a stream.
- Images and the characters of speech are counted here, for no answer says them. Seconds of audio and video are not
  known; these calls, and those of the small tasks, are recorded with their usage missing.
- The provider is read from the routed URL: `huggingface_together`. Which one the router chose by itself is not known
  unless the model's name ends with it (`:together`). With a provider's own key the host is the provider's.

Not covered: the second request with which fal and Replicate fetch what was made, which costs nothing.
"""

from __future__ import annotations

import copy
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from pennytrace import semconv
from pennytrace._calls.asking import Question, answered
from pennytrace._calls.follow import parsed
from pennytrace._calls.items import AsyncItems, Items
from pennytrace._calls.methods import Adding, Arguments, Method, Methods
from pennytrace._calls.provider import Body, Fields, Hook, Operation, Provider, Usage
from pennytrace._calls.reading import Asked
from pennytrace._calls.usage import Counts, fields, read_counts, text, texts
from pennytrace._guard import never_break_the_host
from pennytrace.providers._openai import hosts as openai_hosts

_ROUTER: Final = "router.huggingface.co"
_ENDPOINTS: Final = ".endpoints.huggingface.cloud"
_OWN_ROUTES: Final = frozenset({"v1", ""})
"""First parts of the router's paths that name no provider."""
_POLICIES: Final = frozenset({"fastest", "cheapest", "preferred"})
"""What may stand behind a model's name in the place of a provider."""
_ASKED_FOR: Final = "_pennytrace_model"
"""The field in which the name of the model that the app asked for travels with a request."""
_NAMELESS: Final = frozenset({"dummy", "tgi"})
"""What stands for a model where the server has only one."""
_SHORT: Final = 1 << 16  # bytes of an answer that is read even if it seems to report nothing
_LONGEST: Final = (
    1 << 20
)  # bytes of an answer that are parsed; of what is longer, the end, where usage stands
_END: Final = 1 << 14
_REPORTS: Final = re.compile(rb'"(?:usage|details)"\s*:\s*\{')

_TOKENS: Final[Counts] = {
    "": {"prompt_tokens": semconv.INPUT_TOKENS, "completion_tokens": semconv.OUTPUT_TOKENS},
    "prompt_tokens_details": {
        "cached_tokens": semconv.CACHE_READ_INPUT_TOKENS,
        "audio_tokens": semconv.AUDIO_INPUT_TOKENS,
        "image_tokens": semconv.IMAGE_INPUT_TOKENS,
    },
    "completion_tokens_details": {
        "reasoning_tokens": semconv.REASONING_OUTPUT_TOKENS,
        "audio_tokens": semconv.AUDIO_OUTPUT_TOKENS,
    },
}
_DETAILS: Final[Counts] = {
    "": {"input_length": semconv.INPUT_TOKENS, "generated_tokens": semconv.OUTPUT_TOKENS},
}
_EMBEDDED: Final[Counts] = {"": {"prompt_tokens": semconv.INPUT_TOKENS}}
_NOT_TEXT: Final = frozenset({"role", "type", "id", "tool_call_id", "image_url", "input_audio"})


def _question(_: Any, arguments: Arguments) -> Question:
    request, named = _request(arguments), arguments[1]
    url = urlsplit(request.url)
    body = request.json if isinstance(request.json, dict) else {}
    model = _model(vars(request).get(_ASKED_FOR), request.model, body)
    return Question(
        "POST",
        request.task,
        body,
        url.hostname or "",
        url.port or (80 if url.scheme == "http" else 443),
        bool(named.get("stream")),
        model,
        _routed_to(url.hostname, url.path, model),
    )


def _model(asked: Any, sent: Any, body: Body) -> str | None:
    """Return the model's name; None where there is only the URL of a server."""
    names = (text(asked), text(sent), text(body.get("model")))
    return next((name for name in names if name and "://" not in name and name not in _NAMELESS), None)


def _routed_to(host: str | None, path: str, model: str | None) -> str | None:
    """Return the provider that a request is routed to, None when it is not routed."""
    if host != _ROUTER:
        return None
    provider = path.split("/")[1]
    if provider in _OWN_ROUTES:
        provider = (model or "").partition(":")[2]
    return f"huggingface_{provider}" if provider and provider not in _POLICIES else "huggingface"


def _name_of_host(host: str) -> str:
    return "huggingface" if host.endswith(_ENDPOINTS) else openai_hosts.name_of_host(host)


def _with_body(arguments: Arguments, body: Body) -> Arguments:
    return _changed(arguments, "json", body)


def _with_headers(arguments: Arguments, adding: Adding) -> Arguments:
    headers = _request(arguments).headers
    return _changed(arguments, "headers", {**headers, **adding(headers)})


def _request(arguments: Arguments) -> Any:
    positional, named = arguments
    return positional[0] if positional else named["request_parameters"]


def _changed(arguments: Arguments, field: str, value: Any) -> Arguments:
    positional, named = arguments
    request = copy.copy(_request(arguments))
    setattr(request, field, value)
    return (
        ((request, *positional[1:]), named) if positional else ((), {**named, "request_parameters": request})
    )


def _said(line: str) -> Any:
    """Return what a line of a stream says."""
    return parsed(line[5:].encode()) if line.startswith("data:") and "{" in line else None


def _read(asked: Asked, result: Any) -> Any:
    """End the call with the bytes of a whole answer."""
    if not isinstance(result, bytes):
        return _lines(asked, result, hides=False)
    answer = _answer(result)
    answered(asked, answer[0] if isinstance(answer, list) and answer else answer or {})
    return result


def _answer(document: bytes) -> Any:
    """Return what a whole answer says; None where it is long, and counts nothing: pictures, sounds, vectors."""
    if not document.startswith((b"{", b"[")):
        return None
    if len(document) > _SHORT and not _REPORTS.search(document):
        return None
    return parsed(document if len(document) <= _LONGEST else document[-_END:])


def _lines(asked: Asked, lines: Any, *, hides: bool = True) -> Any:
    """Let the call end with the lines of a stream."""
    if isinstance(lines, AsyncIterator):
        return AsyncItems(lines, asked, meaning=_said, hides=hides)
    return Items(lines, asked, meaning=_said, hides=hides) if isinstance(lines, Iterator) else lines


def _usage(answer: Fields, _: Body) -> Usage | None:
    return read_counts(answer.get("usage"), _TOKENS) or None


def _usage_of_generation(answer: Fields, body: Body) -> Usage | None:
    details = fields(answer.get("details"))
    counts = dict(read_counts(details, _DETAILS))
    prefill = details.get("prefill")
    if prefill and isinstance(prefill, list):
        counts.setdefault(semconv.INPUT_TOKENS, len(prefill))
    return counts or _usage(answer, body)


def _usage_of_embedding(answer: Fields, _: Body) -> Usage | None:
    return read_counts(answer.get("usage"), _EMBEDDED) or None


def _image(_: Fields, __: Body) -> Usage:
    return {semconv.IMAGES: 1}


def _spoken(_: Fields, body: Body) -> Usage | None:
    inside = fields(body.get("input"))
    said = (body.get("inputs"), body.get("text"), body.get("input"), inside.get("text"), inside.get("prompt"))
    spoken = next((value for value in said if isinstance(value, str)), None)
    return None if spoken is None else {semconv.CHARACTERS: len(spoken)}


def _unknown(_: Fields, __: Body) -> None:
    return None


def _with_usage(body: Body) -> Body | None:
    options = body.get("stream_options") or {}
    if "include_usage" in options:
        return None
    return {**body, "stream_options": {**options, "include_usage": True}}


def _only_usage(chunk: Fields) -> bool:
    return bool(chunk.get("usage")) and not chunk.get("choices")


def _refuses_usage(error: BaseException) -> bool:
    response = getattr(error, "response", None)
    if getattr(response, "status_code", None) not in (400, 422):
        return False
    return "stream_options" in str(error) or "stream_options" in getattr(response, "text", "")


def _conversation(body: Body) -> Any:
    return list(texts([body.get("messages"), body.get("tools")], skip=_NOT_TEXT))


def _delivered(chunk: Fields) -> Any:
    return [list(texts(fields(choice).get("delta"), skip=_NOT_TEXT)) for choice in chunk.get("choices") or ()]


def _prompt(body: Body) -> Any:
    return [body.get("inputs"), body.get("prompt")]


def _generated(event: Fields) -> Any:
    token = fields(event.get("token"))
    return None if token.get("special") else token.get("text")


_CHAT: Final = Operation(
    name="chat",
    usage=_usage,
    prompt=_conversation,
    delivered=_delivered,
    with_usage=_with_usage,
    only_reports_usage=_only_usage,
    small=("id", "model", "usage", "service_tier"),
)
_GENERATION: Final = Operation(
    name="text_completion", usage=_usage_of_generation, prompt=_prompt, delivered=_generated
)
_IMAGE: Final = Operation(name="image_generation", usage=_image)
_VIDEO: Final = Operation(name="video_generation", usage=_unknown)
_SPEECH: Final = Operation(name="speech", usage=_spoken)
_WRITING: Final = Operation(name="text_completion", usage=_usage)
_CLASSIFICATION: Final = Operation(name="classification", usage=_usage)


@dataclass(frozen=True, slots=True)
class _Tasks:
    """The shape of a library whose methods are told by others what is asked."""

    methods: Methods

    def hooks(self, provider: Provider) -> Sequence[Hook]:
        prepare = "TaskProviderHelper.prepare_request"
        return [
            *self.methods.hooks(provider),
            Hook("huggingface_hub.inference._providers._common", prepare, _prepare, optional=True),
        ]


def _prepare(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    request = wrapped(*args, **kwargs)
    _note_model(request, kwargs.get("model"))
    return request


@never_break_the_host("noting which model is asked for")
def _note_model(request: Any, model: Any) -> None:
    setattr(request, _ASKED_FOR, model)


def _method(client: str, *, asynchronous: bool = False) -> Method:
    module = "_client" if not asynchronous else "_generated._async_client"
    return Method(
        module=f"huggingface_hub.inference.{module}",
        name=f"{client}._inner_post",
        question=_question,
        answer=_read,
        asynchronous=asynchronous,
        with_body=_with_body,
        hiding=_lines,
        with_headers=_with_headers,
    )


PROVIDER = Provider(
    id="huggingface",
    distribution="huggingface_hub",
    docs="https://huggingface.co/docs/inference-providers/tasks/chat-completion",
    shape=_Tasks(Methods((_method("InferenceClient"), _method("AsyncInferenceClient", asynchronous=True)))),
    operations={
        "POST conversational": _CHAT,
        "POST text-generation": _GENERATION,
        "POST feature-extraction": Operation(name="embeddings", usage=_usage_of_embedding),
        "POST text-to-image": _IMAGE,
        "POST image-to-image": _IMAGE,
        "POST text-to-video": _VIDEO,
        "POST image-to-video": _VIDEO,
        "POST text-to-speech": _SPEECH,
        "POST automatic-speech-recognition": Operation(name="transcription", usage=_usage),
        "POST translation": _WRITING,
        "POST summarization": _WRITING,
        "POST fill-mask": _WRITING,
        "POST image-to-text": _WRITING,
        "POST question-answering": _WRITING,
        "POST table-question-answering": _WRITING,
        "POST document-question-answering": _WRITING,
        "POST visual-question-answering": _WRITING,
        "POST {task}": _CLASSIFICATION,
    },
    name_of_host=_name_of_host,
    refuses_usage=_refuses_usage,
)
