"""Anthropic's client library: messages, whole and streamed, batches of them, and dreams. Tried with anthropic 2.12.

Hooked are `SyncAPIClient.request` and its twin, through which all clients go: Anthropic's own and those of Bedrock,
Vertex AI, Foundry and AWS, `stream()`, `parse()` and the tool runner, `beta` or not.

- Anthropic reports input beside what was read from and written to the cache: the total here is their sum.
- The output that the first event of a stream reports is a placeholder; the counts of the later ones are cumulative.
- The tokens of a compaction are not in the totals, so they are added; those of an advisor are charged apart, for it
  is another model.
- What a batch produced is charged when its results are read to their end, each under the id of its message and the
  time of its batch. A batch whose results nobody reads is not charged, for only they tell what was used.
- Fetching of web pages is free; how long code ran is not reported.

Not covered: managed agents (their sessions report running totals), and batches through a gateway that hides their
times. The error in the midst of a stream of Bedrock ends its call as one that was cut.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from pennytrace import semconv
from pennytrace._calls.provider import About, Body, Fields, Identity, Operation, Provider, Usage
from pennytrace._calls.stainless import Stainless
from pennytrace._calls.usage import Counts, fields, read_counts, text, texts
from pennytrace.providers._openai import hosts as openai_hosts

COMPATIBLE: Final = "anthropic_compatible"
"""The provider name of a server of unknown host that speaks Anthropic's language."""

_AWS: Final = "aws-external-anthropic.*.api.aws"
"""The hosts of Anthropic's own platform inside AWS."""
_COUNTS: Final[Counts] = {
    "": {
        "input_tokens": semconv.INPUT_TOKENS,
        "cache_read_input_tokens": semconv.CACHE_READ_INPUT_TOKENS,
        "cache_creation_input_tokens": semconv.CACHE_WRITE_INPUT_TOKENS,
        "output_tokens": semconv.OUTPUT_TOKENS,
    },
    "cache_creation": {
        "ephemeral_5m_input_tokens": semconv.CACHE_WRITE_5M,
        "ephemeral_1h_input_tokens": semconv.CACHE_WRITE_1H,
    },
    "output_tokens_details": {"thinking_tokens": semconv.REASONING_OUTPUT_TOKENS},
    "server_tool_use": {
        "web_search_requests": semconv.WEB_SEARCHES,
        "code_execution_requests": semconv.CODE_EXECUTIONS,
    },
}
_CACHED: Final = (semconv.CACHE_READ_INPUT_TOKENS, semconv.CACHE_WRITE_INPUT_TOKENS)
_NOT_TEXT: Final = frozenset(
    {"role", "type", "id", "tool_use_id", "source", "cache_control", "signature", "data", "encrypted_content"}
)
_COMPACTION: Final = "compaction "
"""Stands before the names of counts of a compaction until the events have been laid over each other."""
_MOST_BATCHES: Final = 1000


class _Times(NamedTuple):
    created: float
    ended: float | None


_batches: dict[str, _Times] = {}
"""When batches ran: their results do not say, but the library asks for the batch before it asks for them."""


def name_of_host(host: str) -> str:
    """Return the provider behind `host`, or `COMPATIBLE` when it is not a known one."""
    if fnmatchcase(host, _AWS):
        return "anthropic"
    name = openai_hosts.name_of_host(host)
    return COMPATIBLE if name == openai_hosts.COMPATIBLE else name


def _platform(client: Any) -> str | None:
    """Return the provider of a client that is made for one, whatever host it was given."""
    name = text(getattr(type(client), "_gen_ai_provider_name", None))
    return None if name == "anthropic" else name


def _message(answer: Fields) -> Fields:
    """Return the message that an answer, an event or a line of results is or has in it."""
    result = fields(answer.get("result"))
    return fields(result.get("message") or answer.get("message")) or answer


def _usage(answer: Fields, _: Body) -> Usage | None:
    usage = fields(_message(answer).get("usage"))
    counts = dict(read_counts(usage, _COUNTS))
    for iteration in usage.get("iterations") or ():
        if fields(iteration).get("type") == "compaction":
            for name, count in read_counts(iteration, _COUNTS).items():
                counts[_COMPACTION + name] = counts.get(_COMPACTION + name, 0) + count
    if answer.get("type") == "message_start":
        counts.pop(semconv.OUTPUT_TOKENS, None)
    return counts or None


def _totals(usage: Usage) -> Usage:
    totals = {name: count for name, count in usage.items() if not name.startswith(_COMPACTION)}
    for name in usage.keys() - totals.keys():
        counted = name.removeprefix(_COMPACTION)
        totals[counted] = totals.get(counted, 0) + usage[name]
    for name in _CACHED:
        if totals.get(name) == 0:
            del totals[name]
    if semconv.INPUT_TOKENS in totals:
        totals[semconv.INPUT_TOKENS] += sum(totals.get(name, 0) for name in _CACHED)
    return totals


def _about(answer: Fields, _: Body) -> About:
    usage = fields(_message(answer).get("usage"))
    said = {semconv.SPEED: text(usage.get("speed")), semconv.GEO: text(usage.get("inference_geo"))}
    return {name: value for name, value in said.items() if value is not None}


def _describes(answer: Fields) -> Fields:
    message = _message(answer)
    usage = fields(message.get("usage"))
    dearer = [
        name
        for name, value in (("fast", usage.get("speed")), ("us", usage.get("inference_geo")))
        if value == name
    ]
    tier = usage.get("service_tier")
    if dearer:  # billed at a price of their own, as a tier is
        tier = "+".join(dearer if tier in (None, "standard") else [tier, *dearer])
    return message if tier is None else {**message, "service_tier": tier}


def _advice(answer: Fields, _: Body) -> Iterable[tuple[Operation, Fields]]:
    message = _message(answer)
    for number, iteration in enumerate(fields(message.get("usage")).get("iterations") or ()):
        held = fields(iteration)
        if held.get("type") == "advisor_message":
            yield (
                _ADVICE,
                {"model": held.get("model"), "usage": held, "of": message.get("id"), "number": number},
            )


def _about_advice(advice: Fields, _: Body) -> About:
    return {semconv.REQUEST_MODEL: text(advice.get("model"))}


def _conversation(body: Body) -> Any:
    return list(texts([body.get(name) for name in ("system", "messages", "tools")], skip=_NOT_TEXT))


def _delivered(event: Fields) -> Any:
    delta = fields(event.get("delta"))
    return [delta.get(name) for name in ("text", "thinking", "partial_json")]


def _seconds(time: Any) -> float | None:
    """Return seconds since 1970 for a time as the library or the wire has it."""
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    return time.timestamp() if isinstance(time, datetime) else None


def _batch(batch: Fields, _: Body) -> Identity | None:
    """Note when a batch ran, and who asked for it."""
    name, created = text(batch.get("id")), _seconds(batch.get("created_at"))
    if name is None or created is None:
        return None
    _batches.pop(name, None)
    _batches[name] = _Times(created, _seconds(batch.get("ended_at")))
    while len(_batches) > _MOST_BATCHES:
        del _batches[next(iter(_batches))]
    return Identity(name, created)


def _result(message: Fields, parameters: Body) -> Identity | None:
    return _part_of_batch(text(message.get("id")), parameters)


def _advice_in_batch(advice: Fields, parameters: Body) -> Identity | None:
    return _part_of_batch(f"{advice['of']}/{advice['number']}", parameters)


def _part_of_batch(name: str | None, parameters: Body) -> Identity | None:
    batch = parameters.get("batch")
    times = _batches.get(batch) if batch else None
    if name is None or batch is None or times is None:
        return None
    return Identity(name, times.created, times.ended, part_of=batch)


def _about_result(line: Fields, parameters: Body) -> About:
    batch = text(parameters.get("batch"))
    return {**_about(line, parameters), semconv.PROCESSING: semconv.BATCH_PROCESSING, semconv.BATCH: batch}


def _advice_in_results(line: Fields, parameters: Body) -> Iterable[tuple[Operation, Fields]]:
    return [(_ADVICE_IN_BATCH, advice) for _, advice in _advice(line, parameters)]


def _about_advice_in_batch(advice: Fields, parameters: Body) -> About:
    return {**_about_result(advice, parameters), **_about_advice(advice, parameters)}


def _dream(dream: Fields, _: Body) -> Identity | None:
    name, created = text(dream.get("id")), _seconds(dream.get("created_at"))
    if name is None or created is None:
        return None
    return Identity(name, created, _seconds(dream.get("ended_at")))


def _describes_dream(dream: Fields) -> Fields:
    return {**dream, "model": fields(dream.get("model")).get("id")}


def _nothing_yet(_: Fields, __: Body) -> None:
    return None


_ADVICE: Final = Operation(name="chat", usage=_usage, totals=_totals, about=_about_advice)
_ADVICE_IN_BATCH: Final = Operation(
    name="chat", usage=_usage, totals=_totals, about=_about_advice_in_batch, identity=_advice_in_batch
)
_MESSAGES: Final = Operation(
    name="chat",
    usage=_usage,
    totals=_totals,
    about=_about,
    describes=_describes,
    prompt=_conversation,
    delivered=_delivered,
    small=("type", "id", "model", "usage"),
    beside=_advice,
)
_BATCH: Final = Operation(name="chat", usage=_nothing_yet, identity=_batch, later=True)
_RESULTS: Final = Operation(
    name="chat",
    usage=_usage,
    totals=_totals,
    about=_about_result,
    describes=_describes,
    identity=_result,
    later=True,
    lines=True,
    beside=_advice_in_results,
)
_DREAM: Final = Operation(
    name="chat", usage=_usage, totals=_totals, describes=_describes_dream, identity=_dream, later=True
)

PROVIDER = Provider(
    id="anthropic",
    distribution="anthropic",
    docs="https://platform.claude.com/docs/en/api/messages/create",
    shape=Stainless("anthropic._base_client", provider_of=_platform),
    operations={
        "POST /v1/messages": _MESSAGES,
        "POST /v1/messages/batches": _BATCH,
        "GET /v1/messages/batches/{batch}": _BATCH,
        "GET /v1/messages/batches/{batch}/results": _RESULTS,
        "POST /v1/dreams": _DREAM,
        "GET /v1/dreams/{dream}": _DREAM,
    },
    name_of_host=name_of_host,
)
