"""What the local provider answers, with the usage that each provider documents: the oracle of what a call cost."""

from __future__ import annotations

from secrets import token_hex
from typing import Any, Final

from tests.instrumentation.openai_server import Events

CHAT_MODEL: Final = "gpt-5-mini"
CLAUDE: Final = "claude-sonnet-4-5"
CLAUDE_AT_BEDROCK: Final = "anthropic.claude-sonnet-4-5-20250929-v1:0"
EMBEDDING_MODEL: Final = "text-embedding-3-small"
WORDS: Final = ("A penny ", "weighs ", "3.56 g.")

COMPLETION_USAGE: Final[dict[str, Any]] = {
    "prompt_tokens": 1500,
    "completion_tokens": 400,
    "total_tokens": 1900,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 256, "audio_tokens": 0},
}
RESPONSE_USAGE: Final[dict[str, Any]] = {
    "input_tokens": 1500,
    "output_tokens": 400,
    "total_tokens": 1900,
    "input_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 256},
}
EMBEDDING_USAGE: Final[dict[str, Any]] = {"prompt_tokens": 12, "total_tokens": 12}
MESSAGE_USAGE: Final[dict[str, Any]] = {
    "input_tokens": 100,
    "cache_read_input_tokens": 2000,
    "cache_creation_input_tokens": 300,
    "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 50,
    "service_tier": "standard",
}
CONVERSE_USAGE: Final[dict[str, Any]] = {
    "inputTokens": 100,
    "outputTokens": 50,
    "totalTokens": 2450,
    "cacheReadInputTokens": 2000,
    "cacheWriteInputTokens": 300,
}


def answers() -> dict[str, Any]:
    """Return what is answered, by method and path."""
    return {
        "POST /chat/completions": [_completion()],
        "POST /chat/completions stream": Events(_chunks(), done=True),
        "POST /responses": _response(),
        "POST /embeddings": {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}],
            "model": EMBEDDING_MODEL,
            "usage": EMBEDDING_USAGE,
        },
        "POST /messages": _message(),
        "POST /messages stream": Events(_message_events()),
        f"POST /model/{CLAUDE_AT_BEDROCK}/converse": {
            "output": {"message": {"role": "assistant", "content": [{"text": "".join(WORDS)}]}},
            "stopReason": "end_turn",
            "metrics": {"latencyMs": 5},
            "usage": CONVERSE_USAGE,
        },
    }


def _completion() -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(WORDS)}
    return {
        "id": f"chatcmpl-{token_hex(12)}",
        "object": "chat.completion",
        "created": 1780000000,
        "model": "gpt-5-mini-2025-08-07",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": COMPLETION_USAGE,
        "service_tier": "default",
    }


def _chunks() -> list[dict[str, Any]]:
    base = {
        "id": f"chatcmpl-{token_hex(12)}",
        "object": "chat.completion.chunk",
        "created": 1780000000,
        "model": "gpt-5-mini-2025-08-07",
        "service_tier": "default",
    }
    said: list[dict[str, Any]] = [
        {**base, "choices": [{"index": 0, "delta": {"role": "assistant", "content": word}}], "usage": None}
        for word in WORDS
    ]
    end = {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None}
    return [*said, end, {**base, "choices": [], "usage": COMPLETION_USAGE}]


def _response() -> dict[str, Any]:
    text = {"type": "output_text", "text": "".join(WORDS), "annotations": [], "logprobs": []}
    return {
        "id": f"resp_{token_hex(12)}",
        "object": "response",
        "created_at": 1780000000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "gpt-5-mini-2025-08-07",
        "output": [
            {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [text]}
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "temperature": 1.0,
        "top_p": 1.0,
        "service_tier": "default",
        "usage": RESPONSE_USAGE,
    }


def _message() -> dict[str, Any]:
    return {
        "id": f"msg_{token_hex(12)}",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [{"type": "text", "text": "".join(WORDS)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": MESSAGE_USAGE,
    }


def _message_events() -> list[dict[str, Any]]:
    started = {**_message(), "content": [], "stop_reason": None}
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    return [
        {"type": "message_start", "message": {**started, "usage": {**MESSAGE_USAGE, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
            for word in WORDS
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 50}},
        {"type": "message_stop"},
    ]
