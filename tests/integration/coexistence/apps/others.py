"""How an app starts each of the other instrumentations of openai, stops it, and reads the spans it has made."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Seen(NamedTuple):
    """What an instrumentation says of one call."""

    name: str
    fields: list[str]
    """The names of all its attributes."""
    counts: dict[str, Any]
    """Its tokens and costs."""


class Other(Protocol):
    """Another instrumentation."""

    def start(self) -> None:
        """Begin as its documentation says."""
        ...

    def stop(self) -> None:
        """Take it out again, if it has a way to do that."""
        ...

    def take(self) -> list[Seen]:
        """Return the spans it has made since the last time."""
        ...


class _Exporter:
    """The spans of an app's own tracer provider."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.processor = SimpleSpanProcessor(self._exporter)
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(self.processor)

    def take(self) -> list[Seen]:
        spans = self._exporter.get_finished_spans()
        self._exporter.clear()
        return [_seen(span) for span in spans]


class _Instrumentor(_Exporter):
    """An instrumentation that is started the OpenTelemetry way."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self._instrumentor = import_module(module).OpenAIInstrumentor()

    def start(self) -> None:
        self._instrumentor.instrument(tracer_provider=self.provider)

    def stop(self) -> None:
        self._instrumentor.uninstrument()


class _Openlit(_Exporter):
    """Started once: it has no way back, and would wrap what it has wrapped."""

    def __init__(self) -> None:
        super().__init__()
        self._started = False

    def start(self) -> None:
        if self._started:
            return
        self._started = True
        trace.set_tracer_provider(self.provider)
        others = [
            name for name in import_module("openlit._instrumentors").MODULE_NAME_MAP if name != "openai"
        ]
        prices = Path(__file__).with_name("no_prices.json")  # by default it fetches a list from the internet
        import_module("openlit").init(
            disable_metrics=True, disable_events=True, disabled_instrumentors=others, pricing_json=str(prices)
        )

    def stop(self) -> None:
        return


class _Logfire(_Exporter):
    def __init__(self) -> None:
        super().__init__()
        self._logfire = import_module("logfire")
        self._logfire.configure(
            send_to_logfire=False, console=False, additional_span_processors=[self.processor], metrics=False
        )
        self._out: AbstractContextManager[None] | None = None

    def start(self) -> None:
        self._out = self._logfire.instrument_openai()

    def stop(self) -> None:
        assert self._out is not None
        with self._out:
            pass


class _Langfuse(_Exporter):
    """Its wrapper is put in place by an import, for good."""

    def start(self) -> None:
        if "langfuse.openai" in sys.modules:
            return
        langfuse = import_module("langfuse")
        langfuse.Langfuse(
            public_key="none",
            secret_key="none",
            base_url="http://127.0.0.1:9",
            tracer_provider=self.provider,
            span_exporter=InMemorySpanExporter(),
        )
        import_module("langfuse.openai")

    def stop(self) -> None:
        return


class _Ddtrace:
    """Its spans are taken before they go to its agent, which is not there."""

    def __init__(self) -> None:
        self._patches = import_module("ddtrace.contrib.internal.openai.patch")
        self._seen: list[Seen] = []
        import_module("ddtrace.trace").tracer.configure(trace_processors=[self])

    def process_trace(self, trace: list[Any]) -> None:
        self._seen += [
            Seen(
                span.name,
                sorted(span.get_tags()),
                {name: n for name, n in span.get_metrics().items() if _counts(name)},
            )
            for span in trace
        ]

    def start(self) -> None:
        self._patches.patch()

    def stop(self) -> None:
        self._patches.unpatch()

    def take(self) -> list[Seen]:
        seen, self._seen = self._seen, []
        return seen


OTHERS: Final[Mapping[str, Callable[[], Other]]] = {
    "openllmetry": lambda: _Instrumentor("opentelemetry.instrumentation.openai"),
    "openinference": lambda: _Instrumentor("openinference.instrumentation.openai"),
    "genai-openai": lambda: _Instrumentor("opentelemetry.instrumentation.genai.openai"),
    "openai-v2": lambda: _Instrumentor("opentelemetry.instrumentation.openai_v2"),
    "openlit": _Openlit,
    "logfire": _Logfire,
    "langfuse": _Langfuse,
    "ddtrace": _Ddtrace,
}


def _seen(span: ReadableSpan) -> Seen:
    attributes = span.attributes or {}
    counts = {name: value for name, value in attributes.items() if _counts(name)}
    return Seen(span.name, sorted(name for name in attributes if not name.startswith("pennytrace.")), counts)


def _counts(name: str) -> bool:
    return ("token" in name or "usage" in name or "cost" in name) and "time" not in name
