"""What OpenAI answers, as it documents it, and how the tests look at what was recorded of it."""

from __future__ import annotations

from typing import Any

from pennytrace import semconv
from tests.instrumentation.conftest import Calls
from tests.instrumentation.sink import Recorded

SECRET = "the moon is made of cheese"  # 26 characters: 7 tokens
MODEL = "gpt-5.6-luna"

RESPONSE_USAGE = {
    "input_tokens": 120,
    "input_tokens_details": {
        "cached_tokens": 40,
        "cache_write_tokens": 30,
        "cache_write_tokens_details": {"ttl_30m_tokens": 20, "ttl_12h_tokens": 10},
    },
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 15},
    "total_tokens": 170,
}
RESPONSE_TOKENS = {
    semconv.INPUT_TOKENS: 120,
    semconv.OUTPUT_TOKENS: 50,
    semconv.CACHE_READ_INPUT_TOKENS: 40,
    semconv.CACHE_WRITE_INPUT_TOKENS: 30,
    semconv.CACHE_WRITE_30M: 20,
    semconv.CACHE_WRITE_12H: 10,
    semconv.REASONING_OUTPUT_TOKENS: 15,
}
IMAGE_USAGE = {
    "input_tokens": 60,
    "input_tokens_details": {"image_tokens": 50, "text_tokens": 10},
    "output_tokens": 272,
    "output_tokens_details": {"image_tokens": 270, "text_tokens": 2},
    "total_tokens": 332,
}
IMAGE_TOKENS = {
    semconv.INPUT_TOKENS: 60,
    semconv.IMAGE_INPUT_TOKENS: 50,
    semconv.TEXT_INPUT_TOKENS: 10,
    semconv.OUTPUT_TOKENS: 272,
    semconv.IMAGE_OUTPUT_TOKENS: 270,
    semconv.TEXT_OUTPUT_TOKENS: 2,
}


def response(**more: Any) -> dict[str, Any]:
    message = {"type": "output_text", "text": SECRET, "annotations": []}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_763_000_000,
        "status": "completed",
        "model": f"{MODEL}-2026-09-01",
        "service_tier": "default",
        "output": [
            {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [message]}
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": RESPONSE_USAGE,
        **more,
    }


def response_events(**more: Any) -> list[dict[str, Any]]:
    same = {name: value for name, value in more.items() if name in ("id", "background")}
    begun = response(status="in_progress", usage=None, output=[], **same)
    place = {"item_id": "m", "output_index": 0, "content_index": 0, "logprobs": []}
    words = [
        {"type": "response.output_text.delta", "delta": word, **place}
        for word in ("the moon ", "is made ", "of cheese")
    ]
    item = {"id": "m", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {
            "type": "response.content_part.added",
            "item_id": "m",
            "output_index": 0,
            "content_index": 0,
            "part": part,
        },
        *words,
        {"type": "response.completed", "response": response(**more)},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def usage(call: Recorded) -> dict[str, Any]:
    """Return what a call is charged for; and see to it that nothing of what was said is in it."""
    assert "moon" not in repr(call)
    assert "cheese" not in repr(call)
    stated = (semconv.USAGE_SOURCE, semconv.USAGE_METHOD)
    return {
        name: value
        for name, value in call.attributes.items()
        if name.startswith(("gen_ai.usage.", "pennytrace.usage.")) and name not in stated
    }


def only(calls: Calls) -> Recorded:
    (call,) = calls()
    return call


def source(call: Recorded) -> str:
    return str(call.attributes[semconv.USAGE_SOURCE])


def operation(call: Recorded) -> str:
    return str(call.attributes[semconv.OPERATION_NAME])
