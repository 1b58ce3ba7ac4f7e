"""What the collector costs: CPU a call, calls a second, bytes a call, over OTLP/HTTP into the embedded store.

Run as a script. It starts a real `pennytrace collect`, sends distinct calls over keep-alive connections from
processes of their own, waits until all are loaded and settled, and prints one JSON object a body size.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import random
import string
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
import psutil
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace_collectors import running

MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-4.1", "gpt-5")
FEATURES = ("search", "support-chat", "summaries", "translation", "recommendations")
STORED_WITHIN_S = 120
SETTLE_S = 5
_BASE62 = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: so many bodies with so many calls each, over so many connections."""

    bodies: int
    calls_a_body: int
    connections: int

    @property
    def calls(self) -> int:
        """All calls that are sent."""
        return self.bodies * self.calls_a_body


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure large and small bodies, each on a fresh store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=400_000, help="calls in bodies of 1,000")
    parser.add_argument("--small", type=int, default=100_000, help="calls in bodies of 10")
    options = parser.parse_args(arguments)
    for load in (Load(options.calls // 1000, 1000, 4), Load(options.small // 10, 10, 16)):
        sys.stdout.write(json.dumps(measure(load)) + "\n")
        sys.stdout.flush()
    return 0


def measure(load: Load) -> dict[str, Any]:
    """Send a load to a fresh collector and read its figures when it is all stored."""
    with tempfile.TemporaryDirectory() as folder, _collector(Path(folder)) as collector:
        assert collector.http is not None
        assert collector.sql is not None
        process = psutil.Process(collector.pid)
        _send(collector.http, Load(1, 1000, 1), seed=0)
        _wait_for(collector, 1000)
        time.sleep(
            SETTLE_S
        )  # so that the models of the load are known when it comes, as they are after a day
        shares = [_bodies(load, part) for part in range(load.connections)]
        cpu, started = _cpu_s(process), time.perf_counter()
        senders = [multiprocessing.Process(target=_post, args=(collector.http, share)) for share in shares]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        acknowledged = time.perf_counter() - started
        _wait_for(collector, 1000 + load.calls)
        wall, spent = time.perf_counter() - started, _cpu_s(process) - cpu
        return {
            "calls": load.calls,
            "calls_a_body": load.calls_a_body,
            "cpu_us_a_call": round(spent / load.calls * 1e6, 2),
            "acknowledged_calls_a_second": round(load.calls / acknowledged),
            "stored_calls_a_second": round(load.calls / wall),
            "peak_rss_mib": _peak_rss_mib(collector.pid),
            **_stored(collector.sql),
        }


def _bodies(load: Load, part: int) -> list[bytes]:
    count = load.bodies // load.connections + (part < load.bodies % load.connections)
    return [body(load.calls_a_body, seed=part * 1_000_000 + number + 1) for number in range(count)]


def body(calls: int, *, seed: int) -> bytes:
    """A request with that many distinct calls, as pennytrace's own instrumentation sends them."""
    chance = random.Random(seed)
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.extend(
        _attributes({"service.name": "shop", "deployment.environment.name": "production"})
    )
    scope = resource.scope_spans.add()
    scope.scope.name = "pennytrace"
    start = time.time_ns() - 60 * 10**9
    scope.spans.extend(_call(chance, start + number * 20_000) for number in range(calls))
    return request.SerializeToString()


def _call(chance: random.Random, start: int) -> Span:
    model = chance.choice(MODELS)
    start += chance.randrange(20_000)
    return Span(
        trace_id=chance.randbytes(16),
        span_id=chance.randbytes(8),
        parent_span_id=chance.randbytes(8),
        name=f"chat {model}",
        kind=Span.SPAN_KIND_CLIENT,
        flags=1,
        start_time_unix_nano=start,
        end_time_unix_nano=start + chance.randrange(10**8, 4 * 10**9),
        attributes=_attributes(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai",
                "gen_ai.request.model": model,
                "gen_ai.response.model": model,
                "gen_ai.response.id": "chatcmpl-" + "".join(chance.choices(_BASE62, k=29)),
                "server.address": "api.openai.com",
                "server.port": 443,
                "gen_ai.usage.input_tokens": chance.randrange(100, 4000),
                "gen_ai.usage.output_tokens": chance.randrange(10, 900),
                "gen_ai.usage.cache_read.input_tokens": chance.choice((0, 0, 64)),
                "openai.response.service_tier": "default",
                "pennytrace.usage.source": "measured",
                "pennytrace.feature": chance.choice(FEATURES),
                "pennytrace.feature.source": "tag",
                "pennytrace.team": chance.choice(("web", "mobile", "ops")),
                "pennytrace.customer": f"customer-{chance.randrange(200)}",
            }
        ),
    )


def _attributes(values: dict[str, str | int]) -> list[KeyValue]:
    made = []
    for key, value in values.items():
        pair = KeyValue(key=key)
        if isinstance(value, int):
            pair.value.int_value = value
        else:
            pair.value.string_value = value
        made.append(pair)
    return made


def _post(url: str, bodies: Sequence[bytes]) -> None:
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port)
    for data in bodies:
        while True:
            connection.request("POST", "/v1/traces", data, {"Content-Type": "application/x-protobuf"})
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                break
            time.sleep(float(answer.headers.get("Retry-After", "1")))
    connection.close()


def _send(url: str, load: Load, *, seed: int) -> None:
    _post(url, [body(load.calls_a_body, seed=seed) for _ in range(load.bodies)])


def _wait_for(collector: running.RunningCollector, calls: int) -> None:
    """Wait by the cheapest means, because waiting is measured too: the collector's own count of what it loaded."""
    deadline = time.monotonic() + STORED_WITHIN_S
    while _loaded(f"{collector.http}/metrics") < calls:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all of {calls} calls were stored within {STORED_WITHIN_S} s")
        time.sleep(0.05)


def _loaded(url: str) -> int:
    with urllib.request.urlopen(url) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("pennytrace_collector_loaded_spans_total"):
                return int(float(line.rsplit(" ", 1)[1]))
    return 0


def _stored(sql: str) -> dict[str, Any]:
    """How many calls have a price, and the bytes that a call takes on disk, ids included."""
    client = _client(sql)
    priced, calls = client.query(
        "SELECT countIf(status = 'priced'), count() FROM pennytrace.spend"
    ).result_rows[0]
    assert priced == calls, f"{calls - priced} of {calls} calls were not priced"
    size, rows = client.query(
        "SELECT total_bytes, total_rows FROM system.tables WHERE database = 'pennytrace' AND name = 'calls'"
    ).result_rows[0]
    return {"priced_calls": priced, "bytes_a_call": round(size / rows, 1)}


def _client(sql: str) -> Any:
    parts = urlsplit(sql)
    return clickhouse_connect.get_client(host=parts.hostname or "", port=parts.port or 0)


def _peak_rss_mib(pid: int) -> int:
    """The most memory the process has held, as Linux counted it; a reading at the end would miss the peak."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise RuntimeError("this system does not say how much memory a process has held at most")


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def _collector(folder: Path) -> Iterator[running.RunningCollector]:
    command = [str(Path(sys.executable).with_name("pennytrace")), "collect", "--state", str(folder)]
    process = subprocess.Popen(
        [*command, "--http", "127.0.0.1:0", "--sql", "127.0.0.1:0", "--grpc", "off"],
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while (found := running.find(folder)) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the collector did not start")
            time.sleep(0.1)
        yield found
    finally:
        process.terminate()
        process.wait(60)


if __name__ == "__main__":
    sys.exit(main())
