"""Google's Gen AI client library, for the Gemini API and for Vertex AI. Tried with google-genai 3.4.

Hooked are `BaseApiClient._request` and `_async_request`, through which models, chats and batches go, with one call
for a request and its retries; `_request_once` and its twin, which count those; and `BaseSDK.do_request` and its twin,
through which interactions go. Streams are followed above the HTTP library, so aiohttp, httpx, httpx2 and requests are
all the same.

- Thoughts are reported beside the candidates and billed as output; what tools return to the model is reported
  beside the prompt and billed as input: both totals here are sums.
- Grounding with web search is billed by the prompt up to Gemini 2.5, and by the query that was executed since
  Gemini 3 (https://ai.google.dev/gemini-api/docs/google-search#pricing): web searches are counted so. What is free
  of charge every day is not known here.
- A video is charged by the seconds that were asked for when its request is accepted; when they were left to the
  model, its usage is missing. The operation that is polled says nothing of seconds.
- An interaction is charged once, under its id, for it can be read again; one in the background when it is read.

Not covered: the live API (WebSockets), results of a batch that stand in a file or in BigQuery, tuning jobs, the
hours that a cached content is stored, and grounding with maps or with one's own data.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Final, NamedTuple

from pennytrace import semconv
from pennytrace._calls.asking import Question, count_attempt
from pennytrace._calls.call import Outcome
from pennytrace._calls.items import AsyncItems, Items
from pennytrace._calls.methods import Arguments, Method, Methods, http_response
from pennytrace._calls.provider import About, Body, Fields, Identity, Operation, Provider, Usage
from pennytrace._calls.reading import Asked, each
from pennytrace._calls.usage import Counts, fields, read_counts, text, texts

_CLIENT: Final = "google.genai._api_client"
_INTERACTIONS: Final = "google.genai._gaos.basesdk"
_SHORT: Final = 1 << 16  # characters; a longer answer is read at once, so that it does not wait in memory
_GROUNDED_BY_PROMPT: Final = re.compile(r"gemini-[12]\b")
_RESOURCE: Final = re.compile(r"/((?:interactions|batches)(?:/[^/]+)?)$")


class _Names(NamedTuple):
    """What a flavour of the API calls its counts."""

    prompt: str
    cached: str
    tools: str
    answer: str
    thoughts: str
    total: str
    prompt_details: str
    cached_details: str
    tools_details: str
    answer_details: str
    tokens: str


_GENERATED: Final = _Names(
    "promptTokenCount",
    "cachedContentTokenCount",
    "toolUsePromptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "totalTokenCount",
    "promptTokensDetails",
    "cacheTokensDetails",
    "toolUsePromptTokensDetails",
    "candidatesTokensDetails",
    "tokenCount",
)
_INTERACTED: Final = _Names(
    "total_input_tokens",
    "total_cached_tokens",
    "total_tool_use_tokens",
    "total_output_tokens",
    "total_thought_tokens",
    "total_tokens",
    "input_tokens_by_modality",
    "cached_tokens_by_modality",
    "tool_use_tokens_by_modality",
    "output_tokens_by_modality",
    "tokens",
)
_INPUT: Final = {
    "AUDIO": semconv.AUDIO_INPUT_TOKENS,
    "IMAGE": semconv.IMAGE_INPUT_TOKENS,
    "DOCUMENT": semconv.IMAGE_INPUT_TOKENS,  # the model sees its pages, and they are billed as images
    "VIDEO": semconv.VIDEO_INPUT,
}
_CACHED: Final = {
    "AUDIO": semconv.AUDIO_CACHE_READ_INPUT_TOKENS,
    "IMAGE": semconv.IMAGE_CACHE_READ_INPUT_TOKENS,
    "DOCUMENT": semconv.IMAGE_CACHE_READ_INPUT_TOKENS,
    "VIDEO": semconv.VIDEO_CACHE_READ,
}
_OUTPUT: Final = {
    "AUDIO": semconv.AUDIO_OUTPUT_TOKENS,
    "IMAGE": semconv.IMAGE_OUTPUT_TOKENS,
    "VIDEO": semconv.VIDEO_OUTPUT,
}
_TIERS: Final = {
    "ON_DEMAND": "default",
    "ON_DEMAND_PRIORITY": "priority",
    "ON_DEMAND_FLEX": "flex",
    "ON_DEMAND_OFFPEAK": "offpeak",
    "PROVISIONED_THROUGHPUT": "provisioned",
}
_NOT_TEXT: Final = frozenset(
    {"role", "inlineData", "fileData", "thoughtSignature", "id", "type", "mimeType", "data", "uri"}
)


# --- what is asked ------------------------------------------------------------------------------------------


def _question(_: Any, arguments: Arguments) -> Question:
    positional, named = arguments
    request = positional[0] if positional else named["http_request"]
    stream = bool(named.get("stream") or (len(positional) > 2 and positional[2]))
    body = request.data if isinstance(request.data, dict) else {}
    if "serviceTier" in body:
        body = {**body, "service_tier": body["serviceTier"]}
    host, port, path = _parts(request.url)
    target, colon, verb = path.rpartition(":")
    if not colon:
        return Question(request.method.upper(), _resource(path), body, host, port)
    return Question("POST", _kind(verb, body), body, host, port, stream, _model(target))


def _sent(_: Any, arguments: Arguments) -> None:
    """Count a request that is sent again; it is no call of its own."""
    positional, named = arguments
    request = positional[0] if positional else named["http_request"]
    if hasattr(request, "pennytrace_sent"):
        count_attempt()
    request.pennytrace_sent = True


def _asked_of_interactions(_: Any, arguments: Arguments) -> Question:
    positional, named = arguments
    request = named["request"] if "request" in named else positional[1]
    host, port, path = _parts(str(request.url))
    resource = _resource(path)
    body = json.loads(request.content) if request.content else {}
    if body.get("background"):
        resource += " in the background"
    # An agent has no model of its own to name: what it costs is said by its own name.
    model = text(body.get("model")) or text(body.get("agent"))
    return Question(request.method, resource, body, host, port, bool(body.get("stream")), model)


def _parts(url: str) -> tuple[str, int, str]:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443), parts.path


def _resource(path: str) -> str:
    found = _RESOURCE.search(path)
    return found[1] if found else path


def _kind(verb: str, body: Body) -> str:
    """Return what is asked: Vertex AI has one verb for embeddings and for images."""
    if verb != "predict":
        return verb
    first = next(iter(body.get("instances") or ()), None)
    return "predict embeddings" if "content" in fields(first) else "predict images"


def _model(target: str) -> str:
    _, found, model = target.rpartition("models/")
    return model if found and "tunedModels/" not in target else "/".join(target.split("/")[-2:])


def name_of_host(host: str) -> str:
    """Return the provider behind `host`: Vertex AI, or the Gemini API and what stands in for it."""
    return "gcp.vertex_ai" if "aiplatform" in host else "gcp.gemini"


def _prompt(body: Body) -> Any:
    parts = ("contents", "systemInstruction", "tools", "requests", "instances", "input", "system_instruction")
    return list(texts([body.get(part) for part in parts], skip=_NOT_TEXT))


# --- what is answered ---------------------------------------------------------------------------------------


def _followed(asked: Asked, response: Any) -> Any:
    """See to the end of a call, given the library's own response: its text, or a stream that it has yet to read."""
    if asked.call.request.stream:
        response.asked = asked
        kind: Any = type(response)
        response.__class__ = _streaming(kind)
        return response
    document = response.response_stream[0] if response.response_stream else ""
    if len(document) > _SHORT:
        outcomes = list(_outcomes(asked, document))
        asked.call.finish(lambda: outcomes)
    else:
        asked.call.finish(functools.partial(_outcomes, asked, document))
    return response


def _outcomes(asked: Asked, document: str) -> Iterable[Outcome]:
    return each(asked.operation, asked.body, json.loads(document) if document else {})


@functools.lru_cache(maxsize=16)
def _streaming(kind: Any) -> type[Any]:
    """Return the class of a response with its ways to read a stream followed.

    A class and not attributes of the instance: those would hold the response in a cycle, and a stream that the app
    leaves would end only when the garbage is collected.
    """

    def segments(response: Any) -> Iterator[Any]:
        return Items(kind.segments(response), response.asked)

    def chunks(response: Any) -> AsyncIterator[Any]:
        return AsyncItems(kind.async_segments(response), response.asked)

    names = {"__module__": kind.__module__, "segments": segments, "__aiter__": chunks}
    return type(kind.__name__, (kind,), names)


def _counted(counts: Fields, names: _Names, *, ended: bool) -> dict[str, int]:
    """Return the totals, each with what is a part of it; proto3 leaves out what is 0."""
    known: Counts = {"": {name: name for name in names}}
    held = read_counts(counts, known)
    found: dict[str, int] = {}
    tools = int(held.get(names.tools, 0))
    if names.prompt in held:
        found[semconv.INPUT_TOKENS] = int(held[names.prompt]) + tools
    if names.answer in held or names.thoughts in held:
        found[semconv.OUTPUT_TOKENS] = int(held.get(names.answer, 0)) + int(held.get(names.thoughts, 0))
    elif ended and names.total in held:
        found[semconv.OUTPUT_TOKENS] = max(0, int(held[names.total]) - found.get(semconv.INPUT_TOKENS, 0))
    parts = {
        semconv.CACHE_READ_INPUT_TOKENS: int(held.get(names.cached, 0)),
        semconv.REASONING_OUTPUT_TOKENS: int(held.get(names.thoughts, 0)),
        semconv.TOOL_PROMPT: tools,
    }
    found.update({name: count for name, count in parts.items() if count})
    return found


def _modalities(counts: Fields, names: _Names) -> dict[str, int]:
    found: dict[str, int] = {}
    for part, attributes in (
        (names.prompt_details, _INPUT),
        (names.tools_details, _INPUT),
        (names.cached_details, _CACHED),
        (names.answer_details, _OUTPUT),
    ):
        for detail in map(fields, counts.get(part) or ()):
            name = attributes.get(str(detail.get("modality")).upper())
            tokens = detail.get(names.tokens)
            if name is not None and type(tokens) is int and tokens > 0:
                found[name] = found.get(name, 0) + tokens
    return found


def _candidates(response: Fields) -> list[Fields]:
    return [fields(candidate) for candidate in response.get("candidates") or ()]


def _generated(response: Fields, _: Body) -> Usage | None:
    counts = fields(response.get("usageMetadata"))
    # Until its end a stream may report the prompt alone, although it has delivered text.
    ended = bool(response.get("promptFeedback")) or any(
        "finishReason" in candidate for candidate in _candidates(response)
    )
    searches = _web_searches(response)
    return {
        **_counted(counts, _GENERATED, ended=ended),
        **_modalities(counts, _GENERATED),
        **({semconv.WEB_SEARCHES: searches} if searches else {}),
    } or None


def _web_searches(response: Fields) -> int:
    """Return what is billed of grounding with web search."""
    queries = 0
    for candidate in _candidates(response):
        grounding = fields(candidate.get("groundingMetadata"))
        asked = [*(grounding.get("webSearchQueries") or ()), *(grounding.get("imageSearchQueries") or ())]
        queries += sum(map(bool, asked))
    by_prompt = _GROUNDED_BY_PROMPT.search(str(response.get("modelVersion")))
    return min(queries, 1) if by_prompt else queries


def _described(response: Fields) -> Fields:
    counts = fields(response.get("usageMetadata"))
    tier = text(counts.get("serviceTier")) or text(counts.get("trafficType"))
    failure = fields(response.get("error"))
    return {
        "id": response.get("responseId"),
        "model": response.get("modelVersion"),
        "service_tier": tier and _TIERS.get(tier, tier.lower()),
        "error": {"type": failure.get("status")} if failure else None,
    }


def _delivered(response: Fields) -> Any:
    return [list(texts(candidate.get("content"), skip=_NOT_TEXT)) for candidate in _candidates(response)]


def _embedded(response: Fields, _: Body) -> Usage | None:
    counted = read_counts(response.get("usageMetadata"), {"": {"promptTokenCount": semconv.INPUT_TOKENS}})
    if counted:
        modalities = _modalities(fields(response.get("usageMetadata")), _GENERATED)
        return {**counted, **modalities}
    return _embedded_by_vertex(response)


def _embedded_by_vertex(response: Fields) -> Usage | None:
    """Return the tokens, which every embedding has its own count of; where there is none, the characters."""
    found = [fields(fields(each_).get("embeddings")) for each_ in response.get("predictions") or ()]
    counts = [fields(embedding.get("statistics")).get("token_count") for embedding in found]
    tokens = [int(count) for count in counts if isinstance(count, int | float) and count >= 0]
    if tokens and len(tokens) == len(counts):
        return {semconv.INPUT_TOKENS: sum(tokens)}
    characters = {"": {"billableCharacterCount": semconv.CHARACTERS}}
    return read_counts(response.get("metadata"), characters) or None


def _pictured(response: Fields, _: Body) -> Usage | None:
    """Return the images that were made; the ones that a filter held back are not billed."""
    predictions = [fields(prediction) for prediction in response.get("predictions") or ()]
    made = [one for one in predictions if "bytesBase64Encoded" in one or "gcsUri" in one]
    return {semconv.IMAGES: len(made)} if predictions else None


def _about_picture(_: Fields, body: Body) -> About:
    return {semconv.IMAGE_SIZE: text(fields(body.get("parameters")).get("sampleImageSize"))}


def _filmed(response: Fields, body: Body) -> Usage | None:
    parameters = fields(body.get("parameters"))
    seconds, videos = parameters.get("durationSeconds"), parameters.get("sampleCount") or 1
    if not response.get("name") or not isinstance(seconds, int | float) or not isinstance(videos, int):
        return None
    return {semconv.VIDEO_SECONDS: seconds * videos}


def _operation_started(response: Fields) -> Fields:
    return {"id": response.get("name"), "error": response.get("error")}


# --- interactions -------------------------------------------------------------------------------------------


def _interaction(answer: Fields) -> Fields:
    """Return the interaction: the answer itself, or in an event of a stream a part of it."""
    return fields(answer.get("interaction")) or answer


def _interacted(answer: Fields, _: Body) -> Usage | None:
    counts = fields(_interaction(answer).get("usage"))
    tools = [fields(count) for count in counts.get("grounding_tool_count") or ()]
    searches = sum(int(tool.get("count") or 0) for tool in tools if tool.get("type") == "google_search")
    return {
        **_counted(counts, _INTERACTED, ended=bool(counts)),
        **_modalities(counts, _INTERACTED),
        **({semconv.WEB_SEARCHES: searches} if searches else {}),
    } or None


def _identity_of_interaction(described: Fields, body: Body) -> Identity | None:
    if body.get("store") is False:  # nobody can read it again
        return None
    id, started = text(described.get("id")), _seconds(described.get("created"))
    if id is None or started is None:
        return None
    return Identity(id, started, _seconds(described.get("updated")))


def _said(event: Fields) -> Any:
    return list(texts(event.get("delta"), skip=_NOT_TEXT))


def _seconds(time: Any) -> float | None:
    """Return seconds since 1970 for a time as RFC 3339 has it."""
    if not isinstance(time, str):
        return None
    from datetime import datetime

    return datetime.fromisoformat(time).timestamp()


# --- batches ------------------------------------------------------------------------------------------------


def _of_batch(batch: Fields) -> Iterable[Fields]:
    """Return the responses of a batch that stand in the batch itself, each with what it needs of the batch."""
    about = fields(batch.get("metadata"))
    inlined = fields(fields(about.get("output")).get("inlinedResponses")).get("inlinedResponses")
    for number, line in enumerate(map(fields, inlined or ())):
        yield {**fields(line.get("response")), "batch": batch.get("name"), "number": number, "about": about}


def _described_in_batch(line: Fields) -> Fields:
    model = str(fields(line["about"]).get("model") or "")
    return {**line, **_described(line), "model": line.get("modelVersion") or model.removeprefix("models/")}


def _identity_in_batch(line: Fields, _: Body) -> Identity | None:
    about = fields(line["about"])
    started = _seconds(about.get("createTime"))
    name = f"{line['batch']}/{line['number']}"
    return None if started is None else Identity(name, started, _seconds(about.get("endTime")))


def _about_batch(line: Fields, _: Body) -> About:
    return {semconv.PROCESSING: semconv.BATCH_PROCESSING, semconv.BATCH: text(line.get("batch"))}


def _interactions(*, later: bool = False) -> Operation:
    return Operation(
        name="generate_content",
        usage=_interacted,
        describes=_interaction,
        identity=_identity_of_interaction,
        prompt=_prompt,
        delivered=_said,
        later=later,
    )


_GENERATE: Final = Operation(
    name="generate_content", usage=_generated, describes=_described, prompt=_prompt, delivered=_delivered
)
_EMBED: Final = Operation(name="embeddings", usage=_embedded, describes=_described, prompt=_prompt)

PROVIDER = Provider(
    id="google_genai",
    distribution="google-genai",
    docs="https://ai.google.dev/api/generate-content#UsageMetadata",
    shape=Methods(
        (
            Method(module=_CLIENT, name="BaseApiClient._request", question=_question, answer=_followed),
            Method(
                module=_CLIENT,
                name="BaseApiClient._async_request",
                question=_question,
                answer=_followed,
                asynchronous=True,
            ),
            Method(module=_CLIENT, name="BaseApiClient._request_once", question=_sent, answer=_followed),
            Method(
                module=_CLIENT,
                name="BaseApiClient._async_request_once",
                question=_sent,
                answer=_followed,
                asynchronous=True,
            ),
            Method(
                module=_INTERACTIONS,
                name="BaseSDK.do_request",
                question=_asked_of_interactions,
                answer=http_response,
            ),
            Method(
                module=_INTERACTIONS,
                name="AsyncBaseSDK.do_request_async",
                question=_asked_of_interactions,
                answer=http_response,
                asynchronous=True,
            ),
        )
    ),
    operations={
        "POST generateContent": _GENERATE,
        "POST streamGenerateContent": _GENERATE,
        "POST embedContent": _EMBED,
        "POST batchEmbedContents": _EMBED,
        "POST predict embeddings": _EMBED,
        "POST predict images": Operation(name="image_generation", usage=_pictured, about=_about_picture),
        "POST predictLongRunning": Operation(
            name="video_generation", usage=_filmed, describes=_operation_started
        ),
        "POST interactions": _interactions(),
        "POST interactions in the background": _interactions(later=True),
        "GET interactions/{id}": _interactions(later=True),
        "GET batches/{id}": Operation(
            name="generate_content",
            usage=_generated,
            describes=_described_in_batch,
            about=_about_batch,
            identity=_identity_in_batch,
            items=_of_batch,
            later=True,
        ),
    },
    name_of_host=name_of_host,
)
