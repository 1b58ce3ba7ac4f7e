"""Responses that the app takes raw: as lazy as before, byte by byte the same, and still recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest

from pennytrace import semconv
from pennytrace._calls import follow as _follow
from tests.instrumentation.conftest import Calls
from tests.instrumentation.provider import MODEL, RESPONSE_ID, Answer, Provider

MESSAGES: Any = [{"role": "user", "content": "What does a penny weigh?"}]
Runner = Callable[[Callable[[Any], Any]], Any]
HAS_STREAMING_RESPONSE = hasattr(openai.resources.chat.Completions, "with_streaming_response")
streaming = pytest.mark.skipif(not HAS_STREAMING_RESPONSE, reason="no with_streaming_response")


def source(calls: Calls) -> str:
    (call,) = calls()
    return str(call.attributes[semconv.USAGE_SOURCE])


class TestRawResponse:
    def test_parses_to_the_same_object_each_time(self, client: openai.OpenAI, calls: Calls) -> None:
        raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES)
        assert raw.headers["content-type"] == "application/json"
        assert raw.parse() is raw.parse()
        assert raw.parse().id == RESPONSE_ID
        (call,) = calls()
        assert call.attributes[semconv.OUTPUT_TOKENS] == 9
        assert call.attributes[semconv.RESPONSE_ID] == RESPONSE_ID

    def test_need_not_be_parsed_to_be_recorded(self, client: openai.OpenAI, calls: Calls) -> None:
        client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES)
        assert source(calls) == "measured"

    def test_of_a_stream_hides_the_usage_chunk(
        self, client: openai.OpenAI, provider: Provider, calls: Calls
    ) -> None:
        raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES, stream=True)
        chunks = list(raw.parse())
        assert len(chunks) == 4
        assert provider.requests[0]["stream_options"] == {"include_usage": True}
        assert source(calls) == "measured"

    def test_made_before_init_is_recorded_too(
        self, client: openai.OpenAI, calls: Calls, provider: Provider
    ) -> None:
        create = client.chat.completions.with_raw_response.create
        import pennytrace

        pennytrace.shutdown()
        create(model=MODEL, messages=MESSAGES)
        assert len(provider.requests) == 1

    def test_asynchronous(self, with_async_client: Runner, calls: Calls) -> None:
        async def ask(client: openai.AsyncOpenAI) -> Any:
            raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES)
            return raw.parse()

        assert with_async_client(ask).id == RESPONSE_ID
        assert source(calls) == "measured"

    def test_an_error_status_is_the_apps_exception(
        self, client: openai.OpenAI, provider: Provider, calls: Calls
    ) -> None:
        provider.answer = Answer(status=404)
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES)
        assert source(calls) == "missing"


@streaming
class TestStreamingResponse:
    @pytest.mark.parametrize("read", ["parse", "read", "json", "text"])
    def test_is_recorded_however_it_is_read(self, client: openai.OpenAI, calls: Calls, read: str) -> None:
        with client.chat.completions.with_streaming_response.create(model=MODEL, messages=MESSAGES) as raw:
            assert not raw.is_closed
            assert getattr(raw, read)()
        assert source(calls) == "measured"

    @pytest.mark.parametrize("read", ["iter_bytes", "iter_text", "iter_lines"])
    def test_is_recorded_when_it_is_read_in_pieces(
        self, client: openai.OpenAI, calls: Calls, read: str
    ) -> None:
        with client.chat.completions.with_streaming_response.create(model=MODEL, messages=MESSAGES) as raw:
            assert list(getattr(raw, read)())
        assert source(calls) == "measured"

    def test_that_is_not_read_is_missing(self, client: openai.OpenAI, calls: Calls) -> None:
        with client.chat.completions.with_streaming_response.create(model=MODEL, messages=MESSAGES) as raw:
            assert raw.status_code == 200
        assert source(calls) == "missing"

    def test_of_a_stream_parses_to_the_same_chunks(self, client: openai.OpenAI, calls: Calls) -> None:
        with client.chat.completions.with_streaming_response.create(
            model=MODEL, messages=MESSAGES, stream=True
        ) as raw:
            assert len(list(raw.parse())) == 4
        assert source(calls) == "measured"

    def test_of_a_stream_passes_the_events_but_ours(self, client: openai.OpenAI, calls: Calls) -> None:
        with client.chat.completions.with_streaming_response.create(
            model=MODEL, messages=MESSAGES, stream=True
        ) as raw:
            lines = [line for line in raw.iter_lines() if line]
        assert len(lines) == 5
        assert lines[-1] == "data: [DONE]"
        assert all(json.loads(line.removeprefix("data: "))["choices"] for line in lines[:-1])
        assert source(calls) == "measured"

    def test_of_a_stream_left_early_is_estimated(self, client: openai.OpenAI, calls: Calls) -> None:
        with client.chat.completions.with_streaming_response.create(
            model=MODEL, messages=MESSAGES, stream=True
        ) as raw:
            next(raw.iter_lines())
        assert source(calls) == "estimated"

    def test_asynchronous(self, with_async_client: Runner, calls: Calls) -> None:
        async def ask(client: openai.AsyncOpenAI) -> Any:
            async with client.chat.completions.with_streaming_response.create(
                model=MODEL, messages=MESSAGES, stream=True
            ) as raw:
                return [line async for line in raw.iter_lines() if line]

        assert len(with_async_client(ask)) == 5
        assert source(calls) == "measured"

    def test_asynchronous_json(self, with_async_client: Runner, calls: Calls) -> None:
        async def ask(client: openai.AsyncOpenAI) -> Any:
            async with client.chat.completions.with_streaming_response.create(
                model=MODEL, messages=MESSAGES
            ) as raw:
                return await raw.json()

        assert with_async_client(ask)["id"] == RESPONSE_ID
        assert source(calls) == "measured"


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"usage": ', b"\xff\xfe"])
def test_a_body_that_is_not_json_says_nothing(body: bytes) -> None:
    assert _follow.parsed(body) is None


def test_the_end_of_a_long_body_is_enough() -> None:
    body = b"0.1, " * 1000 + b'0], "usage": {"prompt_tokens": 7}}'
    assert _follow.parsed(body) == {"usage": {"prompt_tokens": 7}}
