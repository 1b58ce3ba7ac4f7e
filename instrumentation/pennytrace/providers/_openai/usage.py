"""Where OpenAI, and those who speak its language, state what a call used and what it cost."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any, Final

from pennytrace import semconv
from pennytrace._calls.provider import NOTHING, About, Body, Fields, Identity, Operation, Usage
from pennytrace._calls.usage import Counts, fields, read_counts, text

_CHAT_TOKENS: Final[Counts] = {
    "": {"prompt_tokens": semconv.INPUT_TOKENS, "completion_tokens": semconv.OUTPUT_TOKENS},
    "prompt_tokens_details": {
        "cached_tokens": semconv.CACHE_READ_INPUT_TOKENS,
        "cache_write_tokens": semconv.CACHE_WRITE_INPUT_TOKENS,
        "created_cache_tokens": semconv.CACHE_WRITE_INPUT_TOKENS,  # vLLM
        "audio_tokens": semconv.AUDIO_INPUT_TOKENS,
        "image_tokens": semconv.IMAGE_INPUT_TOKENS,
        "text_tokens": semconv.TEXT_INPUT_TOKENS,
    },
    "completion_tokens_details": {
        "reasoning_tokens": semconv.REASONING_OUTPUT_TOKENS,
        "audio_tokens": semconv.AUDIO_OUTPUT_TOKENS,
        "image_tokens": semconv.IMAGE_OUTPUT_TOKENS,
        "text_tokens": semconv.TEXT_OUTPUT_TOKENS,
        "accepted_prediction_tokens": semconv.ACCEPTED_PREDICTION,
        "rejected_prediction_tokens": semconv.REJECTED_PREDICTION,
    },
}
_CHAT_CACHE_WRITES: Final[Counts] = {
    "prompt_tokens_details.cache_write_tokens_details": {
        "ttl_30m_tokens": semconv.CACHE_WRITE_30M,
        "ttl_12h_tokens": semconv.CACHE_WRITE_12H,
    },
}
_CHAT_USAGE: Final = frozenset(
    {
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
    }
)
"""What OpenAI states; what else there is, is looked at only when there is something else."""
_OTHERS_CHAT_TOKENS: Final[Counts] = {
    "": {
        "cached_tokens": semconv.CACHE_READ_INPUT_TOKENS,  # Moonshot, Together
        "prompt_cache_hit_tokens": semconv.CACHE_READ_INPUT_TOKENS,  # DeepSeek
    },
    "server_tool_use": {"web_search_requests": semconv.WEB_SEARCHES},  # OpenRouter
}
RESPONSE_TOKENS: Final[Counts] = {
    "": {"input_tokens": semconv.INPUT_TOKENS, "output_tokens": semconv.OUTPUT_TOKENS},
    "input_tokens_details": {
        "cached_tokens": semconv.CACHE_READ_INPUT_TOKENS,
        "cache_write_tokens": semconv.CACHE_WRITE_INPUT_TOKENS,
        "audio_tokens": semconv.AUDIO_INPUT_TOKENS,
        "image_tokens": semconv.IMAGE_INPUT_TOKENS,
        "text_tokens": semconv.TEXT_INPUT_TOKENS,
    },
    "input_tokens_details.cache_write_tokens_details": {
        "ttl_30m_tokens": semconv.CACHE_WRITE_30M,
        "ttl_12h_tokens": semconv.CACHE_WRITE_12H,
    },
    "output_tokens_details": {
        "reasoning_tokens": semconv.REASONING_OUTPUT_TOKENS,
        "audio_tokens": semconv.AUDIO_OUTPUT_TOKENS,
        "image_tokens": semconv.IMAGE_OUTPUT_TOKENS,
        "text_tokens": semconv.TEXT_OUTPUT_TOKENS,
    },
}
EMBEDDED_TOKENS: Final[Counts] = {
    "": {"total_tokens": semconv.INPUT_TOKENS, "prompt_tokens": semconv.INPUT_TOKENS},
}
IMAGE_TOKENS: Final[Counts] = {
    "": {"input_tokens": semconv.INPUT_TOKENS, "output_tokens": semconv.OUTPUT_TOKENS},
    "input_tokens_details": {
        "image_tokens": semconv.IMAGE_INPUT_TOKENS,
        "text_tokens": semconv.TEXT_INPUT_TOKENS,
    },
    "cached_tokens_details": {
        "cached_image_tokens": semconv.IMAGE_CACHE_READ_INPUT_TOKENS,
        "cached_text_tokens": semconv.TEXT_CACHE_READ_INPUT_TOKENS,
    },
    "output_tokens_details": {
        "image_tokens": semconv.IMAGE_OUTPUT_TOKENS,
        "text_tokens": semconv.TEXT_OUTPUT_TOKENS,
    },
}
_CACHED_FOR_IMAGES: Final[Counts] = {"": {"cached_tokens": semconv.CACHE_READ_INPUT_TOKENS}}
_DRAWN_TOKENS: Final[Counts] = {
    "": {
        "input_tokens": semconv.INPUT_TOKENS,
        "output_tokens": semconv.OUTPUT_TOKENS,
        "reasoning_tokens": semconv.REASONING_OUTPUT_TOKENS,
    },
}
HEARD_TOKENS: Final[Counts] = {
    "": {"input_tokens": semconv.INPUT_TOKENS, "output_tokens": semconv.OUTPUT_TOKENS},
    "input_token_details": {
        "audio_tokens": semconv.AUDIO_INPUT_TOKENS,
        "text_tokens": semconv.TEXT_INPUT_TOKENS,
    },
}
_TICKS_OF_A_DOLLAR: Final = 10  # decimal places: xAI states costs in these

_TOOLS: Final = {
    "file_search_call": semconv.FILE_SEARCHES,
    "code_interpreter_call": semconv.CODE_EXECUTIONS,
}


def tokens(counts: Counts, answer: Fields, _: Body) -> Usage | None:
    """Return the tokens that the usage of a response or event states."""
    usage = answer.get("usage")
    return None if usage is None else read_counts(usage, counts) or None


def chat_usage(answer: Fields, _: Body) -> Usage | None:
    """Return what a chat completion, or a chunk of one, used."""
    usage = answer.get("usage")
    if usage is None and "x_groq" in answer:
        usage = fields(answer["x_groq"]).get("usage")
    if usage is None:
        return None
    held = fields(usage)
    counts = read_counts(usage, _CHAT_TOKENS)
    if not held.keys() <= _CHAT_USAGE:
        counts = {**read_counts(usage, _OTHERS_CHAT_TOKENS), **counts}
    if semconv.CACHE_WRITE_INPUT_TOKENS in counts:
        counts = {**counts, **read_counts(usage, _CHAT_CACHE_WRITES)}
    reasoning = counts.get(semconv.REASONING_OUTPUT_TOKENS)
    return _with_reasoning(counts, reasoning, held.get("total_tokens")) if reasoning else counts or None


def _with_reasoning(counts: Usage, reasoning: float, total: Any) -> Usage:
    # xAI counts reasoning beside the completion, which only the total tells; all others count it inside.
    output = counts.get(semconv.OUTPUT_TOKENS, 0)
    beside = total == counts.get(semconv.INPUT_TOKENS, 0) + output + reasoning
    return {**counts, semconv.OUTPUT_TOKENS: output + reasoning} if beside else counts


def response_of(answer: Fields) -> Fields:
    """Return the response that an event of the Responses API is about, or the response itself."""
    held = answer.get("response")
    if held is not None:
        return fields(held)
    if answer.get("type") == "error":
        return {"error": {"type": answer.get("code")}}
    return answer


def response_usage(answer: Fields, _: Body) -> Usage | None:
    """Return what a response used: tokens, and the provider's own tools."""
    response = response_of(answer)
    usage = response.get("usage")
    counts = read_counts(usage, RESPONSE_TOKENS) if usage is not None else None
    return {**counts, **_tools_used(response)} if counts else None


def _tools_used(response: Fields) -> Usage:
    """Return how often the provider's tools were used, as it says, or else as the output shows."""
    used: dict[str, int] = {}
    told = fields(response.get("tool_usage"))
    for item in response.get("output") or ():
        name = _tool(fields(item), told)
        if name is not None:
            used[name] = used.get(name, 0) + 1
    return {**used, **read_counts(told, {"web_search": {"num_requests": semconv.WEB_SEARCHES}})}


def _tool(item: Fields, told: Fields) -> str | None:
    kind = item.get("type")
    if kind == "web_search_call" and not told.get("web_search"):
        # Opening a page that was found, and looking in it, are not charged.
        return semconv.WEB_SEARCHES if fields(item.get("action")).get("type", "search") == "search" else None
    if kind == "image_generation_call" and not told.get("image_gen"):
        return semconv.IMAGES
    return _TOOLS.get(str(kind))


def about_cost(answer: Fields, _: Body) -> About:
    """Return the cost that a response or an event states: OpenRouter, Perplexity, DeepInfra and xAI do."""
    usage = fields(answer.get("usage"))
    cost = None if usage.keys() <= _CHAT_USAGE else _cost(usage)
    return NOTHING if cost is None else {semconv.REPORTED_COST: cost}


def about_response(answer: Fields, body: Body) -> About:
    """Return the cost that a response of the Responses API states."""
    return about_cost(response_of(answer), body)


def _cost(usage: Fields) -> str | None:
    cost = usage.get("cost")
    stated: tuple[tuple[Any, int], ...] = (
        (cost, 0),
        (fields(cost).get("total_cost"), 0),
        (usage.get("cost_in_usd_ticks"), _TICKS_OF_A_DOLLAR),
        (usage.get("estimated_cost"), 0),
    )
    for amount, places in stated:
        if type(amount) in (int, float) and 0 <= amount < math.inf:
            return _decimal(amount, places)
    return None


def _decimal(amount: float, places: int) -> str:
    from decimal import Decimal  # here, because few providers state a cost

    return format(Decimal(repr(amount)).scaleb(-places), "f")


def image_usage(answer: Fields, body: Body) -> Usage | None:
    """Return the tokens that images took, or where they are not billed by tokens how many there are."""
    counts = tokens(IMAGE_TOKENS, answer, body)
    images = len(answer.get("data") or ())
    return counts or ({semconv.IMAGES: images} if images else None)


def about_images(answer: Fields, body: Body) -> About:
    """Return what the price of an image depends on, as made or else as asked for."""
    return {
        semconv.IMAGE_SIZE: text(answer.get("size")) or text(body.get("size")),
        semconv.IMAGE_QUALITY: text(answer.get("quality")) or text(body.get("quality")),
        **about_cost(answer, body),
    }


def heard_usage(answer: Fields, _: Body) -> Usage | None:
    """Return what a transcription or translation used: tokens, or seconds of audio."""
    usage = fields(answer.get("usage"))
    counts = read_counts(usage, HEARD_TOKENS)
    seconds = number(usage.get("seconds")) or number(answer.get("duration"))
    return counts or ({semconv.AUDIO_SECONDS: seconds} if seconds else None)


def spoken_usage(answer: Fields, body: Body) -> Usage | None:
    """Return the tokens that speech took, or where nothing is said of them the characters that were spoken."""
    said = text(body.get("input"))
    return tokens(RESPONSE_TOKENS, answer, body) or ({semconv.CHARACTERS: len(said)} if said else None)


def moderation_usage(answer: Fields, body: Body) -> Usage:
    """Return the tokens of a moderation where they are counted; OpenAI makes it free of charge."""
    return chat_usage(answer, body) or NOTHING


def number(value: Any) -> float | None:
    """Return a number that is more than 0, also when it is written as a text."""
    try:
        found = float(value) if isinstance(value, int | float | str) else 0.0
    except ValueError:
        return None
    if not 0 < found < math.inf:
        return None
    return int(found) if found.is_integer() else found


def _as_call_of(operation: str, answer: Fields, _: Body) -> About:
    # The tier is that of the call beside which this one was made.
    return {
        semconv.OPERATION_NAME: operation,
        semconv.REQUEST_MODEL: text(answer.get("model")),
        semconv.OPENAI_REQUEST_SERVICE_TIER: None,
    }


as_image_call: Final = functools.partial(_as_call_of, "image_generation")
"""Says that a call beside another one made images, and with which model."""


def _tool_image_usage(answer: Fields, body: Body) -> Usage | None:
    counts = tokens(IMAGE_TOKENS, answer, body)
    return {**counts, **read_counts(answer["usage"], _CACHED_FOR_IMAGES)} if counts else None


Beside = Callable[[Fields, Body], Iterable[tuple[Operation, Fields]]]

_DRAWING: Final = Operation(
    name="chat",
    usage=functools.partial(tokens, _DRAWN_TOKENS),
    about=functools.partial(_as_call_of, "chat"),
)


def drawn_beside(answer: Fields, _: Body) -> Iterable[tuple[Operation, Fields]]:
    """Return the call of the model that wrote an SVG image, beside the one that rendered it."""
    drawn = fields(answer.get("svg_usage"))
    return ((_DRAWING, {"model": drawn.get("model"), "usage": drawn}),) if drawn else ()


def images_beside(
    identity: Callable[[Fields, Body], Identity | None],
    about: Callable[[Fields, Body], About] = as_image_call,
) -> Beside:
    """Return what tells of the images that a response had another model make.

    Args:
        identity: Tells whether the response is a job, and which.
        about: Reads further attributes of that other call.
    """
    operation = Operation(
        name="image_generation",
        usage=_tool_image_usage,
        about=about,
        identity=lambda answer, _: answer.get("identity"),
    )

    def beside(answer: Fields, body: Body) -> Iterable[tuple[Operation, Fields]]:
        response = response_of(answer)
        used = fields(fields(response.get("tool_usage")).get("image_gen"))
        if not used.get("total_tokens"):
            return ()
        tools = (fields(tool) for tool in response.get("tools") or ())
        model = next((tool.get("model") for tool in tools if tool.get("type") == "image_generation"), None)
        # An id of its own: two calls with one id count as the same call, told twice.
        id = f"{response.get('id')}/image_gen"
        job = identity(response, body)
        job = None if job is None else job._replace(id=id, known_as=(), part_of=job.id)
        return ((operation, {"id": id, "model": model, "usage": used, "identity": job}),)

    return beside
