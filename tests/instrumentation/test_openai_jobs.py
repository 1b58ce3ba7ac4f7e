"""What OpenAI works off later: each job is charged once, for whoever asked for it, whoever reads of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, ClassVar

import openai
import pytest

import pennytrace
from pennytrace import semconv
from pennytrace._calls import later as _later
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
    usage,
)
from tests.instrumentation.openai_server import Content, Events, Failure, OpenAI
from tests.instrumentation.sink import Recorded, Sink

CREATED = 1_763_000_000
ENDED = CREATED + 3600


@pytest.fixture
def server() -> Iterator[OpenAI]:
    with openai_server.running() as server:
        yield server


@pytest.fixture
def client(server: OpenAI) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="none", base_url=server.url, max_retries=0) as client:
        yield client


@pytest.fixture(autouse=True)
def _nobody_asked() -> Iterator[None]:
    _later._who.clear()
    yield
    _later._who.clear()


def assert_same_row(calls: list[Recorded]) -> Recorded:
    """A row is known by its ids and its start: however many spans there are, they are one."""
    assert len({(call.trace_id, call.span_id) for call in calls}) == 1
    return calls[-1]


def in_background(**more: Any) -> dict[str, Any]:
    return response(**{"background": True, "completed_at": ENDED, **more})


class TestBackground:
    QUEUED: ClassVar[dict[str, Any]] = {"status": "queued", "usage": None, "output": [], "completed_at": None}

    def test_it_is_charged_when_it_is_known_what_it_used(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        server.answers["POST /responses"] = in_background(**self.QUEUED)
        server.answers["GET /responses/resp_1"] = [in_background(**self.QUEUED), in_background()]
        with pennytrace.tag(feature="dream", customer="ada"):
            client.responses.create(model=MODEL, input=SECRET, background=True)
        assert calls() == []
        for _ in range(4):
            client.responses.retrieve("resp_1")
        found = calls()
        assert len(found) == 3
        call = assert_same_row(found)
        assert usage(call) == RESPONSE_TOKENS
        assert operation(call) == "chat"
        assert call.attributes[semconv.FEATURE] == "dream"
        assert call.attributes[semconv.CUSTOMER] == "ada"
        assert call.attributes[semconv.REQUEST_MODEL] == f"{MODEL}-2026-09-01"
        assert call.seconds == 3600

    def test_cancelling_tells_of_it_too(self, client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
        server.answers["POST /responses/resp_1/cancel"] = in_background(status="cancelled")
        client.responses.cancel("resp_1")
        assert usage(only(calls)) == RESPONSE_TOKENS

    def test_a_stream_that_is_resumed_is_the_same_response(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        events = response_events(background=True)
        server.answers["POST /responses"] = Events(events[:4], cut=True)
        server.answers["GET /responses/resp_1"] = Events(events[4:])
        with pytest.raises(openai.APIConnectionError):
            list(client.responses.create(model=MODEL, input=SECRET, background=True, stream=True))
        assert len(list(client.responses.retrieve("resp_1", stream=True, starting_after=3))) == 3
        cut, whole = calls()
        assert cut.attributes[semconv.USAGE_SOURCE] == "estimated"
        assert (cut.trace_id, cut.span_id) == (whole.trace_id, whole.span_id)
        assert usage(whole) == RESPONSE_TOKENS

    def test_a_resumed_stream_that_is_cut_says_nothing(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        server.answers["GET /responses/resp_1"] = Events(response_events(background=True)[4:-1], cut=True)
        with pytest.raises(openai.APIConnectionError):
            list(client.responses.retrieve("resp_1", stream=True, starting_after=3))
        assert calls() == []

    def test_images_that_it_made_are_a_job_too(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        tools = {"web_search": {"num_requests": 0}, "image_gen": IMAGE_USAGE}
        server.answers["POST /responses"] = in_background(**self.QUEUED)
        server.answers["GET /responses/resp_1"] = in_background(tool_usage=tools)
        with pennytrace.tag(feature="dream"):
            client.responses.create(model=MODEL, input=SECRET, background=True)
        client.responses.retrieve("resp_1")
        client.responses.retrieve("resp_1")
        asked = [call for call in calls() if operation(call) == "chat"]
        drawn = [call for call in calls() if operation(call) == "image_generation"]
        assert usage(assert_same_row(asked)) == RESPONSE_TOKENS
        assert usage(assert_same_row(drawn)) == IMAGE_TOKENS
        assert drawn[0].span_id != asked[0].span_id
        assert drawn[0].attributes[semconv.FEATURE] == "dream"

    def test_a_request_that_is_refused_is_a_failed_call(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        server.answers["POST /responses"] = Failure(429)
        with pytest.raises(openai.RateLimitError):
            client.responses.create(model=MODEL, input=SECRET, background=True)
        assert only(calls).failed


def batch(**more: Any) -> dict[str, Any]:
    return {
        "id": "batch_1",
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "input_file_id": "file-in",
        "completion_window": "24h",
        "status": "in_progress",
        "created_at": CREATED,
        "model": MODEL,
        "usage": {
            "input_tokens": 0,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 0,
        },
        **more,
    }


DONE = {"status": "completed", "completed_at": ENDED, "output_file_id": "file-out", "usage": RESPONSE_USAGE}


def line(number: int, body: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    answer = None if body is None else {"status_code": 200, "request_id": f"r{number}", "body": body}
    return {
        "id": f"batch_req_{number}",
        "custom_id": SECRET,
        "response": answer,
        "error": None,
        **more,
    }


def completion(number: int, tokens: int) -> dict[str, Any]:
    used = {"prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1}
    choice = {"index": 0, "message": {"role": "assistant", "content": SECRET}, "finish_reason": "stop"}
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": CREATED + number,
        "model": f"{MODEL}-2026-09-01",
        "service_tier": "default",
        "choices": [choice],
        "usage": used,
    }


def file(*lines: dict[str, Any]) -> Content:
    return Content("".join(json.dumps(line) + "\n" for line in lines).encode())


class TestBatches:
    def test_the_total_is_one_call_however_often_it_is_read(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        server.answers["POST /batches"] = batch()
        server.answers["GET /batches/batch_1"] = [batch(), batch(**DONE)]
        server.answers["GET /batches"] = {"data": [batch(**DONE)], "has_more": False}
        with pennytrace.tag(feature="nightly"):
            client.batches.create(
                input_file_id="file-in", endpoint="/v1/chat/completions", completion_window="24h"
            )
        for _ in range(3):
            client.batches.retrieve("batch_1")
        assert len(list(client.batches.list())) == 1
        found = calls()
        assert len(found) == 3
        call = assert_same_row(found)
        assert usage(call) == RESPONSE_TOKENS
        assert call.attributes[semconv.FEATURE] == "nightly"
        assert call.attributes[semconv.PROCESSING] == "batch"
        assert call.attributes[semconv.BATCH] == "file-out"
        assert call.attributes[semconv.BATCH_TOTAL] is True
        assert call.attributes[semconv.REQUEST_MODEL] == MODEL

    def test_two_processes_tell_of_the_same_row(
        self, client: openai.OpenAI, server: OpenAI, sink: Sink, calls: Calls
    ) -> None:
        server.answers["GET /batches/batch_1"] = batch(**DONE)
        client.batches.retrieve("batch_1")
        script = (
            "import openai, pennytrace, sys\n"
            "pennytrace.init(endpoint=sys.argv[1])\n"
            "client = openai.OpenAI(api_key='none', base_url=sys.argv[2])\n"
            "client.batches.retrieve('batch_1')\n"
            "assert pennytrace.flush(30)\n"
        )
        subprocess.run([sys.executable, "-c", script, sink.url, server.url], check=True)
        assert len(calls()) == 2
        assert_same_row(calls())

    @pytest.mark.parametrize("endpoint", ["/v1/embeddings", "/v1/images/generations", "/v1/responses"])
    def test_the_endpoint_tells_the_operation(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls, endpoint: str
    ) -> None:
        server.answers["GET /batches/batch_1"] = batch(**DONE, endpoint=endpoint)
        client.batches.retrieve("batch_1")
        assert operation(only(calls)) in {"embeddings", "image_generation", "chat"}

    @pytest.mark.parametrize("read", ["content", "raw", "stream"])
    def test_every_line_of_the_results_is_a_call(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls, read: str
    ) -> None:
        server.answers["POST /batches"] = batch()
        server.answers["GET /batches/batch_1"] = batch(**DONE)
        lines = (
            line(1, completion(1, 10)),
            line(2, completion(2, 20)),
            line(3, None, error={"code": "batch_expired", "message": SECRET}),
            line(4, {"error": {"message": SECRET, "type": "invalid_request_error"}}),
        )
        server.answers["GET /files/file-out/content"] = file(*lines)
        with pennytrace.tag(feature="nightly"):
            client.batches.create(
                input_file_id="file-in", endpoint="/v1/chat/completions", completion_window="24h"
            )
        client.batches.retrieve("batch_1")
        for _ in range(2):  # read twice, charged once
            if read == "content":
                content = client.files.content("file-out").content
            elif read == "raw":
                content = client.files.with_raw_response.content("file-out").content
            else:
                with client.files.with_streaming_response.content("file-out") as streamed:
                    content = b"".join(streamed.iter_bytes(100))
            assert content == file(*lines).content
        found = [call for call in calls() if semconv.BATCH_TOTAL not in call.attributes]
        assert len(found) == 4
        assert len({(call.trace_id, call.span_id) for call in found}) == 2
        assert [usage(call)[semconv.INPUT_TOKENS] for call in found] == [10, 20, 10, 20]
        for call in found:
            assert operation(call) == "chat"
            assert call.attributes[semconv.PROCESSING] == "batch"
            assert call.attributes[semconv.BATCH] == "file-out"
            assert call.attributes[semconv.REQUEST_MODEL] == f"{MODEL}-2026-09-01"
            assert call.attributes[semconv.FEATURE] == "nightly"
            assert not call.failed

    def test_a_line_says_by_its_body_what_it_is(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        tools = {"web_search": {"num_requests": 2}, "image_gen": IMAGE_USAGE}
        legacy = {**completion(3, 5), "object": "text_completion"}
        embedded = {"object": "list", "data": [], "model": "e", "usage": {"prompt_tokens": 9}}
        server.answers["GET /files/file-out/content"] = file(
            line(1, response(tool_usage=tools)),
            line(2, {"created": CREATED, "data": [], "usage": IMAGE_USAGE, "id": "img_1"}),
            line(3, legacy),
            line(4, embedded),  # has no time of its own: it stays with the total
        )
        client.files.content("file-out")
        asked, drawn, image, completed = calls()
        assert usage(asked) == {**RESPONSE_TOKENS, semconv.WEB_SEARCHES: 2}
        assert operation(drawn) == operation(image) == "image_generation"
        assert drawn.attributes[semconv.PROCESSING] == "batch"
        assert usage(drawn) == usage(image) == IMAGE_TOKENS
        assert operation(completed) == "text_completion"

    def test_asynchronous(self, server: OpenAI, calls: Calls) -> None:
        server.answers["GET /batches"] = {"data": [batch(**DONE), batch()], "has_more": False}
        server.answers["GET /files/file-out/content"] = file(line(1, completion(1, 10)))

        async def read() -> None:
            async with openai.AsyncOpenAI(api_key="none", base_url=server.url) as client:
                assert len([one async for one in client.batches.list()]) == 2
                assert (await client.files.content("file-out")).content

        asyncio.run(read())
        total, call = calls()
        assert usage(total) == RESPONSE_TOKENS
        assert usage(call)[semconv.INPUT_TOKENS] == 10

    def test_any_other_file_costs_nothing_and_fills_no_memory(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        training = b'{"messages": [{"role": "user", "content": "moon"}]}\n' * 20_000
        for content in (training, b"\x00\xff" * 600_000, b"", b"{" * 600_000):
            server.answers["GET /files/file-x/content"] = Content(content)
            with client.files.with_streaming_response.content("file-x") as streamed:
                assert b"".join(streamed.iter_bytes()) == content
        assert calls() == []

    def test_a_long_file_is_read_on_the_way(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        lines = [line(number, completion(number, number)) for number in range(1, 2001)]
        server.answers["GET /files/file-out/content"] = file(*lines)
        with client.files.with_streaming_response.content("file-out") as streamed:
            for _ in streamed.iter_bytes():
                pass
        found = calls()
        assert len({call.span_id for call in found}) == len(found) == 2000
        assert sum(call.attributes[semconv.INPUT_TOKENS] for call in found) == 2001 * 1000

    def test_a_file_that_is_left_is_not_charged(
        self, client: openai.OpenAI, server: OpenAI, calls: Calls
    ) -> None:
        lines = [line(number, completion(number, number)) for number in range(1, 2001)]
        server.answers["GET /files/file-out/content"] = file(*lines)
        with client.files.with_streaming_response.content("file-out") as streamed:
            next(streamed.iter_bytes(1000))
        assert calls() == []


def test_a_file_of_many_lines_forgets_nobody(
    client: openai.OpenAI, server: OpenAI, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_later, "_MOST", 10)
    server.answers["GET /batches/batch_1"] = batch(**DONE)
    server.answers["GET /files/file-out/content"] = file(
        *(line(number, completion(number, number)) for number in range(1, 51))
    )
    with pennytrace.tag(feature="nightly"):
        client.batches.retrieve("batch_1")
    client.files.content("file-out")
    assert {call.attributes[semconv.FEATURE] for call in calls()} == {"nightly"}


def tuning(**more: Any) -> dict[str, Any]:
    return {
        "id": "ftjob-1",
        "object": "fine_tuning.job",
        "model": "gpt-4o-mini-2024-07-18",
        "created_at": CREATED,
        "status": "running",
        "trained_tokens": None,
        "fine_tuned_model": None,
        "error": {"code": None, "message": None, "param": None},
        "hyperparameters": {},
        "organization_id": "o",
        "result_files": [],
        "seed": 1,
        "training_file": "f",
        **more,
    }


def test_fine_tuning_is_charged_once_by_the_tokens_it_trained_on(
    client: openai.OpenAI, server: OpenAI, calls: Calls
) -> None:
    done = tuning(status="succeeded", trained_tokens=5049, finished_at=ENDED, fine_tuned_model="ft:gpt")
    server.answers["POST /fine_tuning/jobs"] = tuning()
    server.answers["GET /fine_tuning/jobs/ftjob-1"] = [tuning(), done]
    server.answers["GET /fine_tuning/jobs"] = {"data": [done], "has_more": False}
    with pennytrace.tag(team="search"):
        client.fine_tuning.jobs.create(model="gpt-4o-mini-2024-07-18", training_file="f")
    client.fine_tuning.jobs.retrieve("ftjob-1")
    assert calls() == []
    client.fine_tuning.jobs.retrieve("ftjob-1")
    list(client.fine_tuning.jobs.list())
    call = assert_same_row(calls())
    assert call.name == "fine_tuning gpt-4o-mini-2024-07-18"
    assert usage(call) == {semconv.TRAINED_TOKENS: 5049}
    assert call.attributes[semconv.TEAM] == "search"
    assert not call.failed


def video(**more: Any) -> dict[str, Any]:
    return {
        "id": "video_1",
        "object": "video",
        "model": "sora-2",
        "created_at": CREATED,
        "status": "queued",
        "progress": 0,
        "prompt": SECRET,
        "seconds": "8",
        "size": "1280x720",
        "error": None,
        **more,
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_video_is_charged_by_its_seconds_when_it_is_made(
    client: openai.OpenAI, server: OpenAI, calls: Calls
) -> None:
    done = video(status="completed", completed_at=ENDED, progress=100)
    server.answers["POST /videos"] = video()
    server.answers["GET /videos/video_1"] = [video(status="in_progress"), done]
    server.answers["GET /videos"] = {"data": [done], "has_more": False}
    with pennytrace.tag(feature="film"):
        made = client.videos.create(model="sora-2", prompt=SECRET, seconds="8", size="1280x720")
    assert made.status == "queued"
    assert calls() == []
    for _ in range(3):
        client.videos.retrieve("video_1")
    list(client.videos.list())
    assert len(calls()) == 3
    call = assert_same_row(calls())
    assert call.name == "video_generation sora-2"
    assert usage(call) == {semconv.VIDEO_SECONDS: 8}
    assert call.attributes[semconv.IMAGE_SIZE] == "1280x720"
    assert call.attributes[semconv.FEATURE] == "film"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_video_that_failed_costs_nothing(client: openai.OpenAI, server: OpenAI, calls: Calls) -> None:
    failure = {"code": "moderation_blocked", "message": SECRET}
    server.answers["GET /videos/video_1"] = video(status="failed", error=failure)
    client.videos.retrieve("video_1")
    assert calls() == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_run_of_an_eval_is_charged_model_by_model(
    client: openai.OpenAI, server: OpenAI, calls: Calls
) -> None:
    def used(model: str, tokens: int) -> dict[str, Any]:
        counts = {"prompt_tokens": tokens, "completion_tokens": 2, "total_tokens": tokens + 2}
        return {"model_name": model, "invocation_count": 3, "cached_tokens": 1, **counts}

    run = {"id": "run_1", "object": "eval.run", "eval_id": "eval_1", "created_at": CREATED}
    done = {**run, "status": "completed", "per_model_usage": [used("a", 10), used("b", 20)]}
    server.answers["GET /evals/eval_1/runs/run_1"] = [
        {**run, "status": "in_progress", "per_model_usage": [used("a", 5)]},
        done,
    ]
    for _ in range(3):
        client.evals.runs.retrieve("run_1", eval_id="eval_1")
    found = calls()
    assert len(found) == 4
    assert len({call.span_id for call in found}) == 2
    assert usage(found[1]) == {
        semconv.INPUT_TOKENS: 20,
        semconv.OUTPUT_TOKENS: 2,
        semconv.CACHE_READ_INPUT_TOKENS: 1,
    }
    assert found[1].attributes[semconv.REQUEST_MODEL] == "b"
