"""Streams: the app sees what it would see without us, and every stream becomes one call, however it ends."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import openai
import pytest

from pennytrace import semconv
from tests.instrumentation.conftest import Calls
from tests.instrumentation.provider import MODEL, RESPONSE_ID, SERVED_MODEL, USAGE, Answer, Provider
from tests.instrumentation.sink import Recorded

MESSAGES: Any = [{"role": "user", "content": "What does a penny weigh?"}]  # 24 characters: 6 tokens
Runner = Callable[[Callable[[Any], Any]], Any]

ESTIMATED_INPUT = 6
CHUNKS = 4  # three words and the one that says why it ended


def stream(client: openai.OpenAI, **more: Any) -> Any:
    return client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True, **more)


def content(chunks: list[Any]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def assert_measured(call: Recorded) -> None:
    assert call.attributes[semconv.USAGE_SOURCE] == "measured"
    assert call.attributes[semconv.INPUT_TOKENS] == 21
    assert call.attributes[semconv.OUTPUT_TOKENS] == 9


def assert_estimated(call: Recorded, *, output: int | None) -> None:
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert call.attributes[semconv.INPUT_TOKENS] == ESTIMATED_INPUT
    assert call.attributes.get(semconv.OUTPUT_TOKENS) == output


class TestUsage:
    def test_is_asked_for_and_hidden_again(
        self, client: openai.OpenAI, provider: Provider, calls: Calls
    ) -> None:
        chunks = list(stream(client))
        assert provider.requests[0]["stream_options"] == {"include_usage": True}
        assert len(chunks) == CHUNKS
        assert all(chunk.choices for chunk in chunks)
        assert all(chunk.usage is None for chunk in chunks)
        assert content(chunks) == "A penny weighs 3.56 g."
        (call,) = calls()
        assert_measured(call)
        assert call.attributes[semconv.RESPONSE_ID] == RESPONSE_ID
        assert call.attributes[semconv.RESPONSE_MODEL] == SERVED_MODEL
        assert call.attributes[semconv.CACHE_READ_INPUT_TOKENS] == 8

    def test_that_the_app_asked_for_is_the_apps(
        self, client: openai.OpenAI, provider: Provider, calls: Calls
    ) -> None:
        chunks = list(stream(client, stream_options={"include_usage": True}))
        assert len(chunks) == CHUNKS + 1
        assert chunks[-1].usage.total_tokens == 30
        assert_measured(calls()[0])

    def test_that_the_app_declined_is_estimated(
        self, client: openai.OpenAI, provider: Provider, calls: Calls
    ) -> None:
        assert len(list(stream(client, stream_options={"include_usage": False}))) == CHUNKS
        assert provider.requests[0]["stream_options"] == {"include_usage": False}
        assert_estimated(calls()[0], output=6)  # 22 characters

    def test_is_asked_for_beside_other_options(
        self, client: openai.OpenAI, provider: Provider, calls: Calls
    ) -> None:
        options = {"include_obfuscation": False}
        list(stream(client, stream_options=options))
        assert provider.requests[0]["stream_options"] == {"include_obfuscation": False, "include_usage": True}
        assert options == {"include_obfuscation": False}
        assert_measured(calls()[0])

    def test_settings_in_extra_body_are_respected(
        self, client: openai.OpenAI, provider: Provider, calls: Calls
    ) -> None:
        chunks = list(stream(client, extra_body={"stream_options": {"include_usage": True}}))
        assert len(chunks) == CHUNKS + 1
        assert_measured(calls()[0])

    def test_of_several_choices_is_the_providers(self, client: openai.OpenAI, calls: Calls) -> None:
        list(stream(client, n=2))
        assert_measured(calls()[0])

    def test_reported_with_every_chunk_counts_once(
        self, client: openai.OpenAI, provider: Provider, calls: Calls, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from tests.instrumentation import provider as server

        def growing(body: dict[str, Any], answer: Answer) -> Any:
            for number in (1, 2, 3):
                usage = {"prompt_tokens": 21, "completion_tokens": 3 * number, "total_tokens": 0}
                choices = [{"index": 0, "delta": {"content": "w"}, "finish_reason": None}]
                yield {
                    "id": "c",
                    "model": "m",
                    "object": "x",
                    "created": 1,
                    "choices": choices,
                    "usage": usage,
                }

        monkeypatch.setattr(server, "_chunks", growing)
        assert len(list(stream(client))) == 3
        assert_measured(calls()[0])


class TestAServerThatRefusesTheQuestion:
    def test_is_asked_again_without_it_and_remembered(
        self, client: openai.OpenAI, provider: Provider, calls: Calls
    ) -> None:
        provider.answer = Answer(knows_stream_options=False)
        assert content(list(stream(client))) == "A penny weighs 3.56 g."
        assert content(list(stream(client))) == "A penny weighs 3.56 g."
        asked = ["stream_options" in request for request in provider.requests]
        assert asked == [True, False, False]
        first, second = calls()
        assert_estimated(first, output=6)
        assert_estimated(second, output=6)
        assert not first.failed

    def test_fails_as_it_would_for_an_app_that_asked_itself(
        self, client: openai.OpenAI, provider: Provider, calls: Calls
    ) -> None:
        provider.answer = Answer(knows_stream_options=False)
        with pytest.raises(openai.BadRequestError):
            stream(client, stream_options={"include_usage": True})
        assert len(provider.requests) == 1
        assert len(calls()) == 1

    def test_leaves_no_trace_in_a_later_error(
        self, client: openai.OpenAI, provider: Provider, calls: Calls
    ) -> None:
        error = {"message": "stream_options and everything else is wrong"}
        provider.answer = Answer(status=400, error=error)
        with pytest.raises(openai.BadRequestError) as caught:
            stream(client)
        assert len(provider.requests) == 2
        assert caught.value.__context__ is None or not isinstance(
            caught.value.__context__, openai.BadRequestError
        )
        assert len(calls()) == 1


class TestTheContract:
    def test_the_type_is_the_sdks_own(self, client: openai.OpenAI, calls: Calls) -> None:
        made = stream(client)
        assert type(made) is openai.Stream
        list(made)

    def test_nothing_is_read_ahead(self, client: openai.OpenAI, provider: Provider, calls: Calls) -> None:
        provider.answer = Answer(pause_after=1)
        made = stream(client)
        assert next(made).choices[0].delta.content == "A penny "
        assert provider.paused.wait(10)
        provider.resume.set()
        assert len(list(made)) == CHUNKS - 1
        assert_measured(calls()[0])

    def test_a_stream_that_has_ended_stays_ended(self, client: openai.OpenAI, calls: Calls) -> None:
        made = stream(client)
        list(made)
        assert list(made) == []
        with pytest.raises(StopIteration):
            next(made)
        made.close()
        assert len(calls()) == 1

    def test_the_response_is_left_as_it_was(self, client: openai.OpenAI, calls: Calls) -> None:
        made = stream(client)
        list(made)
        assert "close" not in vars(made.response)

    @pytest.mark.skipif(not hasattr(openai.resources.chat.Completions, "stream"), reason="no stream() helper")
    def test_the_stream_helper_works_and_is_one_call(self, client: openai.OpenAI, calls: Calls) -> None:
        with client.chat.completions.stream(model=MODEL, messages=MESSAGES) as events:
            kinds = [event.type for event in events]
            final = events.get_final_completion()
        assert "content.done" in kinds
        assert final.choices[0].message.content == "A penny weighs 3.56 g."
        assert final.usage is None
        (call,) = calls()
        assert_measured(call)

    @pytest.mark.skipif(not hasattr(openai.resources.chat.Completions, "stream"), reason="no stream() helper")
    def test_leaving_the_stream_helper_early_ends_the_call(self, client: openai.OpenAI, calls: Calls) -> None:
        with client.chat.completions.stream(model=MODEL, messages=MESSAGES) as events:
            next(iter(events))
        assert_estimated(calls()[0], output=2)


class TestEnds:
    """However a stream ends, it is recorded once, with what was delivered."""

    def test_closed(self, client: openai.OpenAI, calls: Calls) -> None:
        made = stream(client)
        next(made)
        made.close()
        (call,) = calls()
        assert_estimated(call, output=2)  # 8 characters
        assert not call.failed

    def test_left_by_a_break_inside_with(self, client: openai.OpenAI, calls: Calls) -> None:
        with stream(client) as made:
            for _ in made:
                break
        assert_estimated(calls()[0], output=2)

    def test_closed_before_the_first_chunk(self, client: openai.OpenAI, calls: Calls) -> None:
        stream(client).close()
        assert_estimated(calls()[0], output=None)

    def test_dropped_without_being_read(self, client: openai.OpenAI, calls: Calls) -> None:
        stream(client).response.close()
        with stream(client) as made:
            del made
        gc.collect()
        assert len(calls()) == 2

    def test_collected_as_garbage(self, client: openai.OpenAI, calls: Calls) -> None:
        made = stream(client)
        response = made.response  # closed here, for the SDK leaves that to the garbage collector too
        next(made)
        del made
        gc.collect()
        assert_estimated(calls()[0], output=2)
        response.close()
        assert len(calls()) == 1

    def test_cut_by_the_server(self, client: openai.OpenAI, provider: Provider, calls: Calls) -> None:
        provider.answer = Answer(cut_after=2)
        with pytest.raises(Exception):  # noqa: B017 - which one depends on the SDK's version
            list(stream(client))
        (call,) = calls()
        assert_estimated(call, output=4)  # 15 characters
        assert call.failed
        assert call.attributes[semconv.ERROR_TYPE].endswith("RemoteProtocolError")  # what the SDK was told

    def test_read_by_another_thread(self, client: openai.OpenAI, calls: Calls) -> None:
        from concurrent.futures import ThreadPoolExecutor

        made = stream(client)
        with ThreadPoolExecutor(1) as pool:
            assert len(pool.submit(list, made).result()) == CHUNKS
        assert_measured(calls()[0])


class TestAsynchronous:
    def test_a_stream_is_measured_and_the_usage_hidden(self, with_async_client: Runner, calls: Calls) -> None:
        async def read(client: openai.AsyncOpenAI) -> Any:
            made = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
            assert type(made) is openai.AsyncStream
            return [chunk async for chunk in made]

        chunks = with_async_client(read)
        assert len(chunks) == CHUNKS
        assert_measured(calls()[0])

    def test_a_closed_stream_is_estimated(self, with_async_client: Runner, calls: Calls) -> None:
        async def read(client: openai.AsyncOpenAI) -> None:
            async with await client.chat.completions.create(
                model=MODEL, messages=MESSAGES, stream=True
            ) as made:
                await made.__anext__()

        with_async_client(read)
        assert_estimated(calls()[0], output=2)

    def test_a_dropped_stream_is_estimated(self, with_async_client: Runner, calls: Calls) -> None:
        async def read(client: openai.AsyncOpenAI) -> None:
            made = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
            response = made.response
            await made.__anext__()
            del made
            gc.collect()
            await asyncio.sleep(0)
            await response.aclose()

        with_async_client(read)
        assert_estimated(calls()[0], output=2)

    def test_a_stream_cut_by_the_server_is_estimated(
        self, with_async_client: Runner, provider: Provider, calls: Calls
    ) -> None:
        provider.answer = Answer(cut_after=2)

        async def read(client: openai.AsyncOpenAI) -> None:
            made = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
            with pytest.raises(Exception):  # noqa: B017 - which one depends on the SDK's version
                async for _ in made:
                    pass

        with_async_client(read)
        (call,) = calls()
        assert_estimated(call, output=4)
        assert call.failed

    def test_a_server_that_refuses_the_question_is_asked_again(
        self, with_async_client: Runner, provider: Provider, calls: Calls
    ) -> None:
        provider.answer = Answer(knows_stream_options=False)

        async def read(client: openai.AsyncOpenAI) -> Any:
            made = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
            return [chunk async for chunk in made]

        assert content(with_async_client(read)) == "A penny weighs 3.56 g."
        assert len(provider.requests) == 2
        assert_estimated(calls()[0], output=6)


def test_tool_calls_and_reasoning_count_as_delivered(
    client: openai.OpenAI, provider: Provider, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.instrumentation import provider as server

    def thinking(body: dict[str, Any], answer: Answer) -> Any:
        head = {"id": "c", "model": "m", "object": "chat.completion.chunk", "created": 1}
        function = {"name": "weigh", "arguments": '{"coin": "penny"}'}
        for delta in (
            {"reasoning_content": "let me see. "},
            {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]},
        ):
            yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}

    monkeypatch.setattr(server, "_chunks", thinking)
    provider.answer = Answer(usage=None)
    list(stream(client))
    assert_estimated(calls()[0], output=9)  # 12 + 5 + 17 characters


def test_usage_stays_with_the_app_that_reads_it_to_its_end(client: openai.OpenAI, calls: Calls) -> None:
    first, second = stream(client), stream(client)
    for pair in zip(first, second, strict=True):
        assert pair[0].choices[0].delta.content == pair[1].choices[0].delta.content
    one, other = calls()
    assert one.trace_id != other.trace_id
    assert_measured(one)
    assert_measured(other)
    assert USAGE["total_tokens"] == 30
