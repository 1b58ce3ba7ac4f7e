"""Starts each peer as its own documentation says, with all spans going to one endpoint over OTLP/HTTP.

Everything is imported inside the functions: what a peer imports is part of what it costs to start it.
Content is recorded or not as each does by default. Nobody compresses, so that all deliver the same way.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Any, Final, NamedTuple

_MODEL: Final = "gpt-4o-mini"
_ATTRIBUTES: Final[tuple[tuple[str, Any], ...]] = (
    ("gen_ai.operation.name", "chat"),
    ("gen_ai.provider.name", "openai"),
    ("gen_ai.request.model", _MODEL),
    ("gen_ai.request.stream", False),
    ("gen_ai.response.model", "gpt-4o-mini-2024-07-18"),
    ("gen_ai.response.id", "chatcmpl-1"),
    ("gen_ai.usage.input_tokens", 12),
    ("gen_ai.usage.output_tokens", 100),
    ("gen_ai.usage.cache_read.input_tokens", 4),
    ("server.address", "api.openai.com"),
    ("server.port", 443),
    ("app.feature", "benchmark"),
)
"""A dozen, as one would set them by hand."""


class Started(NamedTuple):
    """A peer at work."""

    flush: Callable[[], object]
    """Delivers all that was recorded so far."""
    around: Callable[[], AbstractContextManager[None]] = nullcontext
    """What an app writes around a call by hand."""


def start(peer: str, endpoint: str) -> Started:
    """Start a peer; its spans go to what is below `endpoint`."""
    return STARTS[peer](endpoint)


def _bare(endpoint: str) -> Started:
    return Started(lambda: None)


def _pennytrace(endpoint: str) -> Started:
    pennytrace = import_module("pennytrace")
    pennytrace.init(endpoint=endpoint, service="benchmark")
    return Started(lambda: pennytrace.flush(30))


def _otel_sdk(endpoint: str) -> Started:
    client = import_module("opentelemetry.trace").SpanKind.CLIENT
    provider = _otel(endpoint)
    tracer = provider.get_tracer("benchmark")

    @contextmanager
    def around() -> Iterator[None]:
        with tracer.start_as_current_span(f"chat {_MODEL}", kind=client) as span:
            yield
            for name, value in _ATTRIBUTES:
                span.set_attribute(name, value)

    return Started(provider.force_flush, around)


def _openai_v2(endpoint: str) -> Started:
    return _instrumented("opentelemetry.instrumentation.openai_v2", endpoint)


def _genai_openai(endpoint: str) -> Started:
    return _instrumented("opentelemetry.instrumentation.genai.openai", endpoint)


def _openllmetry(endpoint: str) -> Started:
    return _instrumented("opentelemetry.instrumentation.openai", endpoint)


def _openinference(endpoint: str) -> Started:
    return _instrumented("openinference.instrumentation.openai", endpoint)


def _openlit(endpoint: str) -> Started:
    trace = import_module("opentelemetry.trace")
    # It would fetch its prices from the Internet: it gets a short list of the same form.
    prices = {"chat": {_MODEL: {"promptPrice": 0.00015, "completionPrice": 0.0006}}}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(prices, file)
        file.flush()
        import_module("openlit").init(
            otlp_endpoint=endpoint, service_name="benchmark", pricing_json=file.name
        )
    return Started(trace.get_tracer_provider().force_flush)


def _langfuse(endpoint: str) -> Started:
    langfuse = import_module("langfuse")
    client = langfuse.Langfuse(
        public_key="pk-benchmark", secret_key="sk-benchmark", base_url=endpoint, otel_compression="none"
    )
    import_module("langfuse.openai")  # which wraps the methods of the SDK where they are
    return Started(client.flush)


def _instrumented(module: str, endpoint: str) -> Started:
    provider = _otel(endpoint)
    import_module(module).OpenAIInstrumentor().instrument(tracer_provider=provider)
    return Started(provider.force_flush)


def _otel(endpoint: str) -> Any:
    """Return OpenTelemetry's SDK as its documentation sets it up: a batch processor, and OTLP over HTTP."""
    sdk = import_module("opentelemetry.sdk.trace")
    export = import_module("opentelemetry.sdk.trace.export")
    otlp = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    resource = import_module("opentelemetry.sdk.resources").Resource.create({"service.name": "benchmark"})
    provider = sdk.TracerProvider(resource=resource)
    exporter = otlp.OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")
    provider.add_span_processor(export.BatchSpanProcessor(exporter))
    return provider


STARTS: Final[Mapping[str, Callable[[str], Started]]] = {
    "bare": _bare,
    "pennytrace": _pennytrace,
    "otel-sdk": _otel_sdk,
    "openai-v2": _openai_v2,
    "genai-openai": _genai_openai,
    "openllmetry": _openllmetry,
    "openinference": _openinference,
    "openlit": _openlit,
    "langfuse": _langfuse,
}
