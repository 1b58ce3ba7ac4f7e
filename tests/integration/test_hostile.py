"""What nobody should send, sent to a real collector: each gets its answer, and what is kept is as it should be."""

from __future__ import annotations

import http.client
import json
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import psutil
import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace_collectors.journal.record import varint
from tests.collectors import otlp
from tests.collectors.service.process import REAL, Collector, collector
from tests.collectors.waiting import eventually

from .reading import metrics, records, sql, wait_until_priced

if sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

MEBIBYTE: Final = 1024**2
BODY_BYTES: Final = 64 * MEBIBYTE
EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
YEAR_NS: Final = 365 * 86_400 * 10**9
MOST_MEMORY: Final = 3 * 1024**3
"""Of the whole process, with the store in it: a body's limit times what decoding and storing it may take."""

Record = dict[str, Any]


def post(
    running: Collector, body: bytes, content_type: str = PROTOBUF, encoding: str = "identity"
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", running.http_port, timeout=300)
    try:
        headers = {"Content-Type": content_type, "Content-Encoding": encoding}
        connection.request("POST", "/v1/traces", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def export(running: Collector, body: bytes, compression: grpc.Compression | None = None) -> grpc.StatusCode:
    target = (running.found.grpc or "").removeprefix("http://")
    unlimited = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(target, options=unlimited) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
        sent = call.future(body, timeout=300, compression=compression)
        sent.exception()
        return sent.code()


def all_ways(running: Collector, spans: list[Span]) -> None:
    """Send the same spans in every way there is: the last of them replaces the others."""
    message = otlp.request(spans)
    assert post(running, message.SerializeToString())[0] == 200
    assert post(running, otlp.json_body(message), JSON)[0] == 200
    assert export(running, message.SerializeToString()) is grpc.StatusCode.OK


def nested(depth: int) -> AnyValue:
    value = AnyValue(string_value="x")
    for _ in range(depth):
        outer = AnyValue()
        outer.array_value.values.append(value)
        value = outer
    return value


def at(start_ns: int) -> Span:
    span = otlp.span()
    span.start_time_unix_nano = span.end_time_unix_nano = start_ns
    return span


def using(tokens: float | str) -> Span:
    return otlp.span({**otlp.CALL, "gen_ai.usage.input_tokens": tokens})


def with_parent(parent: bytes) -> Span:
    span = otlp.span()
    span.parent_span_id = parent
    return span


def with_value(value: AnyValue) -> Span:
    span = otlp.span()
    span.attributes.add(key="gen_ai.input.messages", value=value)
    return span


@dataclass(frozen=True, slots=True)
class Odd:
    """A call that is odd and yet kept, and what is kept of it."""

    span: Span
    expected: Mapping[str, object]


PRICED: Final = {"status": "priced", "cost": "0.006"}
ODD: Final = {
    "10,000 attributes": Odd(otlp.span({**otlp.CALL, **{f"k{i}": i for i in range(10_000)}}), PRICED),
    "10,000 tags": Odd(
        otlp.span({**otlp.CALL, **{f"pennytrace.tag.k{i}": "v" for i in range(10_000)}}), PRICED
    ),
    "values in 40 others": Odd(with_value(nested(40)), PRICED),
    "a model of 1 MB": Odd(
        otlp.span({**otlp.CALL, "gen_ai.request.model": "m" * 10**6, "gen_ai.response.model": "m" * 10**6}),
        {"status": "unpriced", "cost": None},
    ),
    "control characters": Odd(
        otlp.span({**otlp.CALL, "pennytrace.feature": "a\0b\n\x7f\U0010ffff"}),
        {**PRICED, "feature": "a_b__\U0010ffff"},
    ),
    "negative tokens": Odd(using(-5), {"status": "unpriced", "reason": "negative usage", "cost": None}),
    "most negative tokens": Odd(
        using(-(2**63)), {"status": "unpriced", "reason": "negative usage", "cost": None}
    ),
    "absurd tokens": Odd(using(2**63 - 1), {"status": "unpriced", "reason": "absurd usage", "cost": None}),
    "absurd tokens in words": Odd(using("9" * 400), {"cost": "0.003"}),
    "a year behind": Odd(at(otlp.START_NS - YEAR_NS), {**PRICED, "started_at": "2025-05-28"}),
    "a year ahead": Odd(at(otlp.START_NS + YEAR_NS), {**PRICED, "started_at": "2027-05-28"}),
    "a clock at 1970": Odd(at(0), {**PRICED, "started_at": "2015-01-01"}),
    "a clock at its end": Odd(at(2**64 - 1), {**PRICED, "started_at": "2100-01-01"}),
    "a parent's id of 100 bytes": Odd(with_parent(b"x" * 100), PRICED),
    "a parent's id of 1 byte": Odd(with_parent(b"x"), PRICED),
}


@dataclass(frozen=True, slots=True)
class Under:
    """A collector and the calls that it had stored when all the odd ones were."""

    running: Collector
    stored: Mapping[str, list[Record]]

    def peak_bytes(self) -> int:
        """The most memory that the collector has ever held."""
        status = Path(f"/proc/{self.running.process.pid}/status")
        if not status.exists():
            return int(psutil.Process(self.running.process.pid).memory_info().rss)
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024

    def still_works(self) -> None:
        """Whether a call is taken, in each way, and the process is of a sensible size."""
        assert self.running.process.poll() is None
        all_ways(self.running, [otlp.span()])
        assert self.peak_bytes() < MOST_MEMORY


@pytest.fixture(scope="module")
def under(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Under]:
    state = tmp_path_factory.mktemp("hostile") / "state"
    with collector(REAL, state, "--sql", "127.0.0.1:0") as running, sql(running.found) as client:
        for odd in ODD.values():
            all_ways(running, [odd.span])
        all_ways(running, DUPLICATES)
        wait_until_priced(running, client, calls=len(ODD) + 1)
        stored: dict[str, list[Record]] = {}
        for row in records(
            client,
            "SELECT span_id, feature, toString(toDate(started_at)) AS started_at, status, reason, "
            "toString(cost) AS cost, input_tokens FROM spend",
        ):
            stored.setdefault(row["span_id"], []).append(row)
        assert not list(state.glob("refused/*.segment"))
        yield Under(running, stored)
        assert running.stop() == 0


@pytest.mark.parametrize("name", ODD)
def test_an_odd_call_is_kept_once_and_as_what_it_is(under: Under, name: str) -> None:
    [row] = under.stored[ODD[name].span.span_id.hex()]
    assert {key: row[key] for key in ODD[name].expected} == ODD[name].expected


TWICE: Final = otlp.span()
DUPLICATES: Final = [TWICE, otlp.span(trace_id=TWICE.trace_id, span_id=TWICE.span_id), TWICE]


def test_an_id_that_comes_several_times_is_one_call(under: Under) -> None:
    assert len(under.stored[TWICE.span_id.hex()]) == 1


@pytest.mark.parametrize(
    ("trace_id", "span_id"), [(b"", b""), (bytes(16), bytes(8)), (b"x" * 15, b"x" * 8), (b"x" * 16, b"x" * 9)]
)
def test_a_span_without_ids_is_left_out_and_its_neighbours_are_kept(
    under: Under, trace_id: bytes, span_id: bytes
) -> None:
    good, bad = otlp.span(), otlp.span()
    bad.trace_id, bad.span_id = trace_id, span_id
    message = otlp.request([good, bad])
    before = metrics(under.running)
    all_ways(under.running, list(otlp.message_spans(message)))
    after = metrics(under.running)
    assert after["rejected_spans_total"] - before["rejected_spans_total"] == 3
    assert after["received_spans_total"] - before["received_spans_total"] == 3


def too_deep() -> bytes:
    value = b""
    for _ in range(200):
        inner = b"\x0a" + varint(len(value)) + value
        value = b"\x2a" + varint(len(inner)) + inner
    body = b"\x12" + varint(len(value)) + value
    for field in (9, 2, 2, 1):
        body = bytes([field << 3 | 2]) + varint(len(body)) + body
    return body


def not_utf8() -> bytes:
    return (
        otlp.request([otlp.span({**otlp.CALL, "pennytrace.feature": "AAAA"})])
        .SerializeToString()
        .replace(b"AAAA", b"\xff\xfe\xc0\x80")
    )


@pytest.mark.parametrize("body", [too_deep(), not_utf8(), b"\xff" * 1000, b"\x0a\x00" * MEBIBYTE])
def test_what_is_no_otlp_is_refused_with_a_reason(under: Under, body: bytes) -> None:
    status, answer = post(under.running, body)
    assert (status, bool(answer)) == (400, True)
    assert export(under.running, body) is grpc.StatusCode.INVALID_ARGUMENT
    under.still_works()


def in_json(value: str) -> bytes:
    """A request whose one span has an attribute of this value, as JSON writes it."""
    document = json.loads(otlp.json_body(otlp.request([otlp.span()])))
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"].append(
        {"key": "k", "value": "HERE"}
    )
    return json.dumps(document).replace('"HERE"', value).encode()


@pytest.mark.parametrize(
    "value",
    [
        '{"arrayValue": {"values": [' * 200 + "]}}" * 200,
        "[" * 100_000 + "]" * 100_000,
        '{"stringValue": "\\ud800"}',
        '{"intValue": 1e400}',
        '{"intValue": 9223372036854775808}',
        '{"intValue": ' + "9" * 10_000 + "}",
        '{"intValue": "many"}',
        '{"doubleValue": {}}',
        '{"stringValue": "' + "\\u0000" * 10 + '", "intValue": {}}',
    ],
)
def test_what_is_no_otlp_json_is_refused_with_a_reason(under: Under, value: str) -> None:
    status, answer = post(under.running, in_json(value), JSON)
    assert (status, bool(json.loads(answer)["message"])) == (400, True)
    under.still_works()


def of_size(size: int) -> bytes:
    """A valid body of exactly that many bytes."""
    span = otlp.span()
    padding = span.attributes.add(key="padding").value
    padding.string_value = "x" * (size - 600)
    message = otlp.request([span])
    padding.string_value += "x" * (size - message.ByteSize())
    message = otlp.request([span])
    body = message.SerializeToString()
    assert len(body) == size
    return body


def test_a_body_may_have_64_mebibytes_and_no_byte_more(under: Under) -> None:
    largest, larger = of_size(BODY_BYTES), of_size(BODY_BYTES + 1)
    assert post(under.running, largest)[0] == 200
    assert post(under.running, otlp.gzipped(largest), encoding="gzip")[0] == 200
    assert export(under.running, largest) is grpc.StatusCode.OK
    assert post(under.running, larger)[0] == 413
    assert export(under.running, larger) is grpc.StatusCode.RESOURCE_EXHAUSTED
    eventually(lambda: metrics(under.running)["journal_bytes"] == 0, within_s=120, what="all to be loaded")
    under.still_works()


def test_json_has_a_limit_of_its_own(under: Under) -> None:
    status, answer = post(under.running, b" " * (16 * MEBIBYTE + 1), JSON)
    assert status == 413
    assert "send protobuf" in json.loads(answer)["message"]
    assert post(under.running, b'{"resourceSpans":[' + b"{}," * MEBIBYTE + b"{}]}", JSON)[0] == 400
    under.still_works()


def test_a_bomb_is_stopped_where_a_body_ends(under: Under) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    zeros = bytes(MEBIBYTE)
    gzip_bomb = b"".join(packer.compress(zeros) for _ in range(1024)) + packer.flush()
    assert post(under.running, gzip_bomb, encoding="gzip")[0] == 413
    assert post(under.running, zstd.compress(bytes(512 * MEBIBYTE)), encoding="zstd")[0] == 413
    compressed = grpc.Compression.Gzip
    assert export(under.running, bytes(256 * MEBIBYTE), compressed) is grpc.StatusCode.RESOURCE_EXHAUSTED
    under.still_works()
