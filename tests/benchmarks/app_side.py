"""Measures what pennytrace adds to an app: `python tests/benchmarks/app_side.py` prints medians as JSON.

A figure is CPU time: what the app's thread spends more on a call with pennytrace than without, plus what the
sender's thread spends to deliver it. The first is the median difference of many short blocks of calls, with and
without in turns; the second comes from delivering full batches. The provider is a transport inside the process,
so that no socket blurs the figures; the collector is a sink in another process that does nothing.

The same is measured, in the same turns, for a span that the app makes itself with OpenTelemetry's SDK: a dozen
attributes, a batch processor, and an exporter that throws everything away. It is the yardstick: a machine that is
slow or busy is so for both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import openai
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a script sees its own folder only

import pennytrace
from pennytrace._calls import active as _active
from pennytrace._calls.call import Recorder
from pennytrace._delivery.queue import BATCH
from pennytrace._setup import lifecycle as _lifecycle
from pennytrace._setup import settings as _settings
from tests.benchmarks.comparison.transport import clients

CHUNKS = 100
_SINK = """
import http.server
class Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
print(server.server_port, flush=True)
server.serve_forever()
"""
_START = (
    "import time; t=time.perf_counter(); import pennytrace; pennytrace.init(); print(time.perf_counter()-t)"
)
_MESSAGES: Any = [{"role": "user", "content": "What does a penny weigh?"}]
_CLIENTS: tuple[Any, ...] = (openai._base_client.SyncAPIClient, openai._base_client.AsyncAPIClient)

Call = Callable[[], Any]
Block = Callable[[int], float]
"""Makes a number of calls and returns the CPU seconds that this thread spent on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """Microseconds of CPU time added to one call."""

    pennytrace: float
    otel_sdk_span: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Medians: what is added to each kind of call, and what the start of an app takes."""

    chat_us: Added
    stream_of_100_chunks_us: Added
    async_chat_us: Added
    delivery_us: float
    """The sender's part in each of pennytrace's figures."""
    import_and_init_ms: float


def measure(*, rounds: int, calls: int) -> Figures:
    """Take all figures, from `rounds` blocks of `calls` calls."""
    with sink() as endpoint:
        pennytrace.init(endpoint=endpoint, service="benchmark")
        delivery = _delivery(endpoint)
        figures = Figures(
            chat_us=_added(_chats, delivery, rounds, calls),
            stream_of_100_chunks_us=_added(_streams, delivery, rounds, max(1, calls // 10)),
            async_chat_us=_added(_async_chats, delivery, rounds, calls),
            delivery_us=round(delivery, 1),
            import_and_init_ms=start_ms(rounds=5),
        )
        pennytrace.shutdown()
        return figures


def start_ms(*, rounds: int) -> float:
    """Return the milliseconds that `import pennytrace` and `init()` take in a fresh process."""
    taken = [float(subprocess.check_output([sys.executable, "-c", _START])) * 1000 for _ in range(rounds)]
    return round(statistics.median(taken), 1)


@contextmanager
def sink() -> Iterator[str]:
    """Start a collector that takes everything and does nothing, in its own process."""
    with subprocess.Popen([sys.executable, "-c", _SINK], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def _added(block: Block, delivery: float, rounds: int, calls: int) -> Added:
    """Return the medians of what each way of recording adds to a call."""
    ours = [vars(client)["request"] for client in _CLIENTS]
    plain = [wrapper.__wrapped__ for wrapper in ours]
    variants = {"plain": plain, "ours": ours, "sdk": [_sdk_request(plain[0]), _sdk_async_request(plain[1])]}
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, methods in variants.items():
            _use(methods)
            taken[name].append(block(calls) / calls * 1e6)
    _use(ours)
    return Added(
        pennytrace=round(_median_difference(taken["ours"], taken["plain"]) + delivery, 1),
        otel_sdk_span=round(_median_difference(taken["sdk"], taken["plain"]), 1),
    )


def _use(methods: Sequence[Any]) -> None:
    for client, method in zip(_CLIENTS, methods, strict=True):
        client.request = method


def _median_difference(some: Sequence[float], others: Sequence[float]) -> float:
    return statistics.median(one - other for one, other in zip(some, others, strict=True))


def _chats(calls: int) -> float:
    before = time.thread_time()
    for _ in range(calls):
        _client.chat.completions.create(model="gpt-4o-mini", messages=_MESSAGES)
    return time.thread_time() - before


def _streams(calls: int) -> float:
    before = time.thread_time()
    for _ in range(calls):
        stream = _client.chat.completions.create(model="gpt-4o-mini", messages=_MESSAGES, stream=True)
        assert sum(1 for _ in stream) == CHUNKS
    return time.thread_time() - before


def _async_chats(calls: int) -> float:
    async def chats() -> float:
        before = time.thread_time()
        for _ in range(calls):
            await _async_client.chat.completions.create(model="gpt-4o-mini", messages=_MESSAGES)
        return time.thread_time() - before

    return asyncio.run(chats())


class _Nowhere(SpanExporter):
    """Exports nothing: what OTLP would cost comes on top."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


_sdk = TracerProvider(shutdown_on_exit=False)
_sdk.add_span_processor(BatchSpanProcessor(_Nowhere(), max_queue_size=100_000))
_tracer = _sdk.get_tracer("benchmark")


def _sdk_request(request: Call) -> Call:
    def recorded(*args: Any, **kwargs: Any) -> Any:
        with _tracer.start_as_current_span("chat gpt-4o-mini") as span:
            result = request(*args, **kwargs)
            _describe(span)
            return result

    return recorded


def _sdk_async_request(request: Call) -> Call:
    async def recorded(*args: Any, **kwargs: Any) -> Any:
        with _tracer.start_as_current_span("chat gpt-4o-mini") as span:
            result = await request(*args, **kwargs)
            _describe(span)
            return result

    return recorded


def _describe(span: trace.Span) -> None:
    for name in _ATTRIBUTES:
        span.set_attribute(name, "gpt-4o-mini")


_ATTRIBUTES = [f"gen_ai.attribute.{number}" for number in range(12)]


def _delivery(endpoint: str) -> float:
    """Return what the sender spends on one call when batches are full, in microseconds."""
    settings = _settings.resolve({"endpoint": endpoint, "service": "benchmark"})
    delivery = _lifecycle.recorder_for(settings).delivery
    span = _span()
    taken = []
    for _ in range(20):
        before = time.process_time()
        for _ in range(BATCH):
            delivery.put(span)
        delivery.flush(10)
        taken.append(time.process_time() - before)
    delivery.close(1)
    return statistics.median(taken) / BATCH * 1e6


def _span() -> Callable[[], bytes]:
    """Return a call that has been made, as it waits for its delivery."""
    waiting: list[Callable[[], bytes]] = []
    recorder = _active.recorder
    _active.use(Recorder(delivery=_Waiting(waiting), service="benchmark", defaults={}))
    _chats(1)
    _active.use(recorder)
    return waiting[0]


@dataclass(frozen=True)
class _Waiting:
    calls: list[Callable[[], bytes]]

    def put(self, span: Callable[[], bytes]) -> None:
        self.calls.append(span)

    def flush(self, timeout: float) -> bool:
        return True

    def close(self, timeout: float) -> bool:
        return True


_client, _async_client = clients(chunks=CHUNKS)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=150, help="blocks, with and without")
    parser.add_argument("--calls", type=int, default=20, help="calls in a block")
    options = parser.parse_args()
    print(json.dumps(asdict(measure(rounds=options.rounds, calls=options.calls)), indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
