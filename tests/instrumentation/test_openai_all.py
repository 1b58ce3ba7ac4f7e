"""All that costs money at OpenAI beside chat: the real client, whole answers and streams, usage detail by detail."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, ClassVar

import openai
import pydantic
import pytest
from genai_prices import extract_usage

import pennytrace
from pennytrace import semconv
from tests.instrumentation import openai_server
from tests.instrumentation.conftest import Calls
from tests.instrumentation.openai_answers import (
    IMAGE_TOKENS,
    IMAGE_USAGE,
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
from tests.instrumentation.openai_server import Content, Events, Failure, OpenAI, Slow
from tests.instrumentation.sink import Recorded, Sink

MESSAGES: Any = [{"role": "user", "content": SECRET}]


@pytest.fixture
def server() -> Iterator[OpenAI]:
    with openai_server.running() as server:
        yield server


@pytest.fixture
def client(server: OpenAI) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="none", base_url=server.url, max_retries=0) as client:
        yield client


def asynchronously(server: OpenAI, work: Callable[[openai.AsyncOpenAI], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with openai.AsyncOpenAI(api_key="none", base_url=server.url, max_retries=0) as client:
            return await work(client)

    return asyncio.run(run())


def assert_as_the_price_list_reads_it(answer: dict[str, Any], flavor: str, call: Recorded) -> None:
    """An independent oracle: genai-prices reads the same numbers from the same answer."""
    names = {
        "input_tokens": semconv.INPUT_TOKENS,
        "output_tokens": semconv.OUTPUT_TOKENS,
        "cache_read_tokens": semconv.CACHE_READ_INPUT_TOKENS,
        "cache_write_tokens": semconv.CACHE_WRITE_INPUT_TOKENS,
        "input_audio_tokens": semconv.AUDIO_INPUT_TOKENS,
        "output_audio_tokens": semconv.AUDIO_OUTPUT_TOKENS,
        "input_image_tokens": semconv.IMAGE_INPUT_TOKENS,
        "output_image_tokens": semconv.IMAGE_OUTPUT_TOKENS,
        "input_text_tokens": semconv.TEXT_INPUT_TOKENS,
        "output_text_tokens": semconv.TEXT_OUTPUT_TOKENS,
        "output_reasoning_tokens": semconv.REASONING_OUTPUT_TOKENS,
    }
    read = extract_usage(answer, provider_id="openai", api_flavor=flavor).usage
    for theirs, ours in names.items():
        assert (getattr(read, theirs, None) or 0) == usage(call).get(ours, 0), theirs


class TestResponses:
    def test_a_response_is_a_call_with_every_detail(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        server.answers["POST /responses"] = response(service_tier="priority")
        made = client.responses.create(model=MODEL, input=SECRET, service_tier="fast")
        assert made.output_text == SECRET
        call = only(calls)
        assert operation(call) == "chat"
        assert usage(call) == RESPONSE_TOKENS
        assert source(call) == "measured"
        assert call.attributes[semconv.RESPONSE_ID] == "resp_1"
        assert call.attributes[semconv.RESPONSE_MODEL] == f"{MODEL}-2026-09-01"
        assert call.attributes[semconv.OPENAI_REQUEST_SERVICE_TIER] == "fast"
        assert call.attributes[semconv.OPENAI_RESPONSE_SERVICE_TIER] == "priority"
        assert_as_the_price_list_reads_it(response(), "responses", call)

    def test_asynchronous(self, server: OpenAI, calls: Calls) -> None:
        server.answers["POST /responses"] = response()
        asynchronously(server, lambda client: client.responses.create(model=MODEL, input=SECRET))
        assert usage(only(calls)) == RESPONSE_TOKENS

    def test_a_stream_ends_with_the_usage(self, client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
        server.answers["POST /responses"] = Events(response_events())
        events = list(client.responses.create(model=MODEL, input=SECRET, stream=True))
        assert [event.type for event in events] == [event["type"] for event in response_events()]
        assert "stream_options" not in server.requests[0][1]
        call = only(calls)
        assert usage(call) == RESPONSE_TOKENS
        assert call.attributes[semconv.REQUEST_STREAM] is True
        assert call.attributes[semconv.RESPONSE_ID] == "resp_1"

    def test_the_stream_helper_is_one_call(self, client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
        server.answers["POST /responses"] = Events(response_events())
        with client.responses.stream(model=MODEL, input=SECRET) as stream:
            for _ in stream:
                pass
            assert stream.get_final_response().output_text == SECRET
        assert usage(only(calls)) == RESPONSE_TOKENS

    def test_an_asynchronous_stream(self, server: OpenAI, calls: Calls) -> None:
        server.answers["POST /responses"] = Events(response_events())

        async def read(client: openai.AsyncOpenAI) -> int:
            stream = await client.responses.create(model=MODEL, input=SECRET, stream=True)
            return len([event async for event in stream])

        assert asynchronously(server, read) == 7
        assert usage(only(calls)) == RESPONSE_TOKENS

    @pytest.mark.parametrize("leave", ["close", "drop", "break"])
    def test_a_stream_that_is_left_is_estimated(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls, leave: str
    ) -> None:
        server.answers["POST /responses"] = Events(response_events())
        stream = client.responses.create(model="unheard-of", input=SECRET, stream=True)
        taken = iter(stream)
        for _ in range(5):  # the beginning, and 17 characters
            next(taken)
        if leave == "close":
            stream.close()
        elif leave == "break":
            for _ in stream:
                break
            stream.close()
        del stream, taken
        gc.collect()
        call = only(calls)
        assert source(call) == "estimated"
        assert usage(call)[semconv.INPUT_TOKENS] == 7
        assert usage(call)[semconv.OUTPUT_TOKENS] >= 5

    def test_a_stream_that_is_cut_is_estimated(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        server.answers["POST /responses"] = Events(response_events()[:-1], cut=True)
        with pytest.raises(openai.APIConnectionError):
            list(client.responses.create(model="unheard-of", input=SECRET, stream=True))
        call = only(calls)
        assert source(call) == "estimated"
        assert usage(call) == {semconv.INPUT_TOKENS: 7, semconv.OUTPUT_TOKENS: 7}

    def test_one_that_stops_at_its_limit_was_paid_for(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        events = response_events(status="incomplete", incomplete_details={"reason": "max_output_tokens"})
        events[-1]["type"] = "response.incomplete"
        server.answers["POST /responses"] = Events(events)
        list(client.responses.create(model=MODEL, input=SECRET, stream=True))
        assert usage(only(calls)) == RESPONSE_TOKENS

    def test_one_that_failed_says_why(self, client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
        failure = {"code": "server_error", "message": SECRET}
        server.answers["POST /responses"] = response(status="failed", error=failure, usage=None)
        client.responses.create(model=MODEL, input=SECRET)
        call = only(calls)
        assert call.failed
        assert call.attributes[semconv.ERROR_TYPE] == "server_error"
        assert source(call) == "missing"
        assert usage(call) == {}

    def test_parse(self, client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
        class Made(pydantic.BaseModel):
            of: str

        text = {"type": "output_text", "text": '{"of": "cheese"}', "annotations": []}
        item = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
        server.answers["POST /responses"] = response(output=[item])
        parsed = client.responses.parse(model=MODEL, input=SECRET, text_format=Made).output_parsed
        assert parsed is not None
        assert parsed.of == "cheese"
        assert usage(only(calls)) == RESPONSE_TOKENS

    def test_raw_and_streamed_raw(self, client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
        server.answers["POST /responses"] = response()
        raw = client.responses.with_raw_response.create(model=MODEL, input=SECRET)
        assert raw.parse() is raw.parse()
        with client.responses.with_streaming_response.create(model=MODEL, input=SECRET) as streamed:
            assert streamed.parse().id == "resp_1"
        assert [usage(call) for call in calls()] == [RESPONSE_TOKENS] * 2

    def test_compacting_is_charged_and_counting_is_not(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        compacted = {"id": "resp_c", "object": "response.compaction", "created_at": 1, "output": []}
        server.answers["POST /responses/compact"] = {**compacted, "usage": RESPONSE_USAGE}
        server.answers["POST /responses/input_tokens"] = {
            "object": "response.input_tokens",
            "input_tokens": 7,
        }
        client.responses.compact(model=MODEL, input=SECRET)
        client.responses.input_tokens.count(model=MODEL, input=SECRET)
        assert usage(only(calls)) == RESPONSE_TOKENS

    def test_reading_it_again_costs_nothing(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        server.answers["GET /responses/resp_1"] = response()
        client.responses.retrieve("resp_1")
        server.answers["GET /responses/resp_1/input_items"] = {"data": [], "has_more": False}
        assert list(client.responses.input_items.list("resp_1")) == []
        assert calls() == []

    def test_the_beta_is_the_same(self, client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
        server.answers["POST /responses"] = response()
        client.beta.responses.create(model=MODEL, input=SECRET)
        assert usage(only(calls)) == RESPONSE_TOKENS


class TestTools:
    def test_counts_that_the_provider_states_win(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        images = {
            **IMAGE_USAGE,
            "cached_tokens": 12,
            "cached_tokens_details": {"cached_image_tokens": 9, "cached_text_tokens": 3},
        }
        server.answers["POST /responses"] = response(
            tool_usage={"web_search": {"num_requests": 3}, "image_gen": images},
            tools=[{"type": "image_generation", "model": "gpt-image-1"}],
            output=[
                {"id": "w", "type": "web_search_call", "status": "completed", "action": {"type": "search"}},
                {"id": "f", "type": "file_search_call", "status": "completed", "queries": [SECRET]},
                {"id": "c", "type": "code_interpreter_call", "status": "completed", "code": SECRET},
                {"id": "i", "type": "image_generation_call", "status": "completed", "result": SECRET},
            ],
        )
        client.responses.create(model=MODEL, input=SECRET, service_tier="flex")
        asked, drawn = calls()
        assert usage(asked) == {
            **RESPONSE_TOKENS,
            semconv.WEB_SEARCHES: 3,
            semconv.FILE_SEARCHES: 1,
            semconv.CODE_EXECUTIONS: 1,
        }
        assert drawn.name == "image_generation gpt-image-1"
        assert operation(drawn) == "image_generation"
        assert usage(drawn) == {
            **IMAGE_TOKENS,
            semconv.CACHE_READ_INPUT_TOKENS: 12,
            semconv.IMAGE_CACHE_READ_INPUT_TOKENS: 9,
            semconv.TEXT_CACHE_READ_INPUT_TOKENS: 3,
        }
        assert drawn.attributes[semconv.RESPONSE_ID] != asked.attributes[semconv.RESPONSE_ID]
        assert semconv.OPENAI_REQUEST_SERVICE_TIER not in drawn.attributes
        assert drawn.span_id != asked.span_id

    def test_else_the_output_shows_them(self, client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
        search: dict[str, Any] = {"id": "w", "type": "web_search_call", "status": "completed"}
        server.answers["POST /responses"] = Events(
            response_events(
                output=[
                    {**search, "action": {"type": "search", "query": SECRET}},
                    {**search, "action": {"type": "open_page", "url": "https://moon.example"}},
                    search,
                    {"id": "i", "type": "image_generation_call", "status": "completed", "result": SECRET},
                ]
            )
        )
        list(client.responses.create(model=MODEL, input=SECRET, stream=True))
        assert usage(only(calls)) == {**RESPONSE_TOKENS, semconv.WEB_SEARCHES: 2, semconv.IMAGES: 1}


class TestChat:
    USAGE: ClassVar[dict[str, Any]] = {
        "prompt_tokens": 100,
        "completion_tokens": 60,
        "total_tokens": 160,
        "prompt_tokens_details": {
            "cached_tokens": 40,
            "cache_write_tokens": 20,
            "audio_tokens": 5,
            "image_tokens": 6,
            "text_tokens": 89,
        },
        "completion_tokens_details": {
            "reasoning_tokens": 10,
            "audio_tokens": 4,
            "text_tokens": 46,
            "accepted_prediction_tokens": 8,
            "rejected_prediction_tokens": 3,
        },
    }

    @staticmethod
    def completion(usage: Any, **more: Any) -> dict[str, Any]:
        message = {"role": "assistant", "content": SECRET}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL}
        return {**head, "choices": [choice], "usage": usage, **more}

    def measured(self, client: openai.OpenAI, server: OpenAI, calls: Calls, usage: Any) -> Recorded:
        server.answers["POST /chat/completions"] = self.completion(usage)
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
        return only(calls)

    def test_every_detail(self, client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
        call = self.measured(client, server, calls, self.USAGE)
        assert usage(call) == {
            semconv.INPUT_TOKENS: 100,
            semconv.OUTPUT_TOKENS: 60,
            semconv.CACHE_READ_INPUT_TOKENS: 40,
            semconv.CACHE_WRITE_INPUT_TOKENS: 20,
            semconv.AUDIO_INPUT_TOKENS: 5,
            semconv.IMAGE_INPUT_TOKENS: 6,
            semconv.TEXT_INPUT_TOKENS: 89,
            semconv.REASONING_OUTPUT_TOKENS: 10,
            semconv.AUDIO_OUTPUT_TOKENS: 4,
            semconv.TEXT_OUTPUT_TOKENS: 46,
            semconv.ACCEPTED_PREDICTION: 8,
            semconv.REJECTED_PREDICTION: 3,
        }

    @pytest.mark.parametrize(
        ("stated", "expected"),
        [
            # DeepSeek states what its cache held beside the details
            ({"prompt_cache_hit_tokens": 64}, {semconv.CACHE_READ_INPUT_TOKENS: 64}),
            ({"cached_tokens": 32}, {semconv.CACHE_READ_INPUT_TOKENS: 32}),  # Moonshot
            (
                {"prompt_tokens_details": {"created_cache_tokens": 16}},  # vLLM
                {semconv.CACHE_WRITE_INPUT_TOKENS: 16},
            ),
            (  # xAI counts reasoning beside the completion, and only the total tells
                {"total_tokens": 200, "completion_tokens_details": {"reasoning_tokens": 40}},
                {semconv.OUTPUT_TOKENS: 100, semconv.REASONING_OUTPUT_TOKENS: 40},
            ),
            ({"server_tool_use": {"web_search_requests": 2}}, {semconv.WEB_SEARCHES: 2}),  # OpenRouter
            ({"prompt_tokens_details": None, "queue_time": 0.1, "odd": [1]}, {}),
        ],
    )
    def test_what_others_state_in_other_places(
        self,
        client: openai.OpenAI,
        server: OpenAI,
        calls: Calls,
        stated: dict[str, Any],
        expected: dict[str, Any],
    ) -> None:
        totals = {"prompt_tokens": 100, "completion_tokens": 60, "total_tokens": 160}
        call = self.measured(client, server, calls, {**totals, **stated})
        assert usage(call) == {semconv.INPUT_TOKENS: 100, semconv.OUTPUT_TOKENS: 60, **expected}

    @pytest.mark.parametrize(
        ("stated", "cost"),
        [
            ({"cost": 0.00014}, "0.00014"),  # OpenRouter
            ({"cost": 1e-07}, "0.0000001"),
            ({"cost": 0}, "0"),
            ({"cost": {"total_cost": 0.006, "request_cost": 0.005}}, "0.006"),  # Perplexity
            ({"cost_in_usd_ticks": 37756000}, "0.0037756000"),  # xAI
            ({"estimated_cost": 2.68e-05}, "0.0000268"),  # DeepInfra
            ({"cost": "a lot"}, None),
            ({"cost": True}, None),
            ({"cost": -1}, None),
        ],
    )
    def test_a_cost_that_the_provider_states(
        self,
        client: openai.OpenAI,
        server: OpenAI,
        calls: Calls,
        stated: dict[str, Any],
        cost: str | None,
    ) -> None:
        call = self.measured(client, server, calls, {**self.USAGE, **stated})
        assert call.attributes.get(semconv.REPORTED_COST) == cost
        assert call.attributes[semconv.INPUT_TOKENS] == 100

    def test_groq_states_usage_in_a_place_of_its_own_in_a_stream(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        chunk: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
        choice = {"index": 0, "delta": {"content": SECRET}, "finish_reason": None}
        last = {"choices": [{**choice, "delta": {}}], "x_groq": {"id": "req", "usage": self.USAGE}}
        server.answers["POST /chat/completions"] = Events(
            [{**chunk, "choices": [choice]}, {**chunk, **last}], done=True
        )
        chunks = list(client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True))
        assert len(chunks) == 2
        assert chunks[1].model_extra == {"x_groq": last["x_groq"]}
        assert usage(only(calls))[semconv.CACHE_READ_INPUT_TOKENS] == 40

    def test_of_usage_in_two_chunks_the_last_counts(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": []}
        first = {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101}
        server.answers["POST /chat/completions"] = Events(
            [{**chunk, "usage": first}, {**chunk, "usage": self.USAGE}], done=True
        )
        assert list(client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)) == []
        assert usage(only(calls))[semconv.OUTPUT_TOKENS] == 60

    def test_a_usage_that_is_null_is_missing(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        assert source(self.measured(client, server, calls, None)) == "missing"


class TestCompletions:
    USAGE: ClassVar[dict[str, Any]] = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    HEAD: ClassVar[dict[str, Any]] = {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": "davinci-002",
    }

    def chunk(self, text: str) -> dict[str, Any]:
        return {
            **self.HEAD,
            "choices": [{"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}],
        }

    def test_whole(self, client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
        server.answers["POST /completions"] = {**self.chunk("cheese"), "usage": self.USAGE}
        client.completions.create(model="davinci-002", prompt=SECRET, n=2, best_of=3)
        call = only(calls)
        assert operation(call) == "text_completion"
        assert usage(call) == {semconv.INPUT_TOKENS: 7, semconv.OUTPUT_TOKENS: 5}

    def test_a_stream_is_asked_for_its_usage(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        last = {**self.HEAD, "choices": [], "usage": self.USAGE}
        server.answers["POST /completions"] = Events([self.chunk("made "), self.chunk("of"), last], done=True)
        chunks = list(client.completions.create(model="davinci-002", prompt=SECRET, stream=True))
        assert [chunk.choices[0].text for chunk in chunks] == ["made ", "of"]
        assert server.requests[0][1]["stream_options"] == {"include_usage": True}
        assert usage(only(calls)) == {semconv.INPUT_TOKENS: 7, semconv.OUTPUT_TOKENS: 5}

    def test_a_stream_without_usage_is_estimated(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        server.answers["POST /completions"] = Events([self.chunk("made "), self.chunk("of")], done=True)
        list(client.completions.create(model="unheard-of", prompt=SECRET, stream=True))
        call = only(calls)
        assert source(call) == "estimated"
        assert usage(call) == {semconv.INPUT_TOKENS: 7, semconv.OUTPUT_TOKENS: 2}


class TestImages:
    MADE: ClassVar[dict[str, Any]] = {"created": 1, "data": [{"b64_json": "aGk="}, {"b64_json": "aGk="}]}

    @pytest.mark.parametrize("make", ["generations", "edits"])
    def test_tokens_where_they_are_stated(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls, make: str
    ) -> None:
        answer = {**self.MADE, "size": "1024x1024", "quality": "high", "usage": IMAGE_USAGE}
        server.answers[f"POST /images/{make}"] = answer
        if make == "generations":
            client.images.generate(model="gpt-image-1", prompt=SECRET, n=2)
        else:
            client.images.edit(model="gpt-image-1", prompt=SECRET, image=b"png")
        call = only(calls)
        assert call.name == "image_generation gpt-image-1"
        assert usage(call) == IMAGE_TOKENS
        assert call.attributes[semconv.IMAGE_SIZE] == "1024x1024"
        assert call.attributes[semconv.IMAGE_QUALITY] == "high"
        assert_as_the_price_list_reads_it(answer, "images", call)

    @pytest.mark.filterwarnings("ignore:deprecated")
    def test_else_they_are_counted(self, client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
        server.answers["POST /images/generations"] = self.MADE
        server.answers["POST /images/variations"] = self.MADE
        client.images.generate(model="dall-e-3", prompt=SECRET, size="1792x1024", quality="hd", n=2)
        client.images.create_variation(model="dall-e-2", image=b"png", size="512x512")
        made, varied = calls()
        assert usage(made) == usage(varied) == {semconv.IMAGES: 2}
        assert made.attributes[semconv.IMAGE_SIZE] == "1792x1024"
        assert made.attributes[semconv.IMAGE_QUALITY] == "hd"
        assert varied.attributes[semconv.IMAGE_SIZE] == "512x512"

    def test_who_wrote_an_svg_is_charged_beside(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        drawn = {
            "input_tokens": 9,
            "output_tokens": 30,
            "reasoning_tokens": 4,
            "total_tokens": 39,
            "model": MODEL,
        }
        server.answers["POST /images/generations"] = {**self.MADE, "usage": IMAGE_USAGE, "svg_usage": drawn}
        client.images.generate(model="gpt-image-2", prompt=SECRET)
        image, svg = calls()
        assert usage(image) == IMAGE_TOKENS
        assert svg.name == f"chat {MODEL}"
        assert usage(svg) == {
            semconv.INPUT_TOKENS: 9,
            semconv.OUTPUT_TOKENS: 30,
            semconv.REASONING_OUTPUT_TOKENS: 4,
        }

    def events(self) -> list[dict[str, Any]]:
        image = {
            "b64_json": "aGk=",
            "created_at": 1,
            "size": "1024x1024",
            "quality": "low",
            "output_format": "png",
        }
        partial = {"type": "image_generation.partial_image", "partial_image_index": 0, **image}
        return [partial, {"type": "image_generation.completed", **image, "usage": IMAGE_USAGE}]

    def test_a_stream_of_partial_images(self, client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
        server.answers["POST /images/generations"] = Events(self.events())
        stream = client.images.generate(
            model="gpt-image-1", prompt=SECRET, stream=True, partial_images=1, quality="auto"
        )
        assert [event.type for event in stream] == [event["type"] for event in self.events()]
        call = only(calls)
        assert usage(call) == IMAGE_TOKENS
        assert call.attributes[semconv.IMAGE_QUALITY] == "low"

    def test_one_that_is_left_is_missing_and_not_guessed(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        server.answers["POST /images/generations"] = Events(self.events())
        stream = client.images.generate(model="gpt-image-1", prompt=SECRET, stream=True, partial_images=1)
        next(iter(stream))
        stream.close()
        call = only(calls)
        assert source(call) == "missing"
        assert usage(call) == {}


class TestAudio:
    HEARD: ClassVar[dict[str, Any]] = {
        "type": "tokens",
        "input_tokens": 14,
        "input_token_details": {"audio_tokens": 10, "text_tokens": 4},
        "output_tokens": 45,
        "total_tokens": 59,
    }
    TOKENS: ClassVar[dict[str, Any]] = {
        semconv.INPUT_TOKENS: 14,
        semconv.AUDIO_INPUT_TOKENS: 10,
        semconv.TEXT_INPUT_TOKENS: 4,
        semconv.OUTPUT_TOKENS: 45,
    }

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            ({"usage": HEARD}, TOKENS),
            ({"usage": {"type": "duration", "seconds": 9}}, {semconv.AUDIO_SECONDS: 9}),
            ({"duration": 9.5}, {semconv.AUDIO_SECONDS: 9.5}),
            ({"duration": 9.5, "usage": {"type": "duration", "seconds": 10}}, {semconv.AUDIO_SECONDS: 10}),
            ({"usage": None}, {}),
        ],
    )
    def test_a_transcription(
        self,
        client: openai.OpenAI,
        server: OpenAI,
        calls: Calls,
        answer: dict[str, Any],
        expected: dict[str, Any],
    ) -> None:
        server.answers["POST /audio/transcriptions"] = {"text": SECRET, **answer}
        heard = client.audio.transcriptions.create(
            model="whisper-1", file=b"wav", response_format="verbose_json"
        )
        assert heard.text == SECRET
        call = only(calls)
        assert call.name == "transcription whisper-1"
        assert usage(call) == expected
        assert source(call) == ("measured" if expected else "missing")

    def test_as_text_nothing_is_stated(self, client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
        server.answers["POST /audio/transcriptions"] = Content(SECRET.encode(), "text/plain")
        heard: Any = client.audio.transcriptions.create(
            model="whisper-1", file=b"wav", response_format="text"
        )
        assert heard == SECRET
        assert source(only(calls)) == "missing"

    def test_a_stream(self, client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
        server.answers["POST /audio/transcriptions"] = Events(
            [
                {"type": "transcript.text.delta", "delta": "the moon "},
                {"type": "transcript.text.done", "text": SECRET, "usage": self.HEARD},
            ]
        )
        events = list(client.audio.transcriptions.create(model="gpt-4o-transcribe", file=b"wav", stream=True))
        assert len(events) == 2
        assert usage(only(calls)) == self.TOKENS

    @pytest.mark.filterwarnings("ignore:deprecated")
    def test_a_translation(self, client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
        server.answers["POST /audio/translations"] = {"text": SECRET, "duration": 3.25, "language": "english"}
        client.audio.translations.create(model="whisper-1", file=b"wav", response_format="verbose_json")
        call = only(calls)
        assert operation(call) == "translation"
        assert usage(call) == {semconv.AUDIO_SECONDS: 3.25}

    def test_speech_is_charged_by_what_is_said(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        server.answers["POST /audio/speech"] = Content(b"ID3\x00\xff mp3", "audio/mpeg")
        spoken = client.audio.speech.create(model="tts-1", voice="alloy", input=SECRET)
        assert type(spoken) is openai._legacy_response.HttpxBinaryResponseContent
        assert spoken.read() == b"ID3\x00\xff mp3"
        call = only(calls)
        assert call.name == "speech tts-1"
        assert usage(call) == {semconv.CHARACTERS: 26}
        assert source(call) == "measured"

    @pytest.mark.parametrize("read", [True, False])
    def test_streamed_speech_too_read_or_not(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls, read: bool
    ) -> None:
        server.answers["POST /audio/speech"] = Content(b"\xff\xfb" * 5000, "audio/mpeg")
        speech = client.audio.speech.with_streaming_response
        with speech.create(model="tts-1", voice="alloy", input=SECRET) as response:
            if read:
                assert b"".join(response.iter_bytes()) == b"\xff\xfb" * 5000
        assert usage(only(calls)) == {semconv.CHARACTERS: 26}

    def test_asynchronous_speech(self, server: OpenAI, calls: Calls) -> None:
        server.answers["POST /audio/speech"] = Content(b"\xff\xfb", "audio/mpeg")

        async def speak(client: openai.AsyncOpenAI) -> bytes:
            return (await client.audio.speech.create(model="tts-1", voice="alloy", input=SECRET)).content

        assert asynchronously(server, speak) == b"\xff\xfb"
        assert usage(only(calls)) == {semconv.CHARACTERS: 26}

    def test_speech_as_events_states_its_tokens(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        stated = {"input_tokens": 8, "output_tokens": 120, "total_tokens": 128}
        server.answers["POST /audio/speech"] = Events(
            [
                {"type": "speech.audio.delta", "audio": "aGk="},
                {"type": "speech.audio.done", "usage": stated},
            ]
        )
        speech = client.audio.speech.with_streaming_response
        with speech.create(
            model="gpt-4o-mini-tts", voice="alloy", input=SECRET, stream_format="sse"
        ) as response:
            assert b"speech.audio.done" in response.read()
        assert usage(only(calls)) == {semconv.INPUT_TOKENS: 8, semconv.OUTPUT_TOKENS: 120}


def test_moderations_are_free_and_known_to_be(client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
    server.answers["POST /moderations"] = {"id": "modr-1", "model": "omni-moderation-latest", "results": []}
    client.moderations.create(model="omni-moderation-latest", input=SECRET)
    call = only(calls)
    assert call.name == "moderation omni-moderation-latest"
    assert source(call) == "measured"
    assert usage(call) == {}


def test_decisions(client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
    answer = {
        "answers": [],
        "model": "gpt-6-luna",
        "usage": {
            **RESPONSE_USAGE,
            "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 30},
        },
    }
    server.answers["POST /decisions"] = answer
    client.decisions.create(
        model="gpt-6-luna", input=SECRET, questions=[{"type": "predicate", "instructions": "cheese?"}]
    )
    call = only(calls)
    assert operation(call) == "decision"
    assert_as_the_price_list_reads_it(answer, "responses", call)


def test_embeddings_that_state_only_a_total(client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
    data = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
    server.answers["POST /embeddings"] = {
        "object": "list",
        "model": "m",
        "data": data,
        "usage": {"total_tokens": 4},
    }
    client.embeddings.create(model="m", input=SECRET, encoding_format="float")
    assert usage(only(calls)) == {semconv.INPUT_TOKENS: 4}


REQUESTS: dict[str, Callable[[openai.OpenAI], Any]] = {
    "POST /responses": lambda client: client.responses.create(model=MODEL, input=SECRET),
    "POST /completions": lambda client: client.completions.create(model=MODEL, prompt=SECRET),
    "POST /embeddings": lambda client: client.embeddings.create(model=MODEL, input=SECRET),
    "POST /images/generations": lambda client: client.images.generate(prompt=SECRET),
    "POST /audio/transcriptions": lambda client: client.audio.transcriptions.create(model=MODEL, file=b"x"),
    "POST /audio/speech": lambda client: client.audio.speech.create(model=MODEL, voice="x", input=SECRET),
    "POST /moderations": lambda client: client.moderations.create(input=SECRET),
}


class TestErrors:
    @pytest.mark.parametrize("request_line", REQUESTS)
    def test_the_app_gets_the_librarys_own_exception(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls, request_line: str
    ) -> None:
        server.answers[request_line] = Failure(400)
        with pytest.raises(openai.BadRequestError):
            REQUESTS[request_line](client)
        call = only(calls)
        assert call.failed
        assert call.attributes[semconv.ERROR_TYPE] == "openai.BadRequestError"
        assert source(call) == "missing"
        assert usage(call) == {}

    def test_a_retry_is_the_same_call(self, client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
        server.answers["POST /responses"] = [Failure(429), Failure(500), response()]
        client.with_options(max_retries=2).responses.create(model=MODEL, input=SECRET)
        call = only(calls)
        assert usage(call) == RESPONSE_TOKENS
        assert call.attributes[semconv.ATTEMPTS] == 3
        assert not call.failed

    def test_a_time_out(self, client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
        server.answers["POST /responses"] = Slow(0.5)
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.05).responses.create(model=MODEL, input=SECRET)
        assert only(calls).attributes[semconv.ERROR_TYPE] == "openai.APITimeoutError"


class TestTheContract:
    def test_what_the_app_gets_is_what_it_would_get(
        self, client: openai.OpenAI, server: OpenAI, sink: Sink
    ) -> None:
        server.answers["POST /responses"] = Events(response_events())
        server.answers["POST /images/generations"] = {**TestImages.MADE, "usage": IMAGE_USAGE}
        server.answers["POST /audio/transcriptions"] = {"text": SECRET, "usage": TestAudio.HEARD}

        def everything() -> list[Any]:
            return [
                *client.responses.create(model=MODEL, input=SECRET, stream=True),
                client.images.generate(prompt=SECRET),
                client.audio.transcriptions.create(model=MODEL, file=b"x"),
            ]

        without = everything()
        pennytrace.init(endpoint=sink.url)
        with_us = everything()
        assert with_us == without
        assert [type(one) for one in with_us] == [type(one) for one in without]
        assert pennytrace.flush(30)

    def test_a_response_can_be_pickled(self, client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
        server.answers["POST /responses"] = response()
        made = client.responses.create(model=MODEL, input=SECRET)
        assert pickle.loads(pickle.dumps(made)) == made
        assert usage(only(calls)) == RESPONSE_TOKENS

    def test_clients_of_all_kinds(self, server: OpenAI, sink: Sink) -> None:
        class Ours(openai.OpenAI):
            pass

        server.answers["POST /responses"] = response()
        with Ours(api_key="none", base_url=server.url, max_retries=0) as early:
            create = early.responses.create
            pennytrace.init(endpoint=sink.url)
            create(model=MODEL, input=SECRET)
            early.copy(timeout=9).responses.create(model=MODEL, input=SECRET)
            early.with_options(max_retries=1).responses.create(model=MODEL, input=SECRET)
        assert pennytrace.flush(30)
        assert [usage(call) for call in sink.spans] == [RESPONSE_TOKENS] * 3

    def test_many_threads_and_clients(self, server: OpenAI, calls: Calls) -> None:
        server.answers["POST /responses"] = response()

        def work(number: int) -> None:
            with (
                openai.OpenAI(api_key="none", base_url=server.url) as client,
                pennytrace.tag(customer=f"customer {number}"),
            ):
                for _ in range(5):
                    client.responses.create(model=MODEL, input=SECRET)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        customers = sorted(str(call.attributes[semconv.CUSTOMER]) for call in calls())
        assert customers == sorted(f"customer {number}" for number in range(4) for _ in range(5))

    def test_azure(self, server: OpenAI, calls: Calls) -> None:
        deployment = "POST /openai/deployments/mine/images/generations"
        server.answers[deployment] = {**TestImages.MADE, "usage": IMAGE_USAGE}
        server.answers["POST /openai/responses"] = response()
        with openai.AzureOpenAI(
            api_key="none", api_version="2026-01-01", azure_endpoint=f"http://127.0.0.1:{server.port}"
        ) as azure:
            azure.images.generate(model="mine", prompt=SECRET)
            azure.responses.create(model="mine", input=SECRET)
        image, chat = calls()
        assert usage(image) == IMAGE_TOKENS
        assert usage(chat) == RESPONSE_TOKENS


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("bedrock-mantle.us-east-1.api.aws", "aws.bedrock"),
        ("shop.azure-api.net", "azure.ai.openai"),
        ("shop.services.ai.azure.com", "azure.ai.inference"),
        ("europe-west4-aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("api.z.ai", "zai"),
        ("adb-1.azuredatabricks.net", "databricks"),
        ("shop--vllm.modal.run", "modal"),
    ],
)
def test_the_host_tells_the_provider(host: str, name: str) -> None:
    from pennytrace.providers._openai.hosts import name_of_host

    assert name_of_host(host) == name
