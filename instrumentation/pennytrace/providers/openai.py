"""OpenAI's client library, and every server that speaks its language: all calls that cost money over HTTP.

Hooked is the one method that all of them go through; it has been there since openai 1.0.0, and the tests pass with
1.40.0 and with 3.54.0. WebSockets are in `openai_realtime`. Where usage is documented stands in `docs`, and in the
types of the library; what other providers add, in their own references.

Jobs (batches, background responses, videos, fine-tuning, runs of evals) are charged once, whoever reads of them.
A batch is charged in total, and by its lines where the app reads the file of results; embeddings have no time in
their lines, and stay with the total. Moderations are free: measured, with nothing used.

Not covered: assistants, agents and graders, whose usage is a part of no response; storage and containers, which are
billed by time; fine-tuning that is billed by the hour; a file of results that is read by `files.retrieve_content`;
an extension of a video counts all its seconds.
"""

from __future__ import annotations

import functools
from typing import Any, Final

from pennytrace._calls.provider import Body, Fields, Operation, Provider
from pennytrace._calls.stainless import Stainless
from pennytrace._calls.usage import fields, texts
from pennytrace.providers._openai import jobs
from pennytrace.providers._openai import usage as used
from pennytrace.providers._openai.hosts import name_of_host as name_of_host  # by which the tests know it

_NOT_TEXT: Final = frozenset({"role", "type", "id", "tool_call_id", "image_url", "input_audio", "file"})
_SMALL: Final = ("id", "model", "service_tier", "usage", "error")
_NOT_DELIVERED: Final = ("response.audio", "response.image")
"""Events of these kinds carry sounds and images."""


def _with_usage(body: Body) -> Body | None:
    options = body.get("stream_options") or {}
    if "include_usage" in options:
        return None
    return {**body, "stream_options": {**options, "include_usage": True}}


def _only_usage(chunk: Fields) -> bool:
    return not chunk.get("choices")


def _delivered(chunk: Fields) -> Any:
    return [list(texts(fields(choice).get("delta"), skip=_NOT_TEXT)) for choice in chunk.get("choices") or ()]


def _completed(chunk: Fields) -> Any:
    return [fields(choice).get("text") for choice in chunk.get("choices") or ()]


def _said(event: Fields) -> Any:
    delta, kind = event.get("delta"), event.get("type")
    return delta if isinstance(delta, str) and not str(kind).startswith(_NOT_DELIVERED) else None


def _conversation(body: Body) -> Any:
    return list(texts([body.get("messages"), body.get("tools")], skip=_NOT_TEXT))


def _context(body: Body) -> Any:
    return list(texts([body.get(name) for name in ("instructions", "input", "tools")], skip=_NOT_TEXT))


def _refuses_usage(error: BaseException) -> bool:
    return getattr(error, "status_code", None) in (400, 422) and "stream_options" in str(error)


def _is_not_azures(client: Any) -> bool:
    return "_api_version" not in vars(client)


_CHAT: Final = Operation(
    name="chat",
    usage=used.chat_usage,
    about=used.about_cost,
    prompt=_conversation,
    delivered=_delivered,
    with_usage=_with_usage,
    only_reports_usage=_only_usage,
    small=_SMALL,
)
_COMPLETION: Final = Operation(
    name="text_completion",
    usage=used.chat_usage,
    about=used.about_cost,
    prompt=lambda body: body.get("prompt"),
    delivered=_completed,
    with_usage=_with_usage,
    only_reports_usage=_only_usage,
    small=_SMALL,
)
RESPONSE: Final = Operation(
    name="chat",
    usage=used.response_usage,
    about=used.about_response,
    describes=used.response_of,
    prompt=_context,
    delivered=_said,
    identity=jobs.in_background,
    beside=used.images_beside(jobs.in_background),
)
_RESPONSE_READ: Final = Operation(
    name="chat",
    usage=used.response_usage,
    about=used.about_response,
    describes=used.response_of,
    identity=jobs.in_background,
    beside=used.images_beside(jobs.in_background),
    later=True,
)
DECISION: Final = Operation(
    name="decision", usage=functools.partial(used.tokens, used.RESPONSE_TOKENS), about=used.about_cost
)
_IMAGES: Final = Operation(
    name="image_generation", usage=used.image_usage, about=used.about_images, beside=used.drawn_beside
)

PROVIDER = Provider(
    id="openai",
    distribution="openai",
    docs="https://platform.openai.com/docs/api-reference/chat/object",
    shape=Stainless("openai._base_client", may_be_own=_is_not_azures),
    operations={
        "POST /chat/completions": _CHAT,
        "POST /completions": _COMPLETION,
        "POST /responses": RESPONSE,
        "POST /responses?beta=true": RESPONSE,
        "POST /responses/compact": RESPONSE,
        "POST /responses/compact?beta=true": RESPONSE,
        "GET /responses/{id}": _RESPONSE_READ,
        "GET /responses/{id}?beta=true": _RESPONSE_READ,
        "POST /responses/{id}/cancel": _RESPONSE_READ,
        "POST /responses/{id}/cancel?beta=true": _RESPONSE_READ,
        "POST /embeddings": Operation(
            name="embeddings",
            usage=functools.partial(used.tokens, used.EMBEDDED_TOKENS),
            about=used.about_cost,
            small=_SMALL,
        ),
        "POST /decisions": DECISION,
        "POST /images/generations": _IMAGES,
        "POST /images/edits": _IMAGES,
        "POST /images/variations": _IMAGES,
        "POST /audio/transcriptions": Operation(name="transcription", usage=used.heard_usage),
        "POST /audio/translations": Operation(name="translation", usage=used.heard_usage),
        "POST /audio/speech": Operation(name="speech", usage=used.spoken_usage),
        "POST /moderations": Operation(name="moderation", usage=used.moderation_usage),
        **jobs.OPERATIONS,
    },
    name_of_host=name_of_host,
    refuses_usage=_refuses_usage,
)
