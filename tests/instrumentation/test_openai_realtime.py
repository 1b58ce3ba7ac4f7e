"""OpenAI's WebSockets: the real client and a real server; each response, transcription and live session is a call."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from threading import Thread
from typing import Any, ClassVar

import openai
import pytest
from genai_prices import extract_usage
from websockets.sync.server import ServerConnection, serve

import pennytrace
from pennytrace import semconv
from tests.instrumentation.conftest import Calls
from tests.instrumentation.openai_answers import (
    MODEL,
    RESPONSE_TOKENS,
    RESPONSE_USAGE,
    SECRET,
    only,
    operation,
    response,
    response_events,
    source,
    usage,
)
from tests.instrumentation.sink import Sink

# The library connects in a way that websockets 17 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning")

REALTIME_USAGE = {
    "total_tokens": 275,
    "input_tokens": 127,
    "output_tokens": 148,
    "input_token_details": {
        "text_tokens": 100,
        "audio_tokens": 20,
        "image_tokens": 7,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 50, "audio_tokens": 10, "image_tokens": 4},
    },
    "output_token_details": {"text_tokens": 36, "audio_tokens": 112},
}
REALTIME_TOKENS = {
    semconv.INPUT_TOKENS: 127,
    semconv.OUTPUT_TOKENS: 148,
    semconv.TEXT_INPUT_TOKENS: 100,
    semconv.AUDIO_INPUT_TOKENS: 20,
    semconv.IMAGE_INPUT_TOKENS: 7,
    semconv.CACHE_READ_INPUT_TOKENS: 64,
    semconv.TEXT_CACHE_READ_INPUT_TOKENS: 50,
    semconv.AUDIO_CACHE_READ_INPUT_TOKENS: 10,
    semconv.IMAGE_CACHE_READ_INPUT_TOKENS: 4,
    semconv.TEXT_OUTPUT_TOKENS: 36,
    semconv.AUDIO_OUTPUT_TOKENS: 112,
}


class Server:
    """Sends the events that a test puts there, and closes."""

    def __init__(self) -> None:
        self.port = 0
        self.events: Sequence[dict[str, Any]] = ()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def handle(self, connection: ServerConnection) -> None:
        for number, event in enumerate(self.events):
            connection.send(json.dumps({"event_id": f"event_{number}", **event}))


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()
    with serve(told.handle, "127.0.0.1", 0) as sockets:
        told.port = sockets.socket.getsockname()[1]
        thread = Thread(target=sockets.serve_forever, daemon=True)
        thread.start()
        yield told
        sockets.shutdown()
        thread.join()


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="none", base_url=server.url, max_retries=0) as client:
        yield client


def realtime_response(id: str = "resp_r", **more: Any) -> dict[str, Any]:
    return {"object": "realtime.response", "id": id, "status": "completed", "output": [], **more}


def realtime_events(**more: Any) -> list[dict[str, Any]]:
    session = {
        "type": "realtime",
        "object": "realtime.session",
        "id": "sess_1",
        "model": "gpt-realtime-2026-01",
        "audio": {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}},
    }
    place = {"response_id": "resp_r", "item_id": "i", "output_index": 0, "content_index": 0}
    return [
        {"type": "session.created", "session": session},
        {"type": "response.created", "response": realtime_response(status="in_progress")},
        {"type": "response.output_audio_transcript.delta", "delta": SECRET, **place},
        {"type": "response.output_audio.delta", "delta": "aGk=", **place},
        {"type": "response.done", "response": realtime_response(usage=REALTIME_USAGE, **more)},
    ]


def talk(client: openai.OpenAI) -> list[Any]:
    with client.realtime.connect(model="gpt-realtime") as connection:
        return list(connection)


class TestRealtime:
    def test_a_response_is_a_call(self, client: openai.OpenAI, server: Server, calls: Calls) -> None:
        server.events = realtime_events()
        events = talk(client)
        assert [event.type for event in events] == [event["type"] for event in server.events]
        call = only(calls)
        assert call.name == "realtime gpt-realtime-2026-01"
        assert usage(call) == REALTIME_TOKENS
        assert source(call) == "measured"
        assert call.attributes[semconv.RESPONSE_ID] == "resp_r"
        assert call.attributes[semconv.PROVIDER_NAME] == "openai_compatible"
        assert call.attributes[semconv.SERVER_ADDRESS] == "127.0.0.1"
        assert call.attributes[semconv.SERVER_PORT] == server.port

    def test_the_price_list_reads_the_same(self, client: openai.OpenAI, server: Server, calls: Calls) -> None:
        server.events = realtime_events()
        talk(client)
        stated = usage(only(calls))
        answer = {"response": {"usage": REALTIME_USAGE}, "model": "gpt-realtime"}
        read = extract_usage(answer, provider_id="openai", api_flavor="realtime").usage
        names = {
            "input_tokens": semconv.INPUT_TOKENS,
            "output_tokens": semconv.OUTPUT_TOKENS,
            "input_audio_tokens": semconv.AUDIO_INPUT_TOKENS,
            "output_audio_tokens": semconv.AUDIO_OUTPUT_TOKENS,
            "input_image_tokens": semconv.IMAGE_INPUT_TOKENS,
            "cache_read_tokens": semconv.CACHE_READ_INPUT_TOKENS,
            "cache_audio_read_tokens": semconv.AUDIO_CACHE_READ_INPUT_TOKENS,
            "cache_image_read_tokens": semconv.IMAGE_CACHE_READ_INPUT_TOKENS,
            "cache_text_read_tokens": semconv.TEXT_CACHE_READ_INPUT_TOKENS,
        }
        assert {theirs: getattr(read, theirs) for theirs in names} == {
            theirs: stated[ours] for theirs, ours in names.items()
        }

    def test_each_response_is_one(self, client: openai.OpenAI, server: Server, calls: Calls) -> None:
        again = {"type": "response.done", "response": realtime_response("resp_s", usage=REALTIME_USAGE)}
        server.events = [*realtime_events(), again]
        with pennytrace.tag(feature="hotline"):
            talk(client)
        assert [call.attributes[semconv.RESPONSE_ID] for call in calls()] == ["resp_r", "resp_s"]
        assert {call.attributes[semconv.FEATURE] for call in calls()} == {"hotline"}

    def test_one_that_was_cancelled_was_paid_for_all_the_same(
        self, client: openai.OpenAI, server: Server, calls: Calls
    ) -> None:
        server.events = realtime_events(status="cancelled")
        talk(client)
        assert usage(only(calls)) == REALTIME_TOKENS

    def test_one_that_failed(self, client: openai.OpenAI, server: Server, calls: Calls) -> None:
        why = {"type": "failed", "error": {"type": "server_error", "code": "overloaded"}}
        server.events = [
            *realtime_events()[:2],
            {"type": "response.done", "response": realtime_response(status="failed", status_details=why)},
        ]
        talk(client)
        call = only(calls)
        assert call.attributes[semconv.ERROR_TYPE] == "server_error"
        assert source(call) == "missing"

    def test_one_that_the_connection_did_not_outlive_is_missing(
        self, client: openai.OpenAI, server: Server, calls: Calls
    ) -> None:
        server.events = realtime_events()[:-1]
        talk(client)
        call = only(calls)
        assert source(call) == "missing"
        assert usage(call) == {}
        assert call.attributes[semconv.RESPONSE_ID] == "resp_r"

    def test_so_is_one_whose_connection_is_only_dropped(
        self, client: openai.OpenAI, server: Server, calls: Calls
    ) -> None:
        server.events = realtime_events()[:-1]
        connection = client.realtime.connect(model="gpt-realtime").enter()
        for _ in range(3):
            connection.recv()
        assert calls() == []
        connection._connection.close()
        del connection
        gc.collect()
        assert source(only(calls)) == "missing"

    @pytest.mark.parametrize(
        ("stated", "expected"),
        [
            (
                {
                    "type": "tokens",
                    "input_tokens": 30,
                    "output_tokens": 5,
                    "total_tokens": 35,
                    "input_token_details": {"audio_tokens": 28, "text_tokens": 2},
                },
                {
                    semconv.INPUT_TOKENS: 30,
                    semconv.OUTPUT_TOKENS: 5,
                    semconv.AUDIO_INPUT_TOKENS: 28,
                    semconv.TEXT_INPUT_TOKENS: 2,
                },
            ),
            ({"type": "duration", "seconds": 2.5}, {semconv.AUDIO_SECONDS: 2.5}),
        ],
    )
    def test_what_the_user_said_is_transcribed_by_another_model(
        self,
        client: openai.OpenAI,
        server: Server,
        calls: Calls,
        stated: dict[str, Any],
        expected: dict[str, Any],
    ) -> None:
        heard = {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "item_1",
            "content_index": 0,
            "transcript": SECRET,
            "usage": stated,
        }
        server.events = [realtime_events()[0], heard]
        talk(client)
        call = only(calls)
        assert call.name == "transcription gpt-4o-mini-transcribe"
        assert usage(call) == expected
        assert call.attributes[semconv.RESPONSE_ID] == "item_1/0"

    def test_asynchronous(self, server: Server, calls: Calls) -> None:
        server.events = realtime_events()

        async def work(client: openai.AsyncOpenAI) -> int:
            async with client.realtime.connect(model="gpt-realtime") as connection:
                return len([event async for event in connection])

        assert asynchronously(server, work) == 5
        assert usage(only(calls)) == REALTIME_TOKENS

    def test_asynchronous_and_left(self, server: Server, calls: Calls) -> None:
        server.events = realtime_events()[:-1]

        async def work(client: openai.AsyncOpenAI) -> None:
            async with client.realtime.connect(model="gpt-realtime") as connection:
                await connection.recv()
                await connection.recv()

        asynchronously(server, work)
        assert source(only(calls)) == "missing"

    def test_handlers_see_the_same_events(self, client: openai.OpenAI, server: Server, calls: Calls) -> None:
        server.events = realtime_events()
        seen: list[str] = []
        with client.realtime.connect(model="gpt-realtime") as connection:
            connection.on("event", lambda event: seen.append(event.type))
            connection.dispatch_events()
        assert len(seen) == 5
        assert usage(only(calls)) == REALTIME_TOKENS

    def test_the_app_gets_what_it_would_get(self, client: openai.OpenAI, server: Server, sink: Sink) -> None:
        server.events = [*realtime_events(), {"type": "something.new", "with": [1]}]
        without = talk(client)
        pennytrace.init(endpoint=sink.url)
        assert talk(client) == without
        assert pennytrace.flush(30)

    def test_nothing_is_kept_of_a_connection(
        self, client: openai.OpenAI, server: Server, calls: Calls
    ) -> None:
        from pennytrace.providers import openai_realtime

        server.events = realtime_events()
        talk(client)
        gc.collect()
        assert len(openai_realtime._sessions) == 0


def asynchronously(server: Server, work: Callable[[openai.AsyncOpenAI], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        sockets = server.url.replace("http", "ws")
        async with openai.AsyncOpenAI(
            api_key="none", base_url=server.url, websocket_base_url=sockets, max_retries=0
        ) as client:
            return await work(client)

    return asyncio.run(run())


class TestResponses:
    def test_each_is_a_call(self, client: openai.OpenAI, server: Server, calls: Calls) -> None:
        server.events = [*response_events(), *response_events(id="resp_2")]
        with client.responses.connect() as connection:
            assert len(list(connection)) == 14
        first, second = calls()
        assert first.name == f"chat {MODEL}-2026-09-01"
        assert usage(first) == usage(second) == RESPONSE_TOKENS
        assert first.attributes[semconv.RESPONSE_ID] == "resp_1"
        assert first.attributes[semconv.OPENAI_RESPONSE_SERVICE_TIER] == "default"

    def test_asynchronous(self, server: Server, calls: Calls) -> None:
        server.events = response_events()

        async def work(client: openai.AsyncOpenAI) -> int:
            async with client.responses.connect() as connection:
                return len([event async for event in connection])

        assert asynchronously(server, work) == 7
        assert usage(only(calls)) == RESPONSE_TOKENS

    def test_one_that_is_cut_is_missing(self, client: openai.OpenAI, server: Server, calls: Calls) -> None:
        server.events = response_events()[:4]
        with client.responses.connect() as connection:
            list(connection)
        call = only(calls)
        assert source(call) == "missing"
        assert usage(call) == {}


class TestLive:
    SESSION: ClassVar[dict[str, Any]] = {
        "id": "live_1",
        "model": "gpt-live-1",
        "status": "active",
        "expires_at": 1_763_000_000,
    }

    def events(self) -> list[dict[str, Any]]:
        nested = [
            {"type": "response.event", "delegation_id": "d", "event": event}
            for event in (response_events()[0], response_events()[-1])
        ]
        decision = {"model": "gpt-6-luna", "answers": [], "usage": RESPONSE_USAGE}
        return [
            {"type": "session.started", "session": self.SESSION},
            {"type": "session.usage.updated", "usage": {"seconds": 10}},
            *nested,
            {
                "type": "decision.event",
                "event": {"type": "decision.completed", "decision": decision},
                "delegation_id": None,
            },
            {"type": "session.usage.updated", "usage": {"seconds": 20.5}},
        ]

    def listen(self, client: openai.OpenAI) -> int:
        with client.live.connect() as connection:
            return len(list(connection))

    def test_a_session_is_a_call_of_all_its_seconds(
        self, client: openai.OpenAI, server: Server, calls: Calls
    ) -> None:
        closed = {"type": "session.closed", "reason": "expired", "session": self.SESSION}
        server.events = [*self.events(), {**closed, "usage": {"seconds": 31.5}}]
        assert self.listen(client) == 7
        answered, decided, session = calls()
        assert usage(answered) == RESPONSE_TOKENS
        assert operation(answered) == "chat"
        assert answered.attributes[semconv.REQUEST_MODEL] == f"{MODEL}-2026-09-01"
        assert operation(decided) == "decision"
        assert decided.attributes[semconv.RESPONSE_MODEL] == "gpt-6-luna"
        assert usage(decided) == RESPONSE_TOKENS
        assert session.name == "realtime gpt-live-1"
        assert usage(session) == {semconv.AUDIO_SECONDS: 31.5}
        assert session.attributes[semconv.RESPONSE_ID] == "live_1"

    def test_of_one_that_breaks_off_the_last_count_is_kept(
        self, client: openai.OpenAI, server: Server, calls: Calls
    ) -> None:
        server.events = self.events()
        self.listen(client)
        session = calls()[-1]
        assert usage(session) == {semconv.AUDIO_SECONDS: 20.5}
        assert session.attributes[semconv.REQUEST_MODEL] == "gpt-live-1"


def test_the_beta_is_the_same(server: Server, calls: Calls) -> None:
    server.events = realtime_events()

    async def work(client: openai.AsyncOpenAI) -> int:
        async with client.beta.realtime.connect(model="gpt-realtime") as connection:
            return len([event async for event in connection])

    assert asynchronously(server, work) == 5
    assert usage(only(calls)) == REALTIME_TOKENS


def test_nothing_is_recorded_after_the_end(client: openai.OpenAI, server: Server, sink: Sink) -> None:
    pennytrace.init(endpoint=sink.url)
    pennytrace.shutdown()
    server.events = [*realtime_events(), {"type": "response.completed", "response": response()}]
    assert len(talk(client)) == 6
    assert sink.spans == []


@pytest.mark.parametrize(
    "event",
    [
        {"type": "session.created"},
        {"type": "session.created", "session": ["odd"]},
        {"type": "response.created", "response": "odd"},
        {"type": "response.done", "response": None},
        {"type": "response.done", "response": {"id": "x", "usage": [1]}},
        {"type": "response.event", "event": 7},
        {"type": "session.usage.updated", "usage": {"seconds": "many"}},
        {"type": ["odd"]},
        {},
    ],
)
def test_odd_events_harm_nobody(
    client: openai.OpenAI, server: Server, calls: Calls, event: dict[str, Any]
) -> None:
    server.events = [event, *realtime_events()]
    assert len(talk(client)) == 6
    assert REALTIME_TOKENS in [usage(call) for call in calls()]


def test_a_library_without_these_connections_works_on(server: Server, sink: Sink) -> None:
    script = (
        "import sys, openai, pennytrace\n"
        "import openai.resources.live.live as live, openai.resources.realtime.realtime as realtime\n"
        "del live.LiveConnection, live.AsyncLiveConnection, realtime.AsyncRealtimeConnection\n"
        "pennytrace.init(endpoint=sys.argv[1])\n"
        "client = openai.OpenAI(api_key='none', base_url=sys.argv[2])\n"
        "with client.realtime.connect(model='m') as connection:\n"
        "    assert len(list(connection)) == 5\n"
        "assert pennytrace.flush(30)\n"
    )
    server.events = realtime_events()
    ran = subprocess.run(
        [sys.executable, "-c", script, sink.url, server.url], capture_output=True, text=True, check=True
    )
    assert "pennytrace" not in ran.stderr
    assert [usage(call) for call in sink.spans] == [REALTIME_TOKENS]
