"""What OpenAI works off later, and when it is charged: batches, videos, fine-tuning, evals, background responses."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pennytrace import semconv
from pennytrace._calls.provider import About, Body, Fields, Identity, Operation, Usage
from pennytrace._calls.usage import fields, read_counts, text
from pennytrace.providers._openai import usage as used

_OVER: Final = frozenset({"completed", "succeeded", "failed", "expired", "cancelled", "canceled"})
_ENDS: Final = ("completed_at", "finished_at", "cancelled_at", "expired_at", "failed_at")
_OPERATION_OF_ENDPOINT: Final = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
    "/v1/moderations": "moderation",
    "/v1/images/generations": "image_generation",
    "/v1/images/edits": "image_generation",
    "/v1/videos": "video_generation",
}
_OPERATION_OF_OBJECT: Final = {
    "chat.completion": "chat",
    "response": "chat",
    "response.compaction": "chat",
    "text_completion": "text_completion",
    "list": "embeddings",
}


def _identity(job: Fields, *, known_as: tuple[str, ...] = (), part_of: str | None = None) -> Identity | None:
    id, started = text(job.get("id")), used.number(job.get("created_at") or job.get("created"))
    if id is None or started is None:
        return None
    ended = next((used.number(job.get(name)) for name in _ENDS if job.get(name)), None)
    return Identity(id, started, ended, known_as, part_of)


def in_background(response: Fields, _: Body) -> Identity | None:
    """Return the identity of a response that is made in the background; any other is charged as it is made."""
    return _identity(response) if response.get("background") is True else None


def _is_over(job: Fields) -> bool:
    return job.get("status") in _OVER


def _without_empty_error(job: Fields) -> Fields:
    # A job that went well may have an error all the same, with nothing in it.
    error = fields(job.get("error"))
    return job if any(error.values()) else {**job, "error": None}


# --- batches: the total, and the lines of the file of results -----------------------------------------------


def _batch_identity(batch: Fields, _: Body) -> Identity | None:
    file = text(batch.get("output_file_id"))
    return _identity(batch, known_as=(file,) if file else ())


def _batch_usage(batch: Fields, body: Body) -> Usage | None:
    counts = used.tokens(used.RESPONSE_TOKENS, batch, body) if _is_over(batch) else None
    return counts if counts and any(counts.values()) else None


def _about_batch(batch: Fields, _: Body) -> About:
    """Return what a batch has in common with its lines: who reads the file of results knows only its id."""
    return {
        semconv.OPERATION_NAME: _OPERATION_OF_ENDPOINT.get(str(batch.get("endpoint")), "chat"),
        semconv.PROCESSING: semconv.BATCH_PROCESSING,
        semconv.BATCH: text(batch.get("output_file_id")) or text(batch.get("id")),
        semconv.BATCH_TOTAL: True,
    }


def _result(line: Fields) -> Fields:
    return fields(fields(line.get("response")).get("body"))


def _line_identity(result: Fields, parameters: Body) -> Identity | None:
    return _identity(result, part_of=parameters["file_id"])


def _line_usage(line: Fields, body: Body) -> Usage | None:
    result = _result(line)
    usage = fields(result.get("usage"))
    if "prompt_tokens" in usage:
        return used.chat_usage(result, body)
    if result.get("object") == "response":
        return used.response_usage(result, body)
    return used.image_usage(result, body)


def _about_line(line: Fields, parameters: Body) -> About:
    result = _result(line)
    return {
        semconv.OPERATION_NAME: _OPERATION_OF_OBJECT.get(str(result.get("object")), "image_generation"),
        semconv.PROCESSING: semconv.BATCH_PROCESSING,
        semconv.BATCH: parameters["file_id"],
        **used.about_cost(result, parameters),
    }


def _about_images_of_line(answer: Fields, parameters: Body) -> About:
    return {
        **used.as_image_call(answer, parameters),
        semconv.PROCESSING: semconv.BATCH_PROCESSING,
        semconv.BATCH: parameters["file_id"],
    }


_images_of_result: Final = used.images_beside(_line_identity, _about_images_of_line)


def _beside_line(line: Fields, parameters: Body) -> Iterable[tuple[Operation, Fields]]:
    return _images_of_result(_result(line), parameters)


# --- videos, fine-tuning, evals -----------------------------------------------------------------------------


def _job_identity(job: Fields, _: Body) -> Identity | None:
    return _identity(job)


def _video_usage(video: Fields, _: Body) -> Usage | None:
    seconds = used.number(video.get("seconds")) if video.get("status") == "completed" else None
    return {semconv.VIDEO_SECONDS: seconds} if seconds else None


def _about_video(video: Fields, _: Body) -> About:
    return {semconv.IMAGE_SIZE: text(video.get("size"))}


def _trained(job: Fields, _: Body) -> Usage | None:
    return read_counts(job, {"": {"trained_tokens": semconv.TRAINED_TOKENS}}) if _is_over(job) else None


def _models_of_run(run: Fields) -> Iterable[Fields]:
    """Return what a run of an eval used, model by model."""
    for usage in run.get("per_model_usage") or () if _is_over(run) else ():
        held = fields(usage)
        model = held.get("model_name") or held.get("run_model_name")
        yield {
            "id": f"{run.get('id')}/{model}",
            "created_at": run.get("created_at"),
            "model": model,
            "usage": usage,
            "run": run.get("id"),
        }


def _run_identity(used_by_model: Fields, _: Body) -> Identity | None:
    identity = _identity(used_by_model)
    return identity and identity._replace(part_of=used_by_model["run"])


def _page(answer: Fields) -> Iterable[Fields]:
    return [fields(job) for job in answer.get("data") or ()]


def _job(**reads: Any) -> Operation:
    return Operation(later=True, describes=_without_empty_error, **reads)


def _pages(job: Operation) -> Operation:
    return dataclasses.replace(job, items=_page)


_BATCH: Final = _job(name="chat", usage=_batch_usage, about=_about_batch, identity=_batch_identity)
_FILE: Final = Operation(
    name="chat",
    usage=_line_usage,
    about=_about_line,
    describes=_result,
    identity=_line_identity,
    beside=_beside_line,
    later=True,
    lines=True,
)
_VIDEO: Final = _job(name="video_generation", usage=_video_usage, about=_about_video, identity=_job_identity)
_TUNING: Final = _job(name="fine_tuning", usage=_trained, identity=_job_identity)
_EVAL: Final = Operation(
    name="chat", usage=used.chat_usage, identity=_run_identity, items=_models_of_run, later=True
)

OPERATIONS: Final[Mapping[str, Operation]] = {
    "POST /batches": _BATCH,
    "GET /batches": _pages(_BATCH),
    "GET /batches/{id}": _BATCH,
    "POST /batches/{id}/cancel": _BATCH,
    "GET /files/{file_id}/content": _FILE,
    "POST /videos": _VIDEO,
    "POST /videos/edits": _VIDEO,
    "POST /videos/extensions": _VIDEO,
    "POST /videos/{id}/remix": _VIDEO,
    "GET /videos": _pages(_VIDEO),
    "GET /videos/{id}": _VIDEO,
    "POST /fine_tuning/jobs": _TUNING,
    "GET /fine_tuning/jobs": _pages(_TUNING),
    "GET /fine_tuning/jobs/{id}": _TUNING,
    "POST /fine_tuning/jobs/{id}/cancel": _TUNING,
    "GET /evals/{eval_id}/runs/{id}": _EVAL,
}
