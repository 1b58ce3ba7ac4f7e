"""Mistral's client library: chats, agents, conversations, code, embeddings, OCR, audio, batches. Tried with 3.7.

Hooked are `BaseSDK.do_request` and `do_request_async` of the library and of its clients for Azure and Google Cloud,
through which every call goes, with its retries.

- What connectors of a conversation put before the model is reported beside the prompt and billed as input: the
  input here is the sum of both.
- Seconds of audio are reported beside the tokens, and billed beside them; speech without tokens is counted in
  characters here.
- What a batch produced is charged when its output is read, from its file or inline in its job, each under the id of
  its response; what Mistral does not date is dated by its job, if the app has read that in the same process.

Not covered: realtime transcription (WebSockets), libraries, workflows; attempts are not counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from pennytrace import semconv
from pennytrace._calls.asking import Question
from pennytrace._calls.methods import Arguments, Method, Methods, http_response
from pennytrace._calls.provider import NOTHING, About, Body, Fields, Identity, Operation, Provider, Usage
from pennytrace._calls.usage import Counts, fields, read_counts, text, texts
from pennytrace.providers._openai import hosts as openai_hosts

COMPATIBLE: Final = "mistral_compatible"
"""The provider name of a server of unknown host that speaks Mistral's language."""

_CLOUDS: Final = {"mistralai.azure.": "azure.ai.inference", "mistralai.gcp.": "gcp.vertex_ai"}
_PATH: Final = re.compile(r"(?:/v1|/models|/providers/mistral/azure)(/.+)$")
_LONGEST: Final = 1 << 20  # bytes of a request that are parsed: a longer one carries documents or pictures
_BEGINNING: Final = 1 << 12
_MODEL: Final = re.compile(rb'"model"\s*:\s*"([^"\\]+)"')
_REPORTS: Final = re.compile(rb'"usage(?:_info)?"\s*:\s*\{')

_TOKENS: Final[Counts] = {
    "": {
        "prompt_tokens": semconv.INPUT_TOKENS,
        "input_tokens": semconv.INPUT_TOKENS,
        "completion_tokens": semconv.OUTPUT_TOKENS,
        "output_tokens": semconv.OUTPUT_TOKENS,
        "connector_tokens": semconv.TOOL_PROMPT,
        "prompt_audio_seconds": semconv.AUDIO_SECONDS,
    },
    "prompt_tokens_details": {"cached_tokens": semconv.CACHE_READ_INPUT_TOKENS},
    "input_tokens_details": {"cached_tokens": semconv.CACHE_READ_INPUT_TOKENS},
    "completion_tokens_details": {"reasoning_tokens": semconv.REASONING_OUTPUT_TOKENS},
    "output_tokens_details": {"reasoning_tokens": semconv.REASONING_OUTPUT_TOKENS},
}
_EMBEDDED: Final[Counts] = {"": {"prompt_tokens": semconv.INPUT_TOKENS}}
_PAGES: Final[Counts] = {"": {"pages_processed": semconv.PAGES}}
_CONNECTORS: Final = {
    "web_search": semconv.WEB_SEARCHES,
    "web_search_premium": semconv.WEB_SEARCHES,
    "code_interpreter": semconv.CODE_EXECUTIONS,
    "image_generation": semconv.IMAGES,
    "document_library": semconv.FILE_SEARCHES,
}
_DETAILS: Final = (semconv.TOOL_PROMPT, semconv.AUDIO_SECONDS)
_NOT_TEXT: Final = frozenset(
    {"role", "type", "id", "tool_call_id", "image_url", "input_audio", "index", "object"}
)
_FAILED: Final = "conversation.response.error"
_MOST_FILES: Final = 1000


class _Job(NamedTuple):
    id: str
    created: float
    ended: float | None


_jobs: dict[str, _Job] = {}
"""The batches that files are the output of: the app asks for a batch before it asks for its file."""


def _question(sdk: Any, arguments: Arguments) -> Question | None:
    positional, named = arguments
    request = named["request"] if "request" in named else positional[1]
    url = request.url
    path = _path(url.path, named.get("hook_ctx"))
    if path is None:
        return None
    stream = bool(named.get("stream"))
    module = type(sdk).__module__
    cloud = next((name for prefix, name in _CLOUDS.items() if module.startswith(prefix)), None)
    port = url.port or (80 if url.scheme == "http" else 443)
    return Question(request.method, path, _body(request, stream), url.host, port, stream, provider=cloud)


def _path(path: str, context: Any) -> str | None:
    """Return a request's path as Mistral itself has it; on Google Cloud all have the same."""
    if path.endswith(("/rawPredict", "/streamRawPredict", ":rawPredict", ":streamRawPredict")):
        return (
            "/fim/completions" if "fim" in str(getattr(context, "operation_id", "")) else "/chat/completions"
        )
    found = _PATH.search(path)
    return found and found[1]


def _body(request: Any, stream: bool) -> Body:
    if not request.headers.get("content-type", "").startswith("application/json"):
        return NOTHING
    content: bytes = request.content
    if stream or len(content) <= _LONGEST:
        body = json.loads(content)
        return body if isinstance(body, dict) else NOTHING
    model = _MODEL.search(content, 0, _BEGINNING)
    return {"model": model[1].decode()} if model else NOTHING


def _name_of_host(host: str) -> str:
    if host == "mistral.ai" or host.endswith(".mistral.ai"):
        return "mistral_ai"
    name = openai_hosts.name_of_host(host)
    return COMPATIBLE if name == openai_hosts.COMPATIBLE else name


def _answer(event: Fields) -> Fields:
    """Return the response that an event of `responses` has in it; other answers stand by themselves."""
    return fields(event.get("response")) or event


def _usage(answer: Fields, _: Body) -> Usage | None:
    usage = fields(_answer(answer).get("usage"))
    counts = {
        name: count for name, count in read_counts(usage, _TOKENS).items() if count or name not in _DETAILS
    }
    if semconv.INPUT_TOKENS in counts:
        counts[semconv.INPUT_TOKENS] += counts.get(semconv.TOOL_PROMPT, 0)
    for connector, uses in fields(usage.get("connectors")).items():
        if type(uses) is int and uses > 0:
            name = _CONNECTORS.get(connector, semconv.TOOL_CALLS)
            counts[name] = counts.get(name, 0) + uses
    return counts or None


def _usage_of_embedding(answer: Fields, _: Body) -> Usage | None:
    return read_counts(answer.get("usage"), _EMBEDDED) or None


def _usage_of_ocr(answer: Fields, _: Body) -> Usage | None:
    return read_counts(answer.get("usage_info"), _PAGES) or None


def _usage_of_speech(answer: Fields, body: Body) -> Usage | None:
    counts = {name: count for name, count in (_usage(answer, body) or {}).items() if count}
    spoken = body.get("input")
    return counts or ({semconv.CHARACTERS: len(spoken)} if isinstance(spoken, str) else None)


def _describes(answer: Fields) -> Fields:
    held = _answer(answer)
    told = {**held, "id": held.get("id") or held.get("conversation_id")}
    if held.get("type") == _FAILED:
        told["error"] = {"type": _FAILED}
    tier = fields(held.get("usage")).get("service_tier")
    return {**told, "service_tier": tier} if tier is not None else told


def _conversation(body: Body) -> Any:
    asked = ("messages", "tools", "prompt", "suffix", "inputs", "input", "instructions")
    return list(texts([body.get(name) for name in asked], skip=_NOT_TEXT))


def _delivered(event: Fields) -> Any:
    """Return what is said in a chunk of a chat, an event of a conversation, or one of a response."""
    deltas = [fields(choice).get("delta") for choice in event.get("choices") or ()]
    content = event.get("content") if event.get("type") == "message.output.delta" else None
    said = event.get("delta") if isinstance(event.get("delta"), str) else None
    return list(texts([deltas, content, said, event.get("arguments")], skip=_NOT_TEXT))


def _generation(name: str) -> Operation:
    return Operation(
        name=name, usage=_usage, describes=_describes, prompt=_conversation, delivered=_delivered
    )


# --- batches: `{"custom_id": …, "response": {"status_code": 200, "body": {…}}}`, a line of a file or inline ----
def _results(job: Fields) -> Iterable[Fields]:
    """Return a batch and, when they are in it, its results."""
    return [job, *({**fields(line), "batch": job} for line in job.get("outputs") or ())]


def _result(line: Fields) -> Fields:
    return fields(fields(line.get("response")).get("body"))


def _usage_of_result(line: Fields, body: Body) -> Usage | None:
    answer = _result(line)
    return _usage_of_ocr(answer, body) or _usage(answer, body)


def _describes_result(line: Fields) -> Fields:
    if line.get("object") == "batch":
        return {"job": line}
    answer = _result(line)
    return {**_describes(answer), "custom_id": line.get("custom_id"), "batch": line.get("batch")}


def _identity(described: Fields, body: Body) -> Identity | None:
    """Note a batch, and who asked for it; tell whose result a line is."""
    if "job" in described:
        job = _job(described["job"])
        return None if job is None else Identity(job.id, job.created)
    job = _job_of(described, body)
    name, started = _named(described, job), described.get("created")
    if not isinstance(started, int | float) or not started:
        started = None if job is None else job.created
    if name is None or started is None:
        return None
    return Identity(name, started, part_of=None if job is None else job.id)


def _named(described: Fields, job: _Job | None) -> str | None:
    custom = text(described.get("custom_id"))
    return text(described.get("id")) or (f"{job.id}/{custom}" if job and custom else None)


def _job_of(described: Fields, body: Body) -> _Job | None:
    batch, file = described.get("batch"), body.get("file")
    return _job(batch) if batch else _jobs.get(file) if file else None


def _job(job: Mapping[str, Any]) -> _Job | None:
    name, created = text(job.get("id")), job.get("created_at")
    if name is None or not isinstance(created, int | float):
        return None
    noted = _Job(name, created, job.get("completed_at"))
    file = text(job.get("output_file"))
    if file:
        _jobs.pop(file, None)
        _jobs[file] = noted
        while len(_jobs) > _MOST_FILES:
            del _jobs[next(iter(_jobs))]
    return noted


def _about_result(line: Fields, body: Body) -> About:
    job = _job_of(line, body)
    return {semconv.PROCESSING: semconv.BATCH_PROCESSING, semconv.BATCH: job.id if job else None}


_CHAT: Final = _generation("chat")
_JOB: Final = Operation(
    name="chat",
    usage=_usage_of_result,
    about=_about_result,
    describes=_describes_result,
    identity=_identity,
    items=_results,
    later=True,
)
_FILE: Final = Operation(
    name="chat",
    usage=_usage_of_result,
    about=_about_result,
    describes=_describes_result,
    identity=_identity,
    later=True,
    lines=True,
)
_CLASSIFICATION: Final = Operation(name="classification", usage=_usage, describes=_describes)
_MODERATION: Final = Operation(name="moderation", usage=_usage, describes=_describes)


def _methods(module: str) -> tuple[Method, ...]:
    return tuple(
        Method(
            module=module, name=name, question=_question, answer=http_response, asynchronous="async" in name
        )
        for name in ("BaseSDK.do_request", "BaseSDK.do_request_async")
    )


PROVIDER = Provider(
    id="mistralai",
    distribution="mistralai",
    docs="https://docs.mistral.ai/api/endpoint/chat",
    shape=Methods(
        (
            *_methods("mistralai.client.basesdk"),
            *_methods("mistralai.azure.client.basesdk"),
            *_methods("mistralai.gcp.client.basesdk"),
        )
    ),
    operations={
        "POST /chat/completions": _CHAT,
        "POST /agents/completions": _CHAT,
        "POST /fim/completions": _generation("text_completion"),
        "POST /conversations": _CHAT,
        "POST /conversations/{conversation}": _CHAT,
        "POST /conversations/{conversation}/restart": _CHAT,
        "POST /responses": _CHAT,
        "POST /embeddings": Operation(name="embeddings", usage=_usage_of_embedding, prompt=_conversation),
        "POST /ocr": Operation(name="ocr", usage=_usage_of_ocr, reports=_REPORTS),
        "POST /moderations": _MODERATION,
        "POST /chat/moderations": _MODERATION,
        "POST /classifications": _CLASSIFICATION,
        "POST /chat/classifications": _CLASSIFICATION,
        "POST /audio/transcriptions": Operation(name="transcription", usage=_usage, describes=_describes),
        "POST /audio/speech": Operation(name="speech", usage=_usage_of_speech),
        "POST /batch/jobs": _JOB,
        "GET /batch/jobs/{job}": _JOB,
        "GET /files/{file}/content": _FILE,
    },
    name_of_host=_name_of_host,
)
