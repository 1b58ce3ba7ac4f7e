"""An app that makes real calls under one instrumentation, whose spans go to an OTLP endpoint.

Run as a module with the name of the instrumentation, the base URL of a provider and that of a collector. Each call is
made in a trace of its own, under a span that says its name, of a scope that no instrumentation has. With a fourth
argument pennytrace records the same calls beside it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

import pennytrace
from tests.integration.dialects.answers import CHAT_MODEL, CLAUDE, CLAUDE_AT_BEDROCK, EMBEDDING_MODEL

_ASKED: Final[list[Any]] = [{"role": "user", "content": "What does a penny weigh?"}]
_NO_PRICES: Final = Path(__file__).parents[2] / "coexistence" / "apps" / "no_prices.json"
Calls = Mapping[str, Callable[[], object]]
"""What is called, by its name."""


def openai_calls(url: str, openai: Any = None) -> Calls:
    client = (openai or import_module("openai")).OpenAI(api_key="none", base_url=f"{url}/v1", max_retries=0)
    complete = client.chat.completions.create
    with_usage = {"include_usage": True}
    return {
        "chat": lambda: complete(model=CHAT_MODEL, messages=_ASKED),
        "chat_stream": lambda: list(
            complete(model=CHAT_MODEL, messages=_ASKED, stream=True, stream_options=with_usage)
        ),
        "responses": lambda: client.responses.create(model=CHAT_MODEL, input="What does a penny weigh?"),
        "embeddings": lambda: client.embeddings.create(model=EMBEDDING_MODEL, input="penny"),
    }


def anthropic_calls(url: str) -> Calls:
    client = import_module("anthropic").Anthropic(api_key="none", base_url=url, max_retries=0)
    asked: dict[str, Any] = {"model": CLAUDE, "messages": _ASKED, "max_tokens": 100}
    return {
        "message": lambda: client.messages.create(**asked),
        "message_stream": lambda: list(client.messages.create(**asked, stream=True)),
    }


def bedrock_calls(url: str) -> Calls:
    client = import_module("boto3").client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="none",
        aws_secret_access_key="none",
    )
    asked = [{"role": "user", "content": [{"text": "What does a penny weigh?"}]}]
    return {"converse": lambda: client.converse(modelId=CLAUDE_AT_BEDROCK, messages=asked)}


def instrumented(*names: str) -> Callable[[TracerProvider, str], Calls]:
    """Start instrumentations the OpenTelemetry way: modules with the class of the instrumentor, and what is called."""

    def start(provider: TracerProvider, url: str) -> Calls:
        made: dict[str, Callable[[], object]] = {}
        for name in names:
            module, _, kind = name.partition(":")
            getattr(import_module(module), f"{kind}Instrumentor")().instrument(tracer_provider=provider)
        for kind, calls in _CALLS.items():
            if any(name.endswith(f":{kind}") for name in names):
                made |= calls(url)
        return made

    return start


def openlit(provider: TracerProvider, url: str) -> Calls:
    import_module("openlit").init(
        disable_metrics=True,
        disable_events=True,
        # By default it fetches a list from the internet.
        pricing_json=str(_NO_PRICES),
    )
    return {**openai_calls(url), **anthropic_calls(url)}


def logfire(provider: TracerProvider, url: str) -> Calls:
    logfire = import_module("logfire")
    logfire.configure(
        send_to_logfire=False,
        console=False,
        metrics=False,
        additional_span_processors=[_to_collector()],
        service_name="logfire",
    )
    logfire.instrument_openai()
    logfire.instrument_anthropic()
    return {**openai_calls(url), **anthropic_calls(url)}


def langfuse(provider: TracerProvider, url: str) -> Calls:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    import_module("langfuse").Langfuse(
        public_key="none",
        secret_key="none",
        base_url="http://127.0.0.1:9",
        tracer_provider=provider,
        span_exporter=InMemorySpanExporter(),
    )
    return openai_calls(url, import_module("langfuse.openai"))


def pydantic_ai(provider: TracerProvider, url: str) -> Calls:
    agents = import_module("pydantic_ai")
    openai_models = import_module("pydantic_ai.models.openai")
    anthropic_models = import_module("pydantic_ai.models.anthropic")
    at_openai = import_module("pydantic_ai.providers.openai").OpenAIProvider(
        base_url=f"{url}/v1", api_key="none"
    )
    client = import_module("anthropic").AsyncAnthropic(api_key="none", base_url=url)
    at_anthropic = import_module("pydantic_ai.providers.anthropic").AnthropicProvider(anthropic_client=client)
    settings = import_module("pydantic_ai.models.instrumented").InstrumentationSettings(
        tracer_provider=provider
    )
    agents.Agent.instrument_all(settings)
    question = "What does a penny weigh?"

    def ask(model: Any) -> Callable[[], object]:
        return lambda: agents.Agent(model).run_sync(question)

    return {
        "chat": ask(openai_models.OpenAIChatModel(CHAT_MODEL, provider=at_openai)),
        "responses": ask(openai_models.OpenAIResponsesModel(CHAT_MODEL, provider=at_openai)),
        "message": ask(anthropic_models.AnthropicModel(CLAUDE, provider=at_anthropic)),
    }


def litellm(provider: TracerProvider, url: str) -> Calls:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    litellm: Any = import_module("litellm")
    otel = import_module("litellm.integrations.opentelemetry")
    litellm.callbacks = [
        otel.OpenTelemetry(config=otel.OpenTelemetryConfig(exporter=_exporter()), tracer_provider=provider)
    ]
    openai: dict[str, Any] = {"api_key": "none", "api_base": f"{url}/v1"}
    anthropic: dict[str, Any] = {"api_key": "none", "api_base": url}

    def complete(model: str, **more: Any) -> Callable[[], object]:
        return lambda: _and_wait(lambda: litellm.completion(model=model, messages=_ASKED, **more))

    return {
        "chat": complete(f"openai/{CHAT_MODEL}", **openai),
        "embeddings": lambda: _and_wait(
            lambda: litellm.embedding(model=f"openai/{EMBEDDING_MODEL}", input=["penny"], **openai)
        ),
        "message": complete(f"anthropic/{CLAUDE}", **anthropic),
    }


def _and_wait(call: Callable[[], object]) -> None:
    """Call, and give the library the time to tell: it does so in a thread of its own."""
    import time

    call()
    time.sleep(0.5)


def langsmith(provider: TracerProvider, url: str) -> Calls:
    os.environ |= {
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_OTEL_ENABLED": "true",
        "LANGSMITH_OTEL_ONLY": "true",
        "LANGSMITH_API_KEY": "none",
        "LANGSMITH_ENDPOINT": "http://127.0.0.1:9",
    }
    chat = import_module("langchain_openai").ChatOpenAI(
        model=CHAT_MODEL, base_url=f"{url}/v1", api_key="none", max_retries=0
    )
    return {"chat": lambda: _and_wait(lambda: chat.invoke("What does a penny weigh?"))}


def agent_framework(provider: TracerProvider, url: str) -> Calls:
    observability = import_module("agent_framework.observability")
    observability.enable_instrumentation()
    client = import_module("agent_framework.openai").OpenAIChatClient(
        model=CHAT_MODEL, api_key="none", base_url=f"{url}/v1"
    )
    agent = client.as_agent(name="weigher", instructions="Answer.")
    return {"agent": lambda: asyncio.run(agent.run("What does a penny weigh?"))}


def semantic_kernel(provider: TracerProvider, url: str) -> Calls:
    os.environ["SEMANTICKERNEL_EXPERIMENTAL_GENAI_ENABLE_OTEL_DIAGNOSTICS"] = "true"
    connector = import_module("semantic_kernel.connectors.ai.open_ai")
    contents = import_module("semantic_kernel.contents")
    client = import_module("openai").AsyncOpenAI(api_key="none", base_url=f"{url}/v1")
    service = connector.OpenAIChatCompletion(ai_model_id=CHAT_MODEL, async_client=client)
    settings = connector.OpenAIChatPromptExecutionSettings()

    def chat() -> object:
        history = contents.ChatHistory()
        history.add_user_message("What does a penny weigh?")
        return asyncio.run(service.get_chat_message_contents(history, settings))

    return {"chat": chat}


def azure_ai_inference(provider: TracerProvider, url: str) -> Calls:
    os.environ["AZURE_SDK_TRACING_IMPLEMENTATION"] = "opentelemetry"
    import_module("azure.core.settings").settings.tracing_implementation = "opentelemetry"
    import_module("azure.ai.inference.tracing").AIInferenceInstrumentor().instrument()
    key = import_module("azure.core.credentials").AzureKeyCredential("none")
    client = import_module("azure.ai.inference").ChatCompletionsClient(endpoint=f"{url}/v1", credential=key)
    return {"chat": lambda: client.complete(model=CHAT_MODEL, messages=_ASKED)}


_CALLS: Final[Mapping[str, Callable[[str], Calls]]] = {
    "OpenAI": openai_calls,
    "Anthropic": anthropic_calls,
    "Botocore": bedrock_calls,
    "Bedrock": bedrock_calls,
}
TOLD_BY: Final[Mapping[str, Callable[[TracerProvider, str], Calls]]] = {
    "openllmetry": instrumented(
        "opentelemetry.instrumentation.openai:OpenAI", "opentelemetry.instrumentation.anthropic:Anthropic"
    ),
    "openinference": instrumented(
        "openinference.instrumentation.openai:OpenAI", "openinference.instrumentation.anthropic:Anthropic"
    ),
    "genai": instrumented(
        "opentelemetry.instrumentation.genai.openai:OpenAI",
        "opentelemetry.instrumentation.genai.anthropic:Anthropic",
    ),
    "openai-v2": instrumented("opentelemetry.instrumentation.openai_v2:OpenAI"),
    "botocore": instrumented("opentelemetry.instrumentation.botocore:Botocore"),
    "genai-bedrock": instrumented("opentelemetry.instrumentation.genai.bedrock:Bedrock"),
    "openlit": openlit,
    "logfire": logfire,
    "langfuse": langfuse,
    "pydantic-ai": pydantic_ai,
    "litellm": litellm,
    "langsmith": langsmith,
    "agent-framework": agent_framework,
    "semantic-kernel": semantic_kernel,
    "azure-ai-inference": azure_ai_inference,
}


def _exporter() -> OTLPSpanExporter:
    return OTLPSpanExporter(f"{sys.argv[3]}/v1/traces")


def _to_collector() -> SimpleSpanProcessor:
    return SimpleSpanProcessor(_exporter())


def main(name: str, url: str, *beside: str) -> None:
    if beside:
        pennytrace.init(endpoint=sys.argv[3], service=name)
    provider = TracerProvider(resource=Resource({"service.name": name}))
    provider.add_span_processor(_to_collector())
    if name != "logfire":
        trace.set_tracer_provider(provider)
    calls = TOLD_BY[name](provider, url)
    for call, make in calls.items():
        with trace.get_tracer("app").start_as_current_span("work", attributes={"session.id": call}):
            make()
    trace.get_tracer_provider().shutdown()  # type: ignore[attr-defined]
    assert pennytrace.flush(30)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *sys.argv[4:])
