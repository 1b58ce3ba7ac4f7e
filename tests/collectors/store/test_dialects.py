"""A call told in any dialect has the tokens and the price that its provider says; what only sums up calls is not one.

The shapes are those that the real packages sent when they called a local provider (tests/integration/dialects makes
these calls anew). What no package can be brought to tell there is written as the packages' sources write it: the older
names of OpenLLMetry, OpenLIT and Langfuse, LiteLLM's proxy, the AI SDK below 6, Gemini, and vLLM.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, Final

import genai_prices
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace_collectors.journal.record import varint
from pennytrace_collectors.store import Store, open_store
from tests.collectors import otlp
from tests.collectors.calls import load, spend

Attributes = Mapping[str, str | float]
_APPS: Final = count()
_AT: Final = datetime.fromtimestamp(otlp.START_NS // 10**9, UTC)


@dataclass(frozen=True)
class Billed:
    """What the provider says of a call."""

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0

    def price(self, model: str, provider: str) -> Decimal:
        usage = genai_prices.Usage(
            input_tokens=self.input,
            output_tokens=self.output,
            cache_read_tokens=self.cache_read or None,
            cache_write_tokens=self.cache_write or None,
            cache_write_1h_tokens=self.cache_write_1h or None,
        )
        found = genai_prices.calc_price(usage, model, provider_id=provider, genai_request_timestamp=_AT)
        return found.total_price


@dataclass(frozen=True)
class Told:
    """One span of a dialect, and the call that it is."""

    dialect: str
    scope: str
    attributes: Attributes
    billed: Billed
    model: str
    seller: str
    operation: str = "chat"
    more: Mapping[str, Any] = field(default_factory=dict)
    """Other columns of the call."""
    kind: int = Span.SPAN_KIND_INTERNAL


_OPENAI: Final = Billed(1500, 400, cache_read=1024, reasoning=256)
_ANTHROPIC: Final = Billed(2400, 50, cache_read=2000, cache_write=300)
_GEMINI: Final = Billed(1000, 500, cache_read=200)
_EMBEDDED: Final = Billed(12, 0)
_GPT: Final = "gpt-5-mini-2025-08-07"
_CLAUDE: Final = "claude-sonnet-4-5-20250929"
_CLAUDE_AT_BEDROCK: Final = "anthropic.claude-sonnet-4-5-20250929-v1:0"
_RAW_OPENAI: Final = (
    '{"completion_tokens": 400, "prompt_tokens": 1500, "total_tokens": 1900, "completion_tokens_details": '
    '{"audio_tokens": 0, "reasoning_tokens": 256}, "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 1024}}'
)
_RAW_ANTHROPIC: Final = (
    '{"cache_creation":{"ephemeral_1h_input_tokens":100,"ephemeral_5m_input_tokens":200},"cache_creation_input_tokens":300,'
    '"cache_read_input_tokens":2000,"input_tokens":100,"output_tokens":50,"service_tier":"standard"}'
)


def _gen_ai(provider: str, model: str, **usage: int) -> dict[str, str | float]:
    names = {name.replace("__", "."): value for name, value in usage.items()}
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
        "gen_ai.response.model": model,
        "gen_ai.response.id": "answer-1",
        **{f"gen_ai.usage.{name}": value for name, value in names.items()},
    }


_OPENLLMETRY: Final = "opentelemetry.instrumentation."
TOLD: Final[Mapping[str, Told]] = {
    "genai: Anthropic": Told(
        "otel_genai",
        "opentelemetry.instrumentation.genai.anthropic",
        _gen_ai(
            "anthropic",
            _CLAUDE,
            input_tokens=2400,
            output_tokens=50,
            cache_read__input_tokens=2000,
            cache_write__input_tokens=300,
        ),
        _ANTHROPIC,
        _CLAUDE,
        "anthropic",
    ),
    "conventions of 2024": Told(
        "otel_genai",
        "my.own.instrumentation",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.system": "openai",
            "gen_ai.request.model": _GPT,
            "gen_ai.usage.prompt_tokens": 1500,
            "gen_ai.usage.completion_tokens": 400,
        },
        Billed(1500, 400),
        _GPT,
        "openai",
    ),
    "genai: Bedrock": Told(
        "otel_bedrock",
        "opentelemetry.instrumentation.genai.bedrock",
        _gen_ai(
            "aws.bedrock",
            _CLAUDE_AT_BEDROCK,
            input_tokens=100,
            output_tokens=50,
            cache_read__input_tokens=2000,
            cache_write__input_tokens=300,
        ),
        _ANTHROPIC,
        _CLAUDE_AT_BEDROCK,
        "aws",
    ),
    # The cached part is the smaller one here, so that sizes alone would not give it away.
    "botocore": Told(
        "otel_botocore",
        "opentelemetry.instrumentation.botocore.bedrock-runtime",
        _gen_ai(
            "aws.bedrock",
            _CLAUDE_AT_BEDROCK,
            input_tokens=2100,
            output_tokens=50,
            cache_read__input_tokens=200,
            cache_creation__input_tokens=100,
        ),
        Billed(2400, 50, cache_read=200, cache_write=100),
        _CLAUDE_AT_BEDROCK,
        "aws",
    ),
    "Anthropic's own SDK": Told(
        "anthropic_sdk",
        "com.anthropic.sdk.python",
        _gen_ai(
            "anthropic",
            _CLAUDE,
            input_tokens=2400,
            output_tokens=50,
            cache_read__input_tokens=2000,
            cache_write__input_tokens=300,
        )
        | {
            "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 200,
            "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 100,
            "anthropic.response.service_tier": "standard",
        },
        Billed(2400, 50, cache_read=2000, cache_write=300, cache_write_1h=100),
        _CLAUDE,
        "anthropic",
        more={"served_tier": "standard"},
    ),
    "OpenInference": Told(
        "openinference",
        "openinference.instrumentation.openai",
        {
            "openinference.span.kind": "LLM",
            "llm.system": "openai",
            "llm.model_name": _GPT,
            "llm.token_count.total": 1900,
            "llm.token_count.prompt": 1500,
            "llm.token_count.completion": 400,
            "llm.token_count.prompt_details.cache_read": 1024,
            "llm.token_count.prompt_details.audio": 0,
            "llm.token_count.completion_details.reasoning": 256,
            "llm.token_count.completion_details.audio": 0,
            "llm.cost.total": 0.5,
            "output.value": '{"id":"answer-1","usage":{"prompt_tokens":1500}}',
            "user.id": "ada",
            "session.id": "first",
        },
        _OPENAI,
        _GPT,
        "openai",
        more={"user": "ada", "session": "first", "reported_cost": Decimal("0.5")},
    ),
    "OpenInference: the host's name before the model's family": Told(
        "openinference",
        "openinference.instrumentation.openai",
        {
            "openinference.span.kind": "LLM",
            "llm.system": "openai",
            "llm.provider": "azure",
            "llm.model_name": "gpt-4o",
            "llm.token_count.prompt": 1500,
            "llm.token_count.completion": 400,
        },
        Billed(1500, 400),
        "gpt-4o",
        "azure",
        more={"provider": "azure"},
    ),
    "OpenInference: Anthropic, its scope unknown": Told(
        "openinference",
        "somebody.elses.wrapper",
        {
            "openinference.span.kind": "LLM",
            "llm.provider": "anthropic",
            "llm.system": "anthropic",
            "llm.model_name": _CLAUDE,
            "llm.token_count.prompt": 2400,
            "llm.token_count.completion": 50,
            "llm.token_count.prompt_details.cache_read": 2000,
            "llm.token_count.prompt_details.cache_write": 300,
        },
        _ANTHROPIC,
        _CLAUDE,
        "anthropic",
    ),
    "OpenInference: embeddings": Told(
        "openinference",
        "openinference.instrumentation.openai",
        {
            "openinference.span.kind": "EMBEDDING",
            "llm.system": "openai",
            "embedding.model_name": "text-embedding-3-small",
            "llm.token_count.prompt": 12,
            "llm.token_count.total": 12,
        },
        _EMBEDDED,
        "text-embedding-3-small",
        "openai",
        "embeddings",
    ),
    "OpenLLMetry": Told(
        "openllmetry",
        _OPENLLMETRY + "openai.v1",
        _gen_ai(
            "openai",
            _GPT,
            input_tokens=1500,
            output_tokens=400,
            total_tokens=1900,
            cache_read__input_tokens=1024,
            reasoning_tokens=256,
        )
        | {
            "gen_ai.openai.api_base": "https://api.openai.com/v1/",
            "gen_ai.is_streaming": True,
            "traceloop.workflow.name": "checkout",
            "traceloop.association.properties.user_id": "ada",
            "traceloop.association.properties.session_id": "first",
            "traceloop.association.properties.customer_id": "acme",
        },
        _OPENAI,
        _GPT,
        "openai",
        more={
            "host": "api.openai.com",
            "streamed": 1,
            "feature": "checkout",
            "user": "ada",
            "session": "first",
            "customer": "acme",
        },
    ),
    "OpenLLMetry of 2024": Told(
        "openllmetry",
        _OPENLLMETRY + "anthropic",
        {
            "llm.request.type": "chat",
            "gen_ai.system": "anthropic",
            "gen_ai.request.model": _CLAUDE,
            "gen_ai.response.model": _CLAUDE,
            "gen_ai.usage.prompt_tokens": 2400,
            "gen_ai.usage.completion_tokens": 50,
            "llm.usage.total_tokens": 2450,
            "gen_ai.usage.cache_read_input_tokens": 2000,
            "gen_ai.usage.cache_creation_input_tokens": 300,
        },
        _ANTHROPIC,
        _CLAUDE,
        "anthropic",
    ),
    "OpenLLMetry: only the total has Gemini's thoughts": Told(
        "openllmetry",
        _OPENLLMETRY + "google_generativeai",
        _gen_ai(
            "gcp.gen_ai",
            "gemini-2.5-pro",
            input_tokens=1000,
            output_tokens=100,
            total_tokens=1500,
            cache_read__input_tokens=200,
        ),
        _GEMINI,
        "gemini-2.5-pro",
        "google",
    ),
    "OpenLIT": Told(
        "openlit",
        "openlit.instrumentation.openai",
        _gen_ai(
            "openai",
            _GPT,
            input_tokens=1500,
            output_tokens=400,
            cache_read__input_tokens=1024,
            cache_creation__input_tokens=0,
            reasoning_tokens=256,
            cost=0,
        ),
        _OPENAI,
        _GPT,
        "openai",
        more={"reported_cost": None},
    ),
    "OpenLIT: Anthropic's input without what was cached": Told(
        "openlit",
        "openlit.instrumentation.anthropic",
        _gen_ai(
            "anthropic",
            _CLAUDE,
            input_tokens=2100,
            output_tokens=50,
            cache_read__input_tokens=200,
            cache_creation__input_tokens=100,
        )
        | {"gen_ai.usage.cost": 0.25, "gen_ai.request.user": "ada"},
        Billed(2400, 50, cache_read=200, cache_write=100),
        _CLAUDE,
        "anthropic",
        more={"reported_cost": Decimal("0.25"), "user": "ada"},
    ),
    "OpenLIT: Gemini's thoughts beside its output": Told(
        "openlit",
        "openlit.instrumentation.google_ai_studio",
        _gen_ai(
            "gcp.gemini",
            "gemini-2.5-pro",
            input_tokens=1000,
            output_tokens=100,
            reasoning_tokens=400,
            cache_read__input_tokens=200,
        ),
        Billed(1000, 500, cache_read=200, reasoning=400),
        "gemini-2.5-pro",
        "google",
    ),
    "Langfuse": Told(
        "langfuse",
        "langfuse-sdk",
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.model.name": _GPT,
            "langfuse.observation.usage_details": _RAW_OPENAI,
            "langfuse.observation.cost_details": '{"input": 0.1, "total": 0.75}',
            "session.id": "first",
        },
        _OPENAI,
        _GPT,
        "openai",
        more={"provider": "openai", "session": "first", "reported_cost": Decimal("0.75")},
    ),
    "Langfuse: LangChain's handler takes the parts out": Told(
        "langfuse",
        "langfuse-sdk",
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.model.name": _GPT,
            "langfuse.observation.usage_details": '{"input": 476, "output": 144, "total": 1900, "input_audio": 0, '
            '"input_cache_read": 1024, "output_audio": 0, "output_reasoning": 256}',
        },
        _OPENAI,
        _GPT,
        "openai",
    ),
    "Langfuse: Anthropic's usage as it is": Told(
        "langfuse",
        "langfuse-sdk",
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.model.name": _CLAUDE,
            "langfuse.observation.usage_details": _RAW_ANTHROPIC,
        },
        Billed(2400, 50, cache_read=2000, cache_write=300, cache_write_1h=100),
        _CLAUDE,
        "anthropic",
    ),
    "LiteLLM, on the span of the app": Told(
        "litellm",
        "app",
        _gen_ai("", _GPT, input_tokens=1500, output_tokens=400, total_tokens=1900)
        | {
            "gen_ai.system": "",
            "litellm.call_id": "1",
            "litellm.provider.model": f"openai/{_GPT}",
            "metadata.usage_object": "{'completion_tokens': 400, 'prompt_tokens': 1500, 'completion_tokens_details': "
            "{'audio_tokens': None, 'reasoning_tokens': 256}, 'prompt_tokens_details': {'audio_tokens': None, "
            "'cached_tokens': 1024}}",
            "metadata.user_api_key_team_alias": "",
            "metadata.user_api_key_team_id": "web",
            "metadata.user_api_key_end_user_id": "acme",
            "gen_ai.cost.total_cost": 0.0009445999,
        },
        _OPENAI,
        _GPT,
        "openai",
        more={"team": "web", "customer": "acme", "reported_cost": Decimal("0.0009445999")},
    ),
    "LiteLLM's proxy, on the span of the request that it serves": Told(
        "litellm",
        "litellm",
        _gen_ai("openai", _GPT, input_tokens=1500, output_tokens=400, cache_read__input_tokens=1024)
        | {"litellm.call_id": "1", "litellm.cost.total": 0.5, "litellm.team.alias": "web"},
        Billed(1500, 400, cache_read=1024),
        _GPT,
        "openai",
        more={"team": "web", "reported_cost": Decimal("0.5")},
        kind=Span.SPAN_KIND_SERVER,
    ),
    "Logfire": Told(
        "logfire",
        "logfire.anthropic",
        _gen_ai(
            "anthropic",
            _CLAUDE,
            input_tokens=2400,
            output_tokens=50,
            cache_read__input_tokens=2000,
            cache_creation__input_tokens=300,
        )
        | {"gen_ai.usage.raw": _RAW_ANTHROPIC, "operation.cost": 0.002775},
        Billed(2400, 50, cache_read=2000, cache_write=300, cache_write_1h=100),
        _CLAUDE,
        "anthropic",
        more={"reported_cost": Decimal("0.002775")},
    ),
    "pydantic-ai": Told(
        "pydantic_ai",
        "pydantic-ai",
        _gen_ai("openai", _GPT, input_tokens=1500, output_tokens=400, cache_read__input_tokens=1024)
        | {
            "gen_ai.usage.details.reasoning_tokens": 256,
            "gen_ai.usage.details.cache_read_tokens": 1024,
            "gen_ai.conversation.id": "first",
            "operation.cost": 0.0009446,
        },
        _OPENAI,
        _GPT,
        "openai",
        more={"session": "first", "reported_cost": Decimal("0.0009446")},
    ),
    "AI SDK": Told(
        "vercel",
        "gen_ai",
        _gen_ai(
            "anthropic",
            _CLAUDE,
            input_tokens=2400,
            output_tokens=50,
            cache_read__input_tokens=2000,
            cache_creation__input_tokens=300,
        ),
        _ANTHROPIC,
        _CLAUDE,
        "anthropic",
    ),
    "AI SDK, its older names": Told(
        "vercel_legacy",
        "ai",
        {
            "ai.operationId": "ai.generateText.doGenerate",
            "ai.telemetry.functionId": "checkout",
            "ai.telemetry.metadata.userId": "ada",
            "ai.model.provider": "anthropic.messages",
            "ai.model.id": "claude-sonnet-4-5",
            "gen_ai.system": "anthropic.messages",
            "gen_ai.request.model": "claude-sonnet-4-5",
            "gen_ai.response.model": _CLAUDE,
            "ai.usage.inputTokens": 2400,
            "ai.usage.outputTokens": 50,
            "ai.usage.cachedInputTokens": 200,
            "ai.usage.inputTokenDetails.noCacheTokens": 2100,
            "ai.usage.inputTokenDetails.cacheReadTokens": 200,
            "ai.usage.inputTokenDetails.cacheWriteTokens": 100,
            "gen_ai.usage.input_tokens": 2400,
            "gen_ai.usage.output_tokens": 50,
        },
        Billed(2400, 50, cache_read=200, cache_write=100),
        _CLAUDE,
        "anthropic",
        more={"feature": "checkout", "user": "ada"},
    ),
    "AI SDK below 6": Told(
        "vercel_legacy",
        "ai",
        {
            "ai.operationId": "ai.streamText.doStream",
            "ai.model.provider": "anthropic.messages",
            "ai.model.id": _CLAUDE,
            "ai.usage.inputTokens": 2200,
            "ai.usage.outputTokens": 50,
            "ai.usage.cachedInputTokens": 200,
        },
        Billed(2400, 50, cache_read=200),
        _CLAUDE,
        "anthropic",
    ),
    "AI SDK: embeddings, its older names": Told(
        "vercel_legacy",
        "ai",
        {
            "ai.operationId": "ai.embed.doEmbed",
            "ai.model.provider": "openai.embedding",
            "ai.model.id": "text-embedding-3-small",
            "ai.usage.tokens": 12,
        },
        _EMBEDDED,
        "text-embedding-3-small",
        "openai",
        "embeddings",
    ),
    "semantic-kernel": Told(
        "semantic_kernel",
        "semantic_kernel.utils.telemetry.model_diagnostics.decorators",
        _gen_ai("openai", _GPT, input_tokens=1500, output_tokens=400)
        | {"server.address": "https://api.openai.com/v1/"},
        Billed(1500, 400),
        _GPT,
        "openai",
        more={"host": "api.openai.com"},
    ),
    "agent-framework": Told(
        "agent_framework",
        "agent_framework",
        _gen_ai(
            "openai",
            _GPT,
            input_tokens=1500,
            output_tokens=400,
            cache_creation__input_tokens=0,
            cache_read__input_tokens=1024,
            reasoning__output_tokens=256,
        ),
        _OPENAI,
        _GPT,
        "openai",
    ),
    "LangSmith": Told(
        "langsmith",
        "langsmith",
        _gen_ai("openai", _GPT, input_tokens=1500, output_tokens=400, total_tokens=1900)
        | {
            "langsmith.span.kind": "llm",
            "gen_ai.usage.input_token_details": "{'audio': 0, 'cache_read': 1024}",
            "gen_ai.usage.output_token_details": "{'audio': 0, 'reasoning': 256}",
            "langsmith.metadata.thread_id": "first",
        },
        Billed(1500, 400, cache_read=1024),
        _GPT,
        "openai",
        more={"session": "first"},
    ),
    "azure-ai-inference": Told(
        "azure",
        "azure.core.tracing.ext.opentelemetry_span",
        _gen_ai("az.ai.inference", "gpt-4o", input_tokens=1500, output_tokens=400),
        Billed(1500, 400),
        "gpt-4o",
        "azure",
    ),
}
NO_CALLS: Final[Mapping[str, tuple[str, Attributes]]] = {
    "an agent's sum": (
        "gen_ai",
        _gen_ai("openai", _GPT, input_tokens=1500) | {"gen_ai.operation.name": "invoke_agent"},
    ),
    "an agent of agent-framework": (
        "agent_framework",
        _gen_ai("microsoft.agent_framework", _GPT, input_tokens=1500)
        | {"gen_ai.operation.name": "invoke_agent"},
    ),
    "an agent of OpenInference": (
        "openinference.instrumentation.openai_agents",
        {"openinference.span.kind": "AGENT", "llm.token_count.prompt": 1500},
    ),
    "a tool": ("pydantic-ai", {"gen_ai.operation.name": "execute_tool"}),
    "a workflow of OpenLLMetry": (
        "traceloop.tracer",
        {"traceloop.span.kind": "workflow", "traceloop.workflow.name": "checkout"},
    ),
    "an agent of Langfuse": (
        "langfuse-sdk",
        {"langfuse.observation.type": "agent", "langfuse.observation.usage_details": _RAW_OPENAI},
    ),
    "the outer span of the AI SDK": (
        "ai",
        {"ai.operationId": "ai.generateText", "ai.model.id": _GPT, "ai.usage.inputTokens": 1500},
    ),
    "the outer span of the AI SDK's embeddings": (
        "gen_ai",
        {
            "gen_ai.operation.name": "embeddings",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "text-embedding-3-small",
        },
    ),
    "the begin of a stream that Logfire tells at its end": (
        "logfire.openai",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-5-mini",
            "gen_ai.response.model": "gpt-5-mini",
        },
    ),
    "the raw request of LiteLLM": (
        "litellm",
        {"llm.openai.id": "answer-1", "llm.openai.usage": _RAW_OPENAI},
    ),
    "an HTTP request": ("azure.core.tracing.ext.opentelemetry_span", {"http.request.method": "POST"}),
}


@pytest.fixture(scope="module")
def told_store(fresh_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store for all tests of this file: each looks at the spans that it has sent."""
    folder = tmp_path_factory.mktemp("dialects") / "store"
    opened = open_store(f"chdb://{shutil.copytree(fresh_store, folder, symlinks=True)}")
    yield opened
    opened.close()


def _span(attributes: Attributes, kind: int = Span.SPAN_KIND_INTERNAL) -> Span:
    made = otlp.span(attributes)
    made.kind = kind  # type: ignore[assignment]
    return made


def _calls(store: Store, spans: Sequence[Span], scope: str) -> list[dict[str, Any]]:
    """What is charged of spans of an app of their own, at a time of their own: many have one response id."""
    number = next(_APPS)
    for made in spans:
        made.start_time_unix_nano += number * 10 * 10**9
        made.end_time_unix_nano += number * 10 * 10**9
    request = otlp.request(spans, scope)
    request.resource_spans[0].resource.attributes[0].value.string_value = f"app {number}"
    body = request.SerializeToString()
    store.load(varint(len(body)) + body)
    store.settle()
    ids = ", ".join(f"'{made.span_id.hex()}'" for made in spans)
    return spend(store, where=f"span_id IN ({ids})")


@pytest.mark.parametrize("name", TOLD)
def test_a_call_has_the_tokens_and_the_price_that_its_provider_says(told_store: Store, name: str) -> None:
    told = TOLD[name]

    (row,) = _calls(told_store, [_span(told.attributes, told.kind)], told.scope)

    meters = dict(zip(row["meters"], map(int, row["quantities"]), strict=True))
    billed = told.billed
    assert (row["dialect"], row["operation"], row["usage_source"]) == (
        told.dialect,
        told.operation,
        "measured",
    )
    assert (row["input_tokens"], row["output_tokens"]) == (billed.input, billed.output)
    assert meters.get("cache_read", 0) == billed.cache_read
    written = sum(count for meter, count in meters.items() if meter.startswith("cache_write"))
    assert (written, meters.get("cache_write_1h", 0)) == (billed.cache_write, billed.cache_write_1h)
    assert meters.get("output_reasoning", 0) == billed.reasoning
    assert (row["status"], row["cost"]) == ("priced", billed.price(told.model, told.seller))
    assert {column: row[column] for column in told.more} == dict(told.more)


@pytest.mark.parametrize("name", NO_CALLS)
def test_what_only_sums_up_calls_or_tells_one_again_is_none(told_store: Store, name: str) -> None:
    scope, attributes = NO_CALLS[name]

    assert _calls(told_store, [_span(attributes)], scope) == []


def test_the_span_of_an_engine_is_not_charged_by_tokens(told_store: Store) -> None:
    served: Attributes = {
        "gen_ai.usage.prompt_tokens": 1500,
        "gen_ai.usage.completion_tokens": 400,
        "gen_ai.request.id": "chatcmpl-1",
    }

    assert _calls(told_store, [_span(served, Span.SPAN_KIND_SERVER)], "vllm.tracing.otel") == []
    assert _calls(told_store, [_span(served)], "vllm.tracing.otel") == []


def test_a_zero_of_openlit_may_mean_that_it_does_not_know(told_store: Store) -> None:
    attributes = _gen_ai("openai", _GPT, input_tokens=0, output_tokens=0, cache_read__input_tokens=0, cost=0)

    (row,) = _calls(told_store, [_span(attributes)], "openlit.instrumentation.openai")

    assert (row["status"], row["reason"], row["cost"]) == ("unpriced", "usage missing", None)


def test_a_model_that_langfuse_names_and_nobody_is_known_to_make_stays_unpriced(told_store: Store) -> None:
    attributes = {
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": "gpt-oss-120b",
        "langfuse.observation.usage_details": _RAW_OPENAI,
    }

    (row,) = _calls(told_store, [_span(attributes)], "langfuse-sdk")

    assert (row["status"], row["reason"], row["input_tokens"]) == ("unpriced", "unknown provider", 1500)


def test_what_tells_of_one_answer_has_one_key(told_store: Store) -> None:
    spans = {scope: [_span(TOLD[name].attributes)] for scope, name in _ONE_ANSWER.items()}
    for scope, made in spans.items():
        load(told_store, made, scope)
    ids = ", ".join(f"unhex('{made.span_id.hex()}')" for each in spans.values() for made in each)

    keys = told_store.client.query(
        f"SELECT DISTINCT response_key, parent_span_id FROM pennytrace.calls WHERE span_id IN ({ids})"
    ).result_rows

    assert len(keys) == 1
    assert keys[0][0] != 0


_ONE_ANSWER: Final = {
    "openinference.instrumentation.openai": "OpenInference",
    "openlit.instrumentation.openai": "OpenLIT",
    "pydantic-ai": "pydantic-ai",
}


@st.composite
def _usages(draw: st.DrawFn) -> Billed:
    parts = st.integers(0, 100_000)
    read, written, uncached, output = (draw(parts) for _ in range(4))
    reasoning = draw(st.integers(0, output))
    return Billed(uncached + read + written + 1, output, read, written, reasoning=reasoning)


def _in_every_way(usage: Billed) -> Iterator[tuple[str, Attributes]]:
    """The same usage as different dialects tell it."""
    beside = usage.input - usage.cache_read - usage.cache_write
    cached = {
        "cache_read__input_tokens": usage.cache_read,
        "cache_creation__input_tokens": usage.cache_write,
    }
    yield (
        "pydantic-ai",
        _gen_ai("anthropic", _CLAUDE, input_tokens=usage.input, output_tokens=usage.output, **cached)
        | {"gen_ai.usage.details.reasoning_tokens": usage.reasoning},
    )
    yield (
        "openlit.instrumentation.anthropic",
        _gen_ai(
            "anthropic",
            _CLAUDE,
            input_tokens=beside,
            output_tokens=usage.output,
            reasoning_tokens=usage.reasoning,
            **cached,
        ),
    )
    yield (
        "langfuse-sdk",
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.model.name": _CLAUDE,
            "langfuse.observation.usage_details": f'{{"input": {beside}, "output": {usage.output - usage.reasoning}, '
            f'"input_cache_read": {usage.cache_read}, "input_cache_creation": {usage.cache_write}, '
            f'"output_reasoning": {usage.reasoning}}}',
        },
    )
    yield (
        "openinference.instrumentation.anthropic",
        {
            "openinference.span.kind": "LLM",
            "llm.provider": "anthropic",
            "llm.model_name": _CLAUDE,
            "llm.token_count.prompt": usage.input,
            "llm.token_count.completion": usage.output,
            "llm.token_count.prompt_details.cache_read": usage.cache_read,
            "llm.token_count.prompt_details.cache_write": usage.cache_write,
            "llm.token_count.completion_details.reasoning": usage.reasoning,
        },
    )


@settings(max_examples=15, deadline=None)
@given(usage=_usages())
def test_meters_add_up_to_the_providers_totals_in_whatever_dialect(told_store: Store, usage: Billed) -> None:
    told = list(_in_every_way(usage))

    rows = [_calls(told_store, [_span(attributes)], scope)[0] for scope, attributes in told]

    assert {row["cost"] for row in rows} == {usage.price(_CLAUDE, "anthropic")}
    for row in rows:
        assert min(row["quantities"]) >= 0
        assert sum(row["quantities"]) == usage.input + usage.output
        assert (
            dict(zip(row["meters"], row["quantities"], strict=True)).get("output_reasoning", 0)
            == usage.reasoning
        ), row["dialect"]
