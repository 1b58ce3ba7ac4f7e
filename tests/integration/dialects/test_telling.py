"""Real instrumentations tell a real collector of real calls: each has the tokens and the cost that its provider says.

The packages are the newest that pip finds, but for OpenLIT and openai-v2, which need an openai below 3. What a package
does not tell nobody can price: such calls are named here with what is left of them, so that a test fails when that
improves.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

import genai_prices
import pytest

from tests.collectors.service import process
from tests.collectors.waiting import eventually
from tests.integration.coexistence.environments import make
from tests.integration.dialects import server
from tests.integration.dialects.answers import (
    COMPLETION_USAGE,
    CONVERSE_USAGE,
    EMBEDDING_USAGE,
    MESSAGE_USAGE,
)
from tests.integration.reading import Record, metrics, records, sql

_ROOT: Final = Path(__file__).parents[3]
_EXPORTER: Final = "opentelemetry-exporter-otlp-proto-http"
ENVIRONMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "newest": (
        "openai",
        "anthropic",
        "boto3",
        "opentelemetry-instrumentation-openai",
        "opentelemetry-instrumentation-anthropic",
        "openinference-instrumentation-openai",
        "openinference-instrumentation-anthropic",
        "opentelemetry-instrumentation-genai-openai",
        "opentelemetry-instrumentation-genai-anthropic",
        "opentelemetry-instrumentation-genai-bedrock",
        "opentelemetry-instrumentation-botocore",
        "logfire",
        "langfuse",
        "pydantic-ai-slim[openai,anthropic]",
        "langsmith[otel]",
        "langchain-openai",
        "agent-framework-core",
        "agent-framework-openai",
    ),
    "below-openai-3": (
        "openlit>=1.45",
        "opentelemetry-instrumentation-openai-v2",
        "opentelemetry-util-genai<1.2",
        "openai<3",
        "anthropic",
        "litellm",
    ),
    "azure": ("azure-ai-inference", "azure-core-tracing-opentelemetry", "semantic-kernel"),
}
IN: Final[Mapping[str, str]] = {
    "openllmetry": "newest",
    "openinference": "newest",
    "genai": "newest",
    "botocore": "newest",
    "genai-bedrock": "newest",
    "logfire": "newest",
    "langfuse": "newest",
    "pydantic-ai": "newest",
    "langsmith": "newest",
    "agent-framework": "newest",
    "openai-v2": "below-openai-3",
    "openlit": "below-openai-3",
    "litellm": "below-openai-3",
    "semantic-kernel": "azure",
    "azure-ai-inference": "azure",
}


@dataclass(frozen=True)
class Billed:
    """What the provider's own usage says, as totals with parts."""

    model: str
    seller: str
    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0

    @property
    def cost(self) -> Decimal:
        usage = genai_prices.Usage(
            input_tokens=self.input,
            output_tokens=self.output,
            cache_read_tokens=self.cache_read,
            cache_write_tokens=self.cache_write,
        )
        return genai_prices.calc_price(
            usage, self.model, provider_id=self.seller, genai_request_timestamp=datetime.now(UTC)
        ).total_price


_CHAT: Final = Billed(
    "gpt-5-mini-2025-08-07",
    "openai",
    COMPLETION_USAGE["prompt_tokens"],
    COMPLETION_USAGE["completion_tokens"],
    COMPLETION_USAGE["prompt_tokens_details"]["cached_tokens"],
)
_MESSAGE: Final = Billed(
    "claude-sonnet-4-5-20250929",
    "anthropic",
    sum(
        MESSAGE_USAGE[name]
        for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    ),
    MESSAGE_USAGE["output_tokens"],
    MESSAGE_USAGE["cache_read_input_tokens"],
    MESSAGE_USAGE["cache_creation_input_tokens"],
)
BILLED: Final[Mapping[str, Billed]] = {
    "chat": _CHAT,
    "chat_stream": _CHAT,
    "responses": _CHAT,
    "agent": _CHAT,
    "embeddings": Billed("text-embedding-3-small", "openai", EMBEDDING_USAGE["prompt_tokens"], 0),
    "message": _MESSAGE,
    "message_stream": _MESSAGE,
    "converse": Billed(
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "aws",
        sum(
            CONVERSE_USAGE[name] for name in ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
        ),
        CONVERSE_USAGE["outputTokens"],
        CONVERSE_USAGE["cacheReadInputTokens"],
        CONVERSE_USAGE["cacheWriteInputTokens"],
    ),
}
_UNCACHED: Final = replace(_CHAT, cache_read=0)
TOLD_OTHERWISE: Final[Mapping[tuple[str, str], Billed]] = {
    # These say nothing of the cache.
    ("openai-v2", "chat"): _UNCACHED,
    ("openai-v2", "chat_stream"): _UNCACHED,
    ("semantic-kernel", "chat"): _UNCACHED,
    ("azure-ai-inference", "chat"): replace(_UNCACHED, seller="azure"),
    # It adds the placeholder that a stream begins with.
    ("openllmetry", "message_stream"): replace(_MESSAGE, output=_MESSAGE.output + 1),
    # It forgets what a stream says of the cache.
    ("openlit", "message_stream"): replace(
        _MESSAGE, input=MESSAGE_USAGE["input_tokens"], cache_read=0, cache_write=0
    ),
}
DIALECTS: Final[Mapping[str, str]] = {
    "genai": "otel_genai",
    "openai-v2": "otel_genai",
    "botocore": "otel_botocore",
    "genai-bedrock": "otel_bedrock",
    "pydantic-ai": "pydantic_ai",
    "agent-framework": "agent_framework",
    "semantic-kernel": "semantic_kernel",
    "azure-ai-inference": "azure",
}


_PRICES: Final = """
[[price]]
model = "gpt-5-mini"
input_mtok = 0.25
cache_read_mtok = 0.025
output_mtok = 2
[[price]]
model = "gpt-5-mini-2025-08-07"
input_mtok = 0.25
cache_read_mtok = 0.025
output_mtok = 2
[[price]]
model = "text-embedding-3-small"
input_mtok = 0.02
[[price]]
model = "claude-sonnet-4-5-20250929"
input_mtok = 3
cache_write_mtok = 3.75
cache_read_mtok = 0.3
output_mtok = 15
"""
BESIDE: Final = (
    "openllmetry",
    "openinference",
    "genai",
    "genai-bedrock",
    "logfire",
    "langfuse",
    "pydantic-ai",
    "langsmith",
    "openai-v2",
    "openlit",
)


@pytest.fixture(scope="module")
def pythons(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("environments")
    made = {name: make(folder / name, (_EXPORTER, *packages)) for name, packages in ENVIRONMENTS.items()}
    return {name: made[environment] for name, environment in IN.items()}


@pytest.fixture(scope="module")
def told(pythons: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """What each span tells of each call, whether it is charged there or at another."""
    every_span = "SELECT *, arraySum(costs) AS cost FROM calls FINAL ORDER BY started_at"
    return _recorded(pythons, tmp_path_factory.mktemp("alone"), every_span)


@pytest.fixture(scope="module")
def beside(pythons: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """What is charged where pennytrace and another instrumentation tell one collector of the same calls."""
    charged = "SELECT * FROM spend ORDER BY started_at"
    both = {name: pythons[name] for name in BESIDE}
    folder = tmp_path_factory.mktemp("beside")
    # The provider is on this machine, and pennytrace does not take it for OpenAI: it has a price of its own, the same.
    prices = folder / "prices.toml"
    prices.write_text(_PRICES)
    return _recorded(both, folder, charged, "beside", options=("--prices", str(prices)))


def _recorded(
    pythons: Mapping[str, Path], folder: Path, query: str, *more: str, options: Sequence[str] = ()
) -> list[Record]:
    with (
        process.collector(process.REAL, folder / "state", "--sql", "127.0.0.1:0", *options) as collector,
        server.running() as provider,
        ThreadPoolExecutor(2) as at_once,
        sql(collector.found) as client,
    ):
        place = f"http://127.0.0.1:{provider.port}"
        ran = partial(_run, provider=place, collector=collector.found.http or "", more=more)
        list(at_once.map(ran, pythons, pythons.values()))
        found: list[Record] = []

        def settled() -> bool:
            time.sleep(3)  # longer than from one settle to the next
            before, found[:] = list(found), records(client, query)
            loaded = not metrics(collector)["journal_bytes"]
            return loaded and found == before and all(row["reason"] != "unresolved" for row in found)

        eventually(settled, within_s=60, what="all calls to be priced and sorted")
    return found


def _run(name: str, python: Path, *, provider: str, collector: str, more: Sequence[str]) -> None:
    ours = ("OTEL_", "PENNYTRACE_", "OPENAI_", "LANGFUSE_", "LOGFIRE_", "LANGSMITH_", "LITELLM_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    ran = subprocess.run(
        [str(python), "-m", "tests.integration.dialects.apps.telling", name, provider, collector, *more],
        cwd=_ROOT,
        env=environment | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PENNYTRACE_SPOOL": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{name}: {ran.stderr[-3000:]}"


@pytest.mark.parametrize("name", BESIDE)
def test_beside_pennytrace_each_call_is_charged_once_and_right(beside: list[Record], name: str) -> None:
    """Also what the other tells wrong, or not at all: where the usage is told best it is charged."""
    rows = [row for row in beside if row["service"] == name]

    assert [row["cost"] for row in rows] == [BILLED[call].cost for call in MADE.get(name, CALLS[name])]


@pytest.mark.parametrize("name", IN)
def test_each_call_has_the_tokens_and_the_cost_that_its_provider_says(told: list[Record], name: str) -> None:
    dialect = DIALECTS.get(name, name.replace("-", "_"))
    rows = [row for row in told if row["service"] == name and row["dialect"] != "anthropic_sdk"]

    assert rows
    assert {row["dialect"] for row in rows} == {dialect}
    assert [_found(row) for row in rows] == [_expected(name, call) for call in CALLS[name]]
    assert {row["status"] for row in rows} == {"priced"}


def test_what_anthropics_own_sdk_tells_is_right_as_well(told: list[Record]) -> None:
    rows = [row for row in told if row["dialect"] == "anthropic_sdk"]

    assert rows
    assert {_found(row) for row in rows} == {_expected("", "message")}


_OPENAI: Final = ("chat", "chat_stream", "responses", "embeddings")
_ANTHROPIC: Final = ("message", "message_stream")
CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    "openllmetry": (*_OPENAI, *_ANTHROPIC),
    "openinference": (*_OPENAI, *_ANTHROPIC),
    "genai": (*_OPENAI, *_ANTHROPIC),
    "botocore": ("converse",),
    "genai-bedrock": ("converse",),
    "logfire": (*_OPENAI, *_ANTHROPIC),
    "langfuse": _OPENAI,
    "pydantic-ai": ("chat", "responses", "message"),
    "langsmith": ("chat",),
    "agent-framework": ("agent",),
    "openai-v2": ("chat", "chat_stream", "embeddings"),
    "openlit": (*_OPENAI, *_ANTHROPIC),
    "litellm": ("chat", "embeddings", "message"),
    "semantic-kernel": ("chat",),
    "azure-ai-inference": ("chat",),
}
"""The calls of each app that its instrumentation tells of, in the order in which they are made."""
MADE: Final[Mapping[str, tuple[str, ...]]] = {"openai-v2": _OPENAI}
"""All calls of an app, where that does not tell of each."""


def _found(row: Record) -> tuple[Any, ...]:
    meters = dict(zip(row["meters"], map(int, row["quantities"]), strict=True))
    written = sum(count for meter, count in meters.items() if meter.startswith("cache_write"))
    return row["input_tokens"], row["output_tokens"], meters.get("cache_read", 0), written, row["cost"]


def _expected(name: str, call: str) -> tuple[Any, ...]:
    billed = TOLD_OTHERWISE.get((name, call), BILLED[call])
    return billed.input, billed.output, billed.cache_read, billed.cache_write, billed.cost
