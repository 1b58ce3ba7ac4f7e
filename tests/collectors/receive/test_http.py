"""OTLP over HTTP: every good body is kept as it came, every bad one gets a reason and leaves nothing."""

from __future__ import annotations

import json
import socket
import sys
import zlib
from collections.abc import Iterator

import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from pennytrace_collectors.errors import JournalFull, JournalUnwritable
from pennytrace_collectors.journal.record import varint
from pennytrace_collectors.receive.budget import Budget
from pennytrace_collectors.receive.http import JSON, PROTOBUF
from tests.collectors import otlp
from tests.collectors.waiting import eventually

from .receiver import Answer, Receiver, receiving

if sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

MEBIBYTE = 1024**2


def reason(answer: Answer) -> str:
    """Return the message of an error body, whatever its encoding."""
    if answer.headers["content-type"] == JSON:
        return str(json.loads(answer.body)["message"])
    return str(Status.FromString(answer.body).message)


def test_a_protobuf_body_is_kept_in_its_original_bytes(receiver: Receiver) -> None:
    body = otlp.body(10)
    answer = receiver.post(body)
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, PROTOBUF, b"")
    assert receiver.memory.bodies == [body]
    assert receiver.memory.spans == 10


def test_a_gzipped_body_is_kept_unpacked(receiver: Receiver) -> None:
    body = otlp.body(1000)
    assert receiver.post(otlp.gzipped(body), headers={"Content-Encoding": "gzip"}).status == 200
    assert receiver.memory.bodies == [body]


def test_a_gzip_body_of_several_members_is_one_body(receiver: Receiver) -> None:
    body = otlp.body(2)
    packed = otlp.gzipped(body[:50]) + otlp.gzipped(body[50:])
    assert receiver.post(packed, headers={"Content-Encoding": "gzip"}).status == 200
    assert receiver.memory.bodies == [body]


def test_a_zstd_body_is_kept_unpacked_whether_in_one_frame_or_several(receiver: Receiver) -> None:
    body = otlp.body(1000)
    split = zstd.compress(body[:50]) + zstd.compress(b"") + zstd.compress(body[50:])

    for packed in (zstd.compress(body), split):
        assert receiver.post(packed, headers={"Content-Encoding": "zstd"}).status == 200
    assert receiver.memory.bodies == [body, body]


@pytest.mark.parametrize(
    ("packed", "why"),
    [
        (b"hello", "is not zstd"),
        (zstd.compress(otlp.body(10))[:-9], "is cut off"),
        (zstd.compress(b"") * 65, "more than 64 frames"),
        # its sender wants 128 MiB of memory for it
        (zstd.compress(bytes(2**24), options={zstd.CompressionParameter.window_log: 27}), "is not zstd"),
    ],
)
def test_zstd_that_cannot_be_unpacked_is_refused(receiver: Receiver, packed: bytes, why: str) -> None:
    answer = receiver.post(packed, headers={"Content-Encoding": "zstd"})

    assert answer.status == 400
    assert why in reason(answer)
    assert receiver.memory.bodies == []


def test_every_answer_to_traces_says_which_encodings_are_taken(receiver: Receiver) -> None:
    kept = receiver.post(otlp.body(1))
    refused = receiver.post(otlp.body(1), headers={"Content-Encoding": "br"})

    assert (kept.status, refused.status) == (200, 415)
    assert kept.headers["accept-encoding"] == refused.headers["accept-encoding"] == "gzip, zstd"


def test_a_json_body_is_kept_as_the_same_protobuf(receiver: Receiver) -> None:
    message = otlp.request([otlp.span(), otlp.span()])
    answer = receiver.post(otlp.json_body(message), "application/json; charset=utf-8")
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, JSON, b"{}")
    assert [ExportTraceServiceRequest.FromString(body) for body in receiver.memory.bodies] == [message]


def test_json_fields_that_otlp_does_not_know_are_ignored(receiver: Receiver) -> None:
    document = json.loads(otlp.json_body(otlp.request([otlp.span()])))
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["invented"] = {"deep": [1]}
    assert receiver.post(json.dumps(document).encode(), JSON).status == 200
    assert receiver.memory.spans == 1


def test_large_json_is_read_while_small_bodies_pass(receiver: Receiver) -> None:
    body = otlp.json_body(otlp.request(otlp.span() for _ in range(500)))
    assert receiver.post(body, JSON).status == 200
    assert receiver.memory.spans == 500


@pytest.mark.parametrize("body", [b"", ExportTraceServiceRequest().SerializeToString()])
def test_an_empty_request_is_fine_and_is_not_kept(receiver: Receiver, body: bytes) -> None:
    assert receiver.post(body).status == 200
    assert receiver.memory.bodies == []


def test_a_body_with_only_a_resource_is_not_kept(receiver: Receiver) -> None:
    assert receiver.post(otlp.request([]).SerializeToString()).status == 200
    assert receiver.memory.bodies == []


BAD_IDS = [(b"short", b""), (b"", b"short"), (bytes(16), b""), (b"", bytes(8)), (b"x" * 17, b"")]


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
@pytest.mark.parametrize(("trace_id", "span_id"), BAD_IDS)
def test_spans_without_usable_ids_are_rejected_and_the_others_kept(
    receiver: Receiver, content_type: str, trace_id: bytes, span_id: bytes
) -> None:
    good, bad = otlp.span(), otlp.span(trace_id=trace_id, span_id=span_id)
    message = otlp.request([bad, good, bad])
    body = message.SerializeToString() if content_type == PROTOBUF else otlp.json_body(message)
    answer = receiver.post(body, content_type)
    assert answer.status == 200
    if content_type == PROTOBUF:
        partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
        rejected, why = partial.rejected_spans, partial.error_message
    else:
        document = json.loads(answer.body)["partialSuccess"]
        rejected, why = int(document["rejectedSpans"]), document["errorMessage"]
    assert rejected == 2
    assert why.startswith("2 of 3 spans were rejected: a trace_id must have 16 bytes")
    [kept] = receiver.memory.bodies
    assert list(otlp.message_spans(ExportTraceServiceRequest.FromString(kept))) == [good]


def test_when_all_spans_are_rejected_nothing_is_kept(receiver: Receiver) -> None:
    body = otlp.request([otlp.span(trace_id=b"short")]).SerializeToString()
    assert receiver.post(body).status == 200
    assert receiver.memory.bodies == []


def test_a_json_id_that_is_not_hex_rejects_its_span_only(receiver: Receiver) -> None:
    document = json.loads(otlp.json_body(otlp.request([otlp.span(), otlp.span()])))
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] = "not hex"
    answer = receiver.post(json.dumps(document).encode(), JSON)
    assert json.loads(answer.body)["partialSuccess"]["rejectedSpans"] == "1"
    assert receiver.memory.spans == 1


NOT_UTF8 = (
    otlp.request([otlp.span({"gen_ai.request.model": "gpt-4o"})])
    .SerializeToString()
    .replace(b"gpt-4o", b"gpt-\xff\xfe")
)


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (b"not protobuf", PROTOBUF, "not a protobuf ExportTraceServiceRequest"),
        (otlp.body()[:-3], PROTOBUF, "not a protobuf ExportTraceServiceRequest"),
        (NOT_UTF8, PROTOBUF, "not a protobuf ExportTraceServiceRequest"),
        (b"{", JSON, "the body is not JSON"),
        (b"\xff", JSON, "the body is not JSON"),
        (b"[" * 100_000, JSON, "the body is not JSON"),
        (b"[]", JSON, "must be a JSON object with 'resourceSpans', but is list"),
        (b'{"resourceSpans": 5}', JSON, "not OTLP JSON"),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"kind": {}}]}]}]}', JSON, "not OTLP JSON"),
    ],
)
def test_a_malformed_body_is_answered_in_its_own_encoding_with_a_reason(
    receiver: Receiver, body: bytes, content_type: str, words: str
) -> None:
    answer = receiver.post(body, content_type)
    assert (answer.status, answer.headers["content-type"]) == (400, content_type)
    assert words in reason(answer)
    assert receiver.memory.bodies == []


@pytest.mark.parametrize("packed", [b"not gzip", otlp.gzipped(otlp.body(100))[:-12]])
def test_broken_gzip_is_malformed(receiver: Receiver, packed: bytes) -> None:
    answer = receiver.post(packed, headers={"Content-Encoding": "gzip"})
    assert answer.status == 400
    assert "gzip" in reason(answer)
    assert receiver.memory.bodies == []


def test_deeply_nested_values_are_malformed(receiver: Receiver) -> None:
    nested = b""
    for _ in range(200):
        inner = b"\x0a" + varint(len(nested)) + nested
        nested = b"\x2a" + varint(len(inner)) + inner
    attribute = b"\x12" + varint(len(nested)) + nested
    for field in (9, 2, 2, 1):
        attribute = bytes([field << 3 | 2]) + varint(len(attribute)) + attribute
    assert receiver.post(attribute).status == 400


keys = st.sampled_from(
    [
        "resourceSpans",
        "resource",
        "scopeSpans",
        "spans",
        "traceId",
        "spanId",
        "links",
        "attributes",
        "key",
        "value",
    ]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(keys, json_values, max_size=3))
def test_no_json_makes_the_collector_fail(receiver: Receiver, document: dict[str, object]) -> None:
    assert receiver.post(json.dumps(document).encode(), JSON).status in (200, 400)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_changed_protobuf_makes_the_collector_fail(receiver: Receiver, data: st.DataObject) -> None:
    body = bytearray(otlp.body(2))
    for _ in range(data.draw(st.integers(1, 5))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    assert receiver.post(bytes(body)).status in (200, 400)


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/x-www-form-urlencoded"])
def test_another_content_type_is_unsupported(receiver: Receiver, content_type: str) -> None:
    answer = receiver.post(otlp.body(), content_type)
    assert answer.status == 415
    assert "send 'application/x-protobuf' or 'application/json'" in reason(answer)


def test_another_content_encoding_is_unsupported(receiver: Receiver) -> None:
    answer = receiver.post(otlp.body(), headers={"Content-Encoding": "br"})
    assert answer.status == 415
    assert answer.headers["content-type"] == PROTOBUF
    assert "Content-Encoding is 'br'; send 'gzip' or 'zstd' or none" in reason(answer)


def test_another_method_is_not_allowed(receiver: Receiver) -> None:
    answer = receiver.post(b"", method="GET")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


def test_other_signals_are_not_found_and_told_why(receiver: Receiver) -> None:
    answer = receiver.post(b"", path="/v1/logs")
    assert answer.status == 404
    assert "pennytrace does not collect logs; send only traces here" in reason(answer)


def test_a_path_that_does_not_exist_is_not_found(receiver: Receiver) -> None:
    answer = receiver.post(b"", "text/plain", path="/v1/trace")
    assert answer.status == 404
    assert "send traces to '/v1/traces'" in reason(answer)


def test_pages_stand_beside_the_traces(receiver: Receiver) -> None:
    assert receiver.post(b"", path="/health", method="GET").body == b"well"
    assert receiver.post(b"", path="/health").status == 405


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
@pytest.mark.parametrize(
    "refusal", [JournalFull("the journal is full"), JournalUnwritable("the disk is full")]
)
def test_under_pressure_the_client_is_told_when_to_come_back(
    receiver: Receiver, content_type: str, refusal: JournalFull | JournalUnwritable
) -> None:
    receiver.memory.refusal = refusal
    message = otlp.request([otlp.span()])
    answer = receiver.post(
        message.SerializeToString() if content_type == PROTOBUF else otlp.json_body(message), content_type
    )
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) == refusal.retry_after_s
    assert reason(answer) == str(refusal)
    if content_type == PROTOBUF:
        retry = RetryInfo()
        assert Status.FromString(answer.body).details[0].Unpack(retry)
        assert retry.retry_delay.seconds == refusal.retry_after_s


@pytest.fixture
def narrow() -> Iterator[Receiver]:
    with receiving(budget=Budget(2 * MEBIBYTE, body_bytes=MEBIBYTE), body_time_s=0.2) as receiver:
        yield receiver


def test_a_body_that_announces_too_much_is_refused_before_it_is_sent(narrow: Receiver) -> None:
    with socket.create_connection(("127.0.0.1", narrow.http_port), timeout=30) as connection:
        connection.sendall(
            b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
            b"content-length: 100000000000\r\n\r\n"
        )
        answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"is larger than 1048576 bytes" in answer


def all_of(connection: socket.socket) -> bytes:
    """Return what the server sends until it closes the connection."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_body_that_grows_too_large_is_refused_when_the_client_has_sent_it(narrow: Receiver) -> None:
    with socket.create_connection(("127.0.0.1", narrow.http_port), timeout=30) as connection:
        connection.sendall(
            b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        for _ in range(10):
            connection.sendall(b"%x\r\n" % MEBIBYTE + bytes(MEBIBYTE) + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert narrow.intake.budget.used_bytes == 0


@pytest.mark.parametrize(("content_type", "status"), [(PROTOBUF, 413), ("text/plain", 415)])
def test_a_large_body_that_is_not_wanted_still_gets_its_answer(
    narrow: Receiver, content_type: str, status: int
) -> None:
    assert narrow.post(bytes(20 * MEBIBYTE), content_type).status == status


def test_a_client_that_asks_first_is_refused_before_it_sends(narrow: Receiver) -> None:
    with socket.create_connection(("127.0.0.1", narrow.http_port), timeout=30) as connection:
        connection.sendall(
            b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
            b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % (2 * MEBIBYTE)
        )
        assert all_of(connection).startswith(b"HTTP/1.1 413 ")


def test_a_gzip_bomb_stops_at_the_limit(narrow: Receiver) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    bomb = b"".join(packer.compress(bytes(MEBIBYTE)) for _ in range(48)) + packer.flush()
    assert len(bomb) < MEBIBYTE // 2
    answer = narrow.post(bomb, headers={"Content-Encoding": "gzip"})
    assert answer.status == 413
    assert "larger than 1048576 bytes, unpacked" in reason(answer)
    assert narrow.intake.budget.used_bytes == 0


def test_a_client_that_never_finishes_is_told_so(narrow: Receiver) -> None:
    with socket.create_connection(("127.0.0.1", narrow.http_port), timeout=30) as connection:
        connection.sendall(
            b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
            b"content-length: 1000\r\n\r\nhalf"
        )
        answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"did not arrive within 0.2 seconds" in answer


def test_a_client_that_leaves_gives_its_memory_back(receiver: Receiver) -> None:
    gone = receiver.intake.tally.rejected_requests["client_gone"]
    with socket.create_connection(("127.0.0.1", receiver.http_port), timeout=30) as connection:
        connection.sendall(
            b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
            b"content-length: 1000\r\n\r\nhalf"
        )
    eventually(lambda: receiver.intake.tally.rejected_requests["client_gone"] > gone)
    assert receiver.intake.budget.used_bytes == 0


def test_too_much_at_once_is_refused_until_there_is_room(narrow: Receiver) -> None:
    narrow.intake.budget.take(2 * MEBIBYTE)
    answer = narrow.post(otlp.body())
    assert answer.status == 503
    assert "receiving too much at once" in reason(answer)
    narrow.intake.budget.give_back(2 * MEBIBYTE)
    assert narrow.post(otlp.body()).status == 200


def test_requests_are_counted_by_what_became_of_them() -> None:
    with receiving() as receiver:
        receiver.post(otlp.body(3))
        receiver.post(otlp.json_body(otlp.request([otlp.span(), otlp.span(trace_id=b"short")])), JSON)
        receiver.post(b"nonsense")
        tally = receiver.intake.tally
    assert tally.requests == {"http/protobuf": 2, "http/json": 1}
    assert tally.rejected_requests == {"malformed": 1}
    assert (tally.spans, tally.rejected_spans) == (4, 1)


def test_a_zstd_bomb_stops_at_the_limit(narrow: Receiver) -> None:
    bomb = zstd.compress(bytes(100 * MEBIBYTE))
    assert len(bomb) < 10_000
    answer = narrow.post(bomb, headers={"Content-Encoding": "zstd"})
    assert answer.status == 413
    assert narrow.memory.bodies == []
