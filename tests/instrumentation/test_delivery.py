"""Delivery: retried for as long as it takes, bounded, visible when it fails, safe over fork and exit."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from backports import zstd
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import pennytrace
from pennytrace import semconv
from pennytrace._calls import active as _active
from pennytrace._delivery import backoff as _backoff
from pennytrace._delivery.queue import QueuedDelivery
from tests.instrumentation import sink as sinks
from tests.instrumentation.conftest import Calls
from tests.instrumentation.provider import MODEL, Provider
from tests.instrumentation.sink import Recorded, Reply, Sink

MESSAGES: Any = [{"role": "user", "content": "?"}]


def ask(client: openai.OpenAI, times: int = 1) -> None:
    for _ in range(times):
        client.chat.completions.create(model=MODEL, messages=MESSAGES)


def recorded_calls(sink: Sink) -> list[Recorded]:
    """Return the calls among the spans that arrived."""
    return [span for span in sink.spans if span.name != semconv.LOSS]


def delivery() -> QueuedDelivery:
    recorder = _active.recorder
    assert recorder is not None
    assert isinstance(recorder.delivery, QueuedDelivery)
    return recorder.delivery


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_backoff, "FIRST", 0.01)


@pytest.fixture
def free_port() -> Iterator[int]:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


class TestRequests:
    def test_go_to_the_traces_path_as_protobuf_with_the_headers(
        self, client: openai.OpenAI, sink: Sink
    ) -> None:
        pennytrace.init(endpoint=sink.url, headers={"Authorization": "Bearer t"})
        ask(client)
        assert pennytrace.flush()
        (request,) = sink.requests
        assert request[":path"] == "/v1/traces"
        assert request["Content-Type"] == "application/x-protobuf"
        assert request["Authorization"] == "Bearer t"

    def test_are_compressed_when_they_leave_the_machine(
        self, client: openai.OpenAI, sink: Sink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pennytrace._setup.settings._LOOPBACK", frozenset())
        pennytrace.init(endpoint=sink.url)
        ask(client)
        assert pennytrace.flush()
        assert sink.requests[0]["Content-Encoding"] == "gzip"
        assert len(sink.spans) == 1

    def test_are_compressed_better_once_the_collector_says_that_it_takes_it(
        self, client: openai.OpenAI, sink: Sink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "compression.zstd", zstd)  # as Python 3.14 has it
        monkeypatch.setattr("pennytrace._setup.settings._LOOPBACK", frozenset())
        take = sink.take

        def unpacked(headers: dict[str, str], body: bytes) -> Reply:
            return take(headers, zstd.decompress(body) if headers["Content-Encoding"] == "zstd" else body)

        monkeypatch.setattr(sink, "take", unpacked)
        sink.replies.extend([Reply(200, {"Accept-Encoding": "gzip, zstd"}), Reply(200), Reply(415)])
        pennytrace.init(endpoint=sink.url)
        for _ in range(4):
            ask(client)
            assert pennytrace.flush()
        encodings = [request["Content-Encoding"] for request in sink.requests]
        assert encodings == ["gzip", "zstd", "zstd", "gzip", "gzip"], "refused once, it is not tried again"
        assert len(sink.spans) == 4

    def test_gather_many_calls(self, client: openai.OpenAI, sink: Sink, calls: Calls) -> None:
        ask(client, 20)
        assert len(calls()) == 20
        assert len(sink.requests) < 5

    def test_are_made_without_a_flush_too(self, client: openai.OpenAI, sink: Sink, recording: None) -> None:
        ask(client)
        sink.wait_for(spans=1)


class TestFailures:
    @pytest.mark.parametrize("status", [307, 401, 403, 404, 408, 429, 500, 502, 503, 504])
    def test_that_may_pass_are_tried_again(
        self, client: openai.OpenAI, sink: Sink, calls: Calls, status: int
    ) -> None:
        sink.replies.extend([Reply(status), Reply(status)])
        ask(client)
        assert len(calls()) == 1
        assert len(sink.requests) == 3

    def test_honour_the_collectors_wish_to_wait(
        self, client: openai.OpenAI, sink: Sink, calls: Calls
    ) -> None:
        sink.replies.append(Reply(429, {"Retry-After": "0.3"}))
        ask(client)
        before = time.monotonic()
        assert len(calls()) == 1
        assert time.monotonic() - before >= 0.3

    def test_honour_a_date_to_wait_for(self) -> None:
        from email.utils import formatdate

        from pennytrace._delivery.http import _seconds

        waiting = _seconds(formatdate(time.time() + 60, usegmt=True))
        assert waiting is not None
        assert 50 < waiting <= 60
        assert _seconds("nonsense") is None
        assert _seconds("-5") == 0
        assert _seconds("1e9") == 300

    @pytest.mark.parametrize("status", [400, 413, 415, 422])
    def test_that_stay_are_counted_and_told_once_with_the_reason(
        self,
        client: openai.OpenAI,
        sink: Sink,
        recording: None,
        caplog: pytest.LogCaptureFixture,
        status: int,
    ) -> None:
        with caplog.at_level(logging.WARNING, logger="pennytrace"):
            for _ in range(2):
                sink.replies.extend([Reply(status, body=b"no such tenant\n")] * 2)  # the report of it too
                ask(client)
                assert not pennytrace.flush()
                sink.replies.clear()
        assert delivery().losses.calls(semconv.REFUSED) == 2
        (told,) = [record.getMessage() for record in caplog.records]
        assert str(status) in told
        assert "no such tenant" in told
        ask(client)
        assert pennytrace.flush()

    def test_tell_the_reason_that_a_status_of_grpc_holds(
        self, client: openai.OpenAI, sink: Sink, recording: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        reason = "there is nothing at '/elsewhere'; send traces to '/v1/traces'"  # 61 bytes, printed as `=`
        sink.replies.extend([Reply(400, body=Status(code=3, message=reason).SerializeToString())] * 2)
        with caplog.at_level(logging.WARNING, logger="pennytrace"):
            ask(client)
            assert not pennytrace.flush()
        assert f"Bad Request: {reason}" in caplog.text

    def test_of_the_size_divide_a_request_until_every_part_is_taken(
        self, client: openai.OpenAI, sink: Sink, calls: Calls
    ) -> None:
        sink.replies.extend([Reply(413), Reply(413), Reply(200), Reply(200), Reply(200)])
        ask(client, 8)
        assert len({call.span_id for call in calls()}) == 8
        assert delivery().losses.calls() == 0

    def test_of_one_call_lose_that_call_alone(
        self, client: openai.OpenAI, sink: Sink, recording: None
    ) -> None:
        ask(client, 4)
        # All four, then each half; the half that was refused is divided once more.
        sink.replies.extend([Reply(400), Reply(200), Reply(400), Reply(200), Reply(400)])
        assert not pennytrace.flush()
        sink.wait_for(spans=4)
        assert len(recorded_calls(sink)) == 3
        assert delivery().losses.calls(semconv.REFUSED) == 1

    def test_of_a_part_are_read_from_the_answer(
        self, client: openai.OpenAI, sink: Sink, recording: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        left_out = ExportTracePartialSuccess(rejected_spans=2, error_message="trace id of zeros")
        answer = ExportTraceServiceResponse(partial_success=left_out).SerializeToString()
        sink.replies.append(Reply(200, body=answer))
        ask(client, 3)
        assert not pennytrace.flush()
        assert delivery().losses.calls(semconv.REFUSED) == 2
        assert "trace id of zeros" in caplog.text

    def test_that_only_name_no_rejected_span_are_none(
        self, client: openai.OpenAI, sink: Sink, recording: None
    ) -> None:
        fine = ExportTraceServiceResponse().SerializeToString()
        for body in (fine, b"{}", b"\x0a\xff", b"\x80" * 20):
            sink.replies.append(Reply(200, body=body))
            ask(client)
            assert pennytrace.flush()
        assert delivery().losses.calls() == 0

    def test_to_unpack_are_answered_with_less_packing(
        self, client: openai.OpenAI, sink: Sink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pennytrace._setup.settings._LOOPBACK", frozenset())
        pennytrace.init(endpoint=sink.url)
        sink.replies.append(Reply(415))
        for _ in range(2):
            ask(client)
            assert pennytrace.flush()
        assert [request.get("Content-Encoding") for request in sink.requests] == ["gzip", None, None]
        assert len(sink.spans) == 2

    def test_are_told_to_the_collector_once_it_takes_spans_again(
        self, client: openai.OpenAI, sink: Sink, recording: None
    ) -> None:
        sink.replies.extend([Reply(400)] * 3)  # all three, then each half
        ask(client, 3)
        assert not pennytrace.flush()
        sink.wait_for(spans=1)
        (loss,) = sink.spans
        assert loss.name == "pennytrace.loss"
        assert loss.attributes == {"pennytrace.lost.calls": 3, "pennytrace.lost.reason": "refused"}
        assert loss.kind == Span.SPAN_KIND_INTERNAL
        sink.replies.append(Reply(400))
        ask(client)
        assert not pennytrace.flush()
        assert len(sink.spans) == 1, "a second one within the minute waits"
        pennytrace.shutdown()
        sink.wait_for(spans=2)
        assert sink.spans[1].attributes["pennytrace.lost.calls"] == 1

    def test_to_connect_are_tried_until_somebody_is_there(
        self, client: openai.OpenAI, free_port: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        pennytrace.init(endpoint=f"http://127.0.0.1:{free_port}")
        ask(client, 3)
        assert not pennytrace.flush(0.1)
        assert "keeps trying" in caplog.text
        assert f"127.0.0.1:{free_port}" in caplog.text

    def test_of_a_collector_that_is_away_for_a_while_lose_nothing(
        self, client: openai.OpenAI, caplog: pytest.LogCaptureFixture
    ) -> None:
        with sinks.running() as first:
            port = first.port
            pennytrace.init(endpoint=first.url)
            ask(client)
            assert pennytrace.flush()
        delivery()._courier.transport.close()  # the thread that serves the old connection lives on
        ask(client, 5)
        assert not pennytrace.flush(0.05)
        with sinks.running(port) as second:
            assert pennytrace.flush(30)
            assert len(second.spans) == 5
            pennytrace.shutdown()

    def test_of_an_idle_connection_that_was_closed_are_none(
        self, client: openai.OpenAI, sink: Sink, calls: Calls, caplog: pytest.LogCaptureFixture
    ) -> None:
        sink.replies.append(Reply(200, {"Connection": "close"}))
        ask(client)
        assert len(calls()) == 1
        ask(client)
        assert len(calls()) == 2
        assert caplog.records == []


class TestBounds:
    def test_a_full_queue_refuses_the_newest_visibly_and_never_blocks(
        self, client: openai.OpenAI, free_port: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        pennytrace.init(endpoint=f"http://127.0.0.1:{free_port}", queue_size=5, spool="off")
        with caplog.at_level(logging.WARNING, logger="pennytrace"):
            ask(client, 20)
        lost = delivery().losses.calls(semconv.QUEUE_FULL)
        assert 0 < lost < 20
        full = [record for record in caplog.records if "takes no more" in record.getMessage()]
        assert len(full) == 1

    def test_many_threads_lose_nothing(self, provider: Provider, calls: Calls) -> None:
        def work() -> None:
            with openai.OpenAI(api_key="none", base_url=provider.url) as own:
                ask(own, 10)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        recorded = calls()
        assert len(recorded) == 80
        assert len({call.span_id for call in recorded}) == 80

    def test_there_is_one_sender_and_none_before_the_first_call(
        self, client: openai.OpenAI, calls: Calls
    ) -> None:
        def senders() -> int:
            return sum(thread.name == "pennytrace-sender" for thread in threading.enumerate())

        before = senders()
        assert calls() == []
        assert senders() == before
        ask(client, 5)
        calls()
        assert senders() == before + 1
