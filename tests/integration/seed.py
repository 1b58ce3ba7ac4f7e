"""The calls of the seed calculations: what a page of the docs reckons with, as spans with the time of then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.collectors import otlp

Attributes = Mapping[str, str | float]

EARLY_2024: Final = datetime(2024, 2, 15, 10, tzinfo=UTC)
AUTUMN_2024: Final = datetime(2024, 11, 15, 10, tzinfo=UTC)
YEAR_2023: Final = datetime(2023, 1, 1, tzinfo=UTC)
RUNS_A_YEAR: Final = 4380
HOURS_A_RUN: Final = 2
GPUS_A_MACHINE: Final = 8
MIXTRAL: Final = "mistralai/Mixtral-8x7B-Instruct-v0.1"
MISTRAL_7B: Final = "mistralai/Mistral-7B-Instruct-v0.1"


@dataclass(frozen=True, slots=True)
class Calls:
    """Some calls that are alike, told apart from all others by their feature."""

    feature: str
    number: int
    start: datetime
    attributes: Attributes
    apart: timedelta = timedelta(seconds=1)
    more: Attributes = field(default_factory=dict)

    def spans(self) -> Iterator[Span]:
        """Their spans, each at its own time."""
        for number in range(self.number):
            made = otlp.span({**self.attributes, **self.more, "pennytrace.feature": self.feature})
            begin = int((self.start + number * self.apart).timestamp()) * 10**9
            made.start_time_unix_nano, made.end_time_unix_nano = begin, begin + 2 * 10**9
            yield made


def asked(
    provider: str, host: str, model: str, *, input_tokens: int = 8000, output_tokens: int = 500
) -> Attributes:
    """The attributes of a chat, as the openai client's calls have them."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "server.address": host,
        "gen_ai.request.model": model,
        "gen_ai.response.model": model,
        "gen_ai.usage.input_tokens": input_tokens,
        "gen_ai.usage.output_tokens": output_tokens,
    }


def openai(model: str, **tokens: int) -> Attributes:
    """A chat at OpenAI."""
    return asked("openai", "api.openai.com", model, **tokens)


def own_gpus(model: str, *, pool: str, seconds: float) -> Attributes:
    """A chat with a server of one's own, and the seconds of GPUs that it took."""
    return {
        **asked("openai_compatible", "llm.internal", model),
        "pennytrace.gpu.pool": pool,
        "pennytrace.usage.gpu_seconds": seconds,
    }


def tuned(**where: str) -> Attributes:
    """A fine-tuning run on a machine with eight GPUs that it has to itself."""
    return {
        "gen_ai.operation.name": "fine_tuning",
        "gen_ai.provider.name": "self_hosted",
        "gen_ai.request.model": "llama-2-7b",
        "pennytrace.usage.gpu_seconds": float(GPUS_A_MACHINE * HOURS_A_RUN * 3600),
        **{name.replace("_", "."): value for name, value in where.items()},
    }


def trained(tokens: int) -> Attributes:
    """A fine-tuning job at OpenAI."""
    return {
        "gen_ai.operation.name": "fine_tuning",
        "gen_ai.provider.name": "openai",
        "server.address": "api.openai.com",
        "gen_ai.request.model": "gpt-3.5-turbo-1106",
        "pennytrace.usage.trained_tokens": tokens,
    }


TURN: Final = openai("gpt-4o-2024-08-06", input_tokens=5000)
"""One of the ten turns of a conversation."""

ALL: Final = (
    Calls("GPT-3.5 Turbo (1106), OpenAI", 1000, EARLY_2024, openai("gpt-3.5-turbo-1106")),
    Calls("GPT-4 Turbo, OpenAI", 1000, EARLY_2024, openai("gpt-4-1106-preview")),
    Calls("Mixtral 8x7B, Together", 1000, EARLY_2024, asked("together", "api.together.xyz", MIXTRAL)),
    Calls("Mistral 7B, Together", 1000, EARLY_2024, asked("together", "api.together.xyz", MISTRAL_7B)),
    Calls("Mixtral 8x7B, own H100s", 1000, EARLY_2024, own_gpus(MIXTRAL, pool="h100", seconds=1.0)),
    Calls("a 7B model, own RTX 4090s", 1000, EARLY_2024, own_gpus("our-7b", pool="rtx-4090", seconds=2.0)),
    Calls("a game character", 300, EARLY_2024, openai("gpt-4-1106-preview"), timedelta(seconds=12)),
    Calls(
        "own runs, reserved machine",
        RUNS_A_YEAR,
        YEAR_2023,
        tuned(pennytrace_gpu_pool="p4d-reserved"),
        timedelta(hours=HOURS_A_RUN),
    ),
    Calls(
        "own runs, machine on demand",
        RUNS_A_YEAR,
        YEAR_2023,
        tuned(pennytrace_gpu_model="NVIDIA A100-SXM4-40GB"),
        timedelta(hours=HOURS_A_RUN),
    ),
    Calls("a run of 500,000 tokens, OpenAI", 1, EARLY_2024, trained(500_000)),
    Calls("a run of 1,500,000 tokens, OpenAI", 1, EARLY_2024, trained(1_500_000)),
    Calls("as it is", 10, AUTUMN_2024, TURN),
    Calls(
        "4 of 5 input tokens cached",
        10,
        AUTUMN_2024,
        TURN,
        more={"gen_ai.usage.cache_read.input_tokens": 4000},
    ),
    Calls("as a batch", 10, AUTUMN_2024, TURN, more={"pennytrace.processing": "batch"}),
)
