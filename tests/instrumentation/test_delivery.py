"""Delivery: retried for as long as it takes, bounded, visible when it fails, safe over fork and exit."""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest

import pennytrace
from pennytrace import _active, _delivery
from pennytrace._delivery import QueuedDelivery
from tests.instrumentation import sink as sinks
from tests.instrumentation.conftest import Calls
from tests.instrumentation.processes import python
from tests.instrumentation.provider import MODEL, Provider
from tests.instrumentation.sink import Reply, Sink

MESSAGES: Any = [{"role": "user", "content": "?"}]


def ask(client: openai.OpenAI, times: int = 1) -> None:
    for _ in range(times):
        client.chat.completions.create(model=MODEL, messages=MESSAGES)


def delivery() -> QueuedDelivery:
    recorder = _active.recorder
    assert recorder is not None
    assert isinstance(recorder.delivery, QueuedDelivery)
    return recorder.delivery


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_delivery, "_FIRST_BACKOFF", 0.01)


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
        monkeypatch.setattr("pennytrace._settings._LOOPBACK", frozenset())
        pennytrace.init(endpoint=sink.url)
        ask(client)
        assert pennytrace.flush()
        assert sink.requests[0]["Content-Encoding"] == "gzip"
        assert len(sink.spans) == 1

    def test_gather_many_calls(self, client: openai.OpenAI, sink: Sink, calls: Calls) -> None:
        ask(client, 20)
        assert len(calls()) == 20
        assert len(sink.requests) < 5

    def test_are_made_without_a_flush_too(self, client: openai.OpenAI, sink: Sink, recording: None) -> None:
        ask(client)
        sink.wait_for(spans=1)


class TestFailures:
    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
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

        from pennytrace._http import _seconds

        waiting = _seconds(formatdate(time.time() + 60, usegmt=True))
        assert waiting is not None
        assert 50 < waiting <= 60
        assert _seconds("nonsense") is None
        assert _seconds("-5") == 0
        assert _seconds("1e9") == 300

    @pytest.mark.parametrize("status", [400, 401, 404, 413])
    def test_that_stay_are_counted_and_told_once_with_the_reason(
        self,
        client: openai.OpenAI,
        sink: Sink,
        recording: None,
        caplog: pytest.LogCaptureFixture,
        status: int,
    ) -> None:
        sink.replies.extend(
            [Reply(status, body=b"no such tenant\n"), Reply(status, body=b"no such tenant\n")]
        )
        with caplog.at_level(logging.WARNING, logger="pennytrace"):
            ask(client)
            assert not pennytrace.flush()
            ask(client)
            assert not pennytrace.flush()
        assert delivery().rejected == 2
        (told,) = [record.getMessage() for record in caplog.records]
        assert str(status) in told
        assert "no such tenant" in told
        ask(client)
        assert pennytrace.flush()

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
        delivery()._transport.close()
        ask(client, 5)
        assert not pennytrace.flush(0.05)
        with sinks.running(port) as second:
            assert pennytrace.flush(10)
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
        pennytrace.init(endpoint=f"http://127.0.0.1:{free_port}", queue_size=5)
        with caplog.at_level(logging.WARNING, logger="pennytrace"):
            ask(client, 20)
        assert 0 < delivery().refused < 20
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # threads and fork: that is the point here
class TestFork:
    def test_the_child_delivers_its_own_and_the_parent_the_rest(
        self, provider: Provider, client: openai.OpenAI, calls: Calls
    ) -> None:
        ask(client)  # the sender runs when the fork comes
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with openai.OpenAI(api_key="none", base_url=provider.url) as own:
                    own.embeddings.create(model="child", input="x", encoding_format="float")
                status = 0 if pennytrace.flush(10) else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        names = sorted(call.name for call in calls())
        assert names == [f"chat {MODEL}", "embeddings child"]

    def test_a_stream_that_is_open_stays_the_parents(
        self, provider: Provider, client: openai.OpenAI, calls: Calls
    ) -> None:
        stream = client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        next(stream)
        child = os.fork()
        if child == 0:
            stream._iterator.end()  # type: ignore[attr-defined]  # what the garbage collector may do there
            os._exit(0 if pennytrace.flush(10) else 2)
        assert os.waitpid(child, 0)[1] == 0
        assert len(list(stream)) == 3
        assert len(calls()) == 1

    def test_a_child_of_multiprocessing_delivers_before_it_ends(
        self, provider: Provider, sink: Sink, recording: None
    ) -> None:
        child = multiprocessing.get_context("fork").Process(target=_embed, args=(provider.url,))
        child.start()
        child.join(30)
        assert child.exitcode == 0
        assert [span.name for span in sink.spans] == ["embeddings child"]


def _embed(url: str) -> None:
    with openai.OpenAI(api_key="none", base_url=url) as own:
        own.embeddings.create(model="child", input="x", encoding_format="float")


class TestTheEndOfTheProcess:
    CALL = """
import openai, pennytrace, sys
pennytrace.init(endpoint=sys.argv[1])
client = openai.OpenAI(api_key="none", base_url=sys.argv[2])
client.embeddings.create(model="m", input="x", encoding_format="float")
client.close()
"""

    def test_delivers_what_is_left(self, provider: Provider, sink: Sink) -> None:
        done = python(self.CALL, sink.url, provider.url)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(sink.spans) == 1

    def test_by_sys_exit_keeps_the_status(self, provider: Provider, sink: Sink) -> None:
        done = python(self.CALL + "sys.exit(3)", sink.url, provider.url)
        assert (done.returncode, done.stderr) == (3, "")
        assert len(sink.spans) == 1

    def test_records_a_stream_that_nobody_closed(self, provider: Provider, sink: Sink) -> None:
        stream = 'left = client.chat.completions.create(model="m", messages=[], stream=True); next(left)\n'
        # Whatever the status: Python 3.13.0 crashes on the SDK's open stream, with and without us.
        python(self.CALL.replace("client.close()", stream), sink.url, provider.url)
        assert sorted(span.name for span in sink.spans) == ["chat m", "embeddings m"]

    def test_does_not_wait_for_a_collector_that_is_not_there(
        self, provider: Provider, free_port: int
    ) -> None:
        before = time.monotonic()
        program = self.CALL + "import time, atexit; print(time.monotonic())"
        done = python(program, f"http://127.0.0.1:{free_port}", provider.url)
        assert done.returncode == 0
        assert "could not deliver" in done.stderr
        assert float(done.stdout) > before
        assert time.monotonic() - float(done.stdout) < 2.5
