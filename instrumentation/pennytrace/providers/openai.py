"""OpenAI's client library, and every server that speaks its language: chat completions and embeddings.

The method that is wrapped has been there since openai 1.0.0; the tests pass with 1.40.0 and with 3.54.0.
"""

from __future__ import annotations

import functools
from fnmatch import fnmatchcase
from typing import Any, Final

from pennytrace import semconv
from pennytrace._provider import Body, Fields, Operation, Provider, Usage
from pennytrace._stainless import Stainless
from pennytrace._usage import Counts, characters, fields, read_counts

COMPATIBLE: Final = "openai_compatible"
"""The provider name of a server of unknown host that speaks OpenAI's language; it is often self-hosted."""

_HOSTS: Final = {
    "api.openai.com": "openai",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.x.ai": "x_ai",
    "api.perplexity.ai": "perplexity",
    "api.moonshot.ai": "moonshot_ai",
    "api.moonshot.cn": "moonshot_ai",
    "api.together.xyz": "together",
    "api.together.ai": "together",
    "api.fireworks.ai": "fireworks",
    "api.cerebras.ai": "cerebras",
    "api.sambanova.ai": "sambanova",
    "api.deepinfra.com": "deepinfra",
    "api.novita.ai": "novita",
    "api.anthropic.com": "anthropic",
    "api.cohere.ai": "cohere",
    "openrouter.ai": "openrouter",
    "router.huggingface.co": "huggingface",
    "generativelanguage.googleapis.com": "gcp.gemini",
}
_HOST_PATTERNS: Final = {
    "*.api.openai.com": "openai",
    "*.openai.azure.com": "azure.ai.openai",
    "*.cognitiveservices.azure.com": "azure.ai.openai",
    "*.services.ai.azure.com": "azure.ai.inference",
    "*.models.ai.azure.com": "azure.ai.inference",
    "bedrock*.amazonaws.com": "aws.bedrock",
    "*aiplatform.googleapis.com": "gcp.vertex_ai",
}

_TOKENS: Final[Counts] = {
    "": {"prompt_tokens": semconv.INPUT_TOKENS, "completion_tokens": semconv.OUTPUT_TOKENS},
    "prompt_tokens_details": {
        "cached_tokens": semconv.CACHE_READ_INPUT_TOKENS,
        "cache_write_tokens": semconv.CACHE_WRITE_INPUT_TOKENS,
        "audio_tokens": semconv.AUDIO_INPUT_TOKENS,
        "image_tokens": semconv.IMAGE_INPUT_TOKENS,
    },
    "completion_tokens_details": {
        "reasoning_tokens": semconv.REASONING_OUTPUT_TOKENS,
        "audio_tokens": semconv.AUDIO_OUTPUT_TOKENS,
    },
}
_EMBEDDED_TOKENS: Final[Counts] = {"": {"prompt_tokens": semconv.INPUT_TOKENS}}
_NOT_TEXT: Final = frozenset({"role", "type", "id", "tool_call_id", "image_url", "input_audio", "file"})


@functools.lru_cache(maxsize=1024)
def name_of_host(host: str) -> str:
    """Return the provider behind `host`, or `COMPATIBLE` when it is not a known one."""
    matching = (name for pattern, name in _HOST_PATTERNS.items() if fnmatchcase(host, pattern))
    return _HOSTS.get(host) or next(matching, COMPATIBLE)


def _usage(tokens: Counts, response: Fields) -> Usage | None:
    usage = response.get("usage")
    return None if usage is None else read_counts(usage, tokens) or None


def _with_usage(body: Body) -> Body | None:
    options = body.get("stream_options") or {}
    if "include_usage" in options:
        return None
    return {**body, "stream_options": {**options, "include_usage": True}}


def _chunk_characters(chunk: Fields) -> int:
    # Runs for every chunk of every stream: written to be quick, and for the chunk that nearly all are.
    count = 0
    for choice in chunk.get("choices") or ():
        try:
            content = choice.delta.content
        except AttributeError:  # the report of a content filter has no delta; JSON has only what was sent
            content = None
        count += len(content) if content else _other_characters(choice)
    return count


def _other_characters(choice: Any) -> int:
    """Count the texts of a delta that is not plain content: a tool call, a refusal, reasoning."""
    return characters(fields(choice).get("delta"), skip=_NOT_TEXT)


def _chat_characters(body: Body) -> int:
    return characters([body.get("messages"), body.get("tools")], skip=_NOT_TEXT)


def _embedding_characters(body: Body) -> int:
    return characters(body.get("input"))


def _refuses_usage(error: BaseException) -> bool:
    return getattr(error, "status_code", None) in (400, 422) and "stream_options" in str(error)


PROVIDER = Provider(
    id="openai",
    docs="https://platform.openai.com/docs/api-reference/chat/object",
    shape=Stainless("openai._base_client"),
    operations={
        "/chat/completions": Operation(
            name="chat",
            usage=functools.partial(_usage, _TOKENS),
            request_characters=_chat_characters,
            chunk_characters=_chunk_characters,
            with_usage=_with_usage,
            delivers="choices",
        ),
        "/embeddings": Operation(
            name="embeddings",
            usage=functools.partial(_usage, _EMBEDDED_TOKENS),
            request_characters=_embedding_characters,
        ),
    },
    name_of_host=name_of_host,
    refuses_usage=_refuses_usage,
)
