"""Mistral: the real library over a real socket, against a server that answers as its documentation says."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx2
import pytest
from genai_prices import extract_usage
from mistralai.client import Mistral, models, utils
from mistralai.client.errors import SDKError

import pennytrace
from pennytrace import semconv
from pennytrace._calls import later as _later
from pennytrace.providers.mistralai import PROVIDER
from tests.instrumentation import scripted
from tests.instrumentation.conftest import Calls
from tests.instrumentation.scripted import Answer, Server, document, events
from tests.instrumentation.sink import Recorded, Sink

MODEL = "mistral-large-latest"
MESSAGES: list[Any] = [{"role": "user", "content": "What does a penny weigh?"}]  # 24 characters
WORDS = ("A penny ", "weighs ", "3.56 g.")
USAGE: dict[str, Any] = {
    "prompt_tokens": 21,
    "completion_tokens": 9,
    "total_tokens": 30,
    "prompt_audio_seconds": None,
    "prompt_tokens_details": {"cached_tokens": 8},
    "completion_tokens_details": {"reasoning_tokens": 4},
    "service_tier": "priority",
    "something_new": 1,
}
MEASURED = {
    semconv.INPUT_TOKENS: 21,
    semconv.CACHE_READ_INPUT_TOKENS: 8,
    semconv.OUTPUT_TOKENS: 9,
    semconv.REASONING_OUTPUT_TOKENS: 4,
}
HEAD: dict[str, Any] = {
    "id": "cmpl-1",
    "model": "mistral-large-2512",
    "created": 1763787600,
    "new": {"of": 1},
}
CHAT: dict[str, Any] = {
    **HEAD,
    "object": "chat.completion",
    "choices": [
        {"index": index, "finish_reason": "stop", "message": {"role": "assistant", "content": "".join(WORDS)}}
        for index in (0, 1)
    ],
    "usage": USAGE,
}
CHUNKS: list[dict[str, Any]] = [
    {
        **HEAD,
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": "stop" if last else None}],
        **({"usage": USAGE} if last else {}),
    }
    for word, last in zip(WORDS, (False, False, True), strict=True)
]


def stream(chunks: list[dict[str, Any]] = CHUNKS, **more: Any) -> Answer:
    return events(chunks, done="cut" not in more, **more)


@pytest.fixture
def server() -> Iterator[Server]:
    _later._who.clear()
    with scripted.running() as server:
        server.says(document(CHAT))
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Mistral]:
    with Mistral(api_key="none", server_url=server.url) as client:
        yield client


def asynchronously(server: Server, work: Callable[[Mistral], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with Mistral(api_key="none", server_url=server.url) as client:
            return await work(client)

    return asyncio.run(run())


def usage_of(call: Recorded) -> dict[str, Any]:
    marks = (semconv.USAGE_SOURCE, semconv.USAGE_METHOD)
    return {name: value for name, value in call.attributes.items() if ".usage." in name and name not in marks}


def assert_measured(call: Recorded, operation: str = "chat", provider: str = "mistral_compatible") -> None:
    assert call.attributes[semconv.OPERATION_NAME] == operation
    assert call.attributes[semconv.PROVIDER_NAME] == provider
    assert call.attributes[semconv.REQUEST_MODEL] == MODEL
    assert call.attributes[semconv.RESPONSE_MODEL] == HEAD["model"]
    assert call.attributes[semconv.RESPONSE_ID] == "cmpl-1"
    assert call.attributes[semconv.OPENAI_RESPONSE_SERVICE_TIER] == "priority"
    assert call.attributes[semconv.USAGE_SOURCE] == "measured"
    assert usage_of(call) == MEASURED
    assert not call.failed


def test_a_chat(client: Mistral, calls: Calls) -> None:
    answer = client.chat.complete(model=MODEL, messages=MESSAGES, n=2)
    assert type(answer) is models.ChatCompletionResponse
    (call,) = calls()
    assert_measured(call)
    theirs = extract_usage({**CHAT, "model": MODEL}, provider_id="mistral", api_flavor="default").usage
    assert theirs.input_tokens == call.attributes[semconv.INPUT_TOKENS]
    assert theirs.cache_read_tokens == call.attributes[semconv.CACHE_READ_INPUT_TOKENS]
    assert theirs.output_tokens == call.attributes[semconv.OUTPUT_TOKENS]
    assert theirs.output_reasoning_tokens == call.attributes[semconv.REASONING_OUTPUT_TOKENS]


def test_a_usage_that_is_null_is_missing(client: Mistral, server: Server, calls: Calls) -> None:
    server.says(document({**CHAT, "usage": None}))
    with pytest.raises(Exception, match="validation error"):  # the library's own, which wants one
        client.chat.complete(model=MODEL, messages=MESSAGES)
    assert calls()[0].attributes[semconv.USAGE_SOURCE] == "missing"


def test_a_stream_read_to_its_end(client: Mistral, server: Server, calls: Calls) -> None:
    server.says(stream())
    answer = client.chat.stream(model=MODEL, messages=MESSAGES)
    assert type(answer) is utils.eventstreaming.EventStream
    with answer:
        seen = list(answer)
    assert len(seen) == 3
    (call,) = calls()
    assert_measured(call)
    assert call.attributes[semconv.REQUEST_STREAM] is True
    pennytrace.shutdown()
    with client.chat.stream(model=MODEL, messages=MESSAGES) as again:
        assert seen == list(again)


@pytest.mark.parametrize("leave", ["close", "drop"])
def test_a_stream_that_is_left_is_estimated(
    client: Mistral, server: Server, calls: Calls, leave: str
) -> None:
    server.says(stream([*CHUNKS[:2] * 4000, CHUNKS[2]]))
    answer: Any = client.chat.stream(model=MODEL, messages=MESSAGES)
    next(answer)
    if leave == "close":
        answer.response.close()
    del answer
    gc.collect()
    (call,) = calls()
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert call.attributes[semconv.INPUT_TOKENS] == 6
    assert 2 <= call.attributes[semconv.OUTPUT_TOKENS] < 15000
    assert not call.failed


def test_a_stream_cut_by_the_server(client: Mistral, server: Server, calls: Calls) -> None:
    server.says(stream(CHUNKS[:2], cut=True))
    with pytest.raises(httpx2.RemoteProtocolError):
        list(client.chat.stream(model=MODEL, messages=MESSAGES))
    (call,) = calls()
    assert call.attributes[semconv.ERROR_TYPE] == "httpx2.RemoteProtocolError"
    assert usage_of(call) == {semconv.INPUT_TOKENS: 6, semconv.OUTPUT_TOKENS: 4}


@pytest.mark.parametrize("streamed", [False, True])
def test_an_error_is_the_librarys_own(client: Mistral, server: Server, calls: Calls, streamed: bool) -> None:
    server.says(document({"message": "no such model"}, 404))
    ask = client.chat.stream if streamed else client.chat.complete
    with pytest.raises(SDKError, match="no such model"):
        ask(model=MODEL, messages=MESSAGES)
    (call,) = calls()
    assert call.failed
    assert call.attributes[semconv.ERROR_TYPE] == "404"
    assert call.attributes[semconv.USAGE_SOURCE] == "missing"


def test_a_time_out(client: Mistral, server: Server, calls: Calls) -> None:
    server.says(Answer(b"", silent=True))
    with pytest.raises(httpx2.ReadTimeout):
        client.chat.complete(model=MODEL, messages=MESSAGES, timeout_ms=200)
    assert calls()[0].attributes[semconv.ERROR_TYPE] == "httpx2.ReadTimeout"


def test_retries_are_one_call(client: Mistral, server: Server, calls: Calls) -> None:
    server.says(document({}, 503), document({}, 503), document(CHAT))
    retries = utils.RetryConfig("backoff", utils.BackoffStrategy(1, 2, 1, 1000), True)
    client.chat.complete(model=MODEL, messages=MESSAGES, retries=retries)
    assert len(server.asked) == 3
    (call,) = calls()
    assert_measured(call)


def test_code_agents_and_clients_made_before(server: Server, sink: Sink) -> None:
    class Ours(Mistral):
        pass

    with Ours(api_key="none", server_url=server.url) as client:
        fim = client.fim
        pennytrace.init(endpoint=sink.url)
        fim.complete(model=MODEL, prompt="def weigh(")
        client.agents.complete(agent_id="ag_1", messages=MESSAGES)
    assert pennytrace.flush(30)
    code, agent = sink.spans
    assert_measured(code, "text_completion")
    assert semconv.REQUEST_MODEL not in agent.attributes
    assert usage_of(agent) == MEASURED


def test_a_conversation_counts_what_its_connectors_read(
    client: Mistral, server: Server, calls: Calls
) -> None:
    counts = {"prompt_tokens": 188, "completion_tokens": 55, "total_tokens": 7355, "connector_tokens": 7112}
    usage = {**counts, "connectors": {"web_search": 1, "code_interpreter": 2, "new": 3}}
    whole = {"object": "conversation.response", "conversation_id": "conv_1", "outputs": [], "usage": usage}
    started = {"type": "conversation.response.started", "conversation_id": "conv_1"}
    said = {"type": "message.output.delta", "id": "m", "content": "A penny", "output_index": 0}
    done = {"type": "conversation.response.done", "usage": usage}
    server.says(document(whole), events([started, said, done], named=True))
    client.beta.conversations.start(model=MODEL, inputs="What does a penny weigh?")
    with client.beta.conversations.append_stream(conversation_id="conv_1", inputs="And a pound?") as answer:
        assert len(list(answer)) == 3
    for call in calls():
        assert call.attributes[semconv.RESPONSE_ID] == "conv_1"
        assert usage_of(call) == {
            semconv.INPUT_TOKENS: 7300,
            semconv.TOOL_PROMPT: 7112,
            semconv.OUTPUT_TOKENS: 55,
            semconv.WEB_SEARCHES: 1,
            semconv.CODE_EXECUTIONS: 2,
            semconv.TOOL_CALLS: 3,
        }
    assert len(calls()) == 2


def test_a_conversation_that_fails(client: Mistral, server: Server, calls: Calls) -> None:
    started = {"type": "conversation.response.started", "conversation_id": "conv_1"}
    error = {"type": "conversation.response.error", "message": "no", "code": 500}
    server.says(events([started, error], named=True))
    list(client.beta.conversations.start_stream(model=MODEL, inputs="What does a penny weigh?"))
    (call,) = calls()
    assert call.attributes[semconv.ERROR_TYPE] == "conversation.response.error"


def test_embeddings_ocr_and_moderation(client: Mistral, server: Server, calls: Calls) -> None:
    embedded = {**HEAD, "object": "list", "data": [], "usage": {**USAGE, "completion_tokens": 0}}
    read = {
        "pages": [],
        "model": "mistral-ocr-2512",
        "usage_info": {"pages_processed": 3, "doc_size_bytes": 9},
    }
    server.says(document(embedded), document(read), document({**HEAD, "results": []}))
    client.embeddings.create(model="mistral-embed", inputs=["one"])
    client.ocr.process(
        model="mistral-ocr-latest", document={"type": "document_url", "document_url": "https://x"}
    )
    client.classifiers.moderate(model="mistral-moderation-latest", inputs=["one"])
    embeddings, ocr, moderation = calls()
    assert usage_of(embeddings) == {semconv.INPUT_TOKENS: 21}
    assert ocr.attributes[semconv.OPERATION_NAME] == "ocr"
    assert usage_of(ocr) == {semconv.PAGES: 3}
    assert extract_usage(read, provider_id="mistral", api_flavor="ocr").usage.input_document_pages == 3
    assert moderation.attributes[semconv.OPERATION_NAME] == "moderation"
    assert moderation.attributes[semconv.USAGE_SOURCE] == "missing"


def test_a_document_in_a_request_is_not_taken_apart(client: Mistral, server: Server, calls: Calls) -> None:
    read = {"pages": [], "model": "mistral-ocr-2512", "usage_info": {"pages_processed": 3}}
    server.says(document(read))
    url = "data:application/pdf;base64," + "A" * (1 << 20)
    client.ocr.process(model="mistral-ocr-latest", document={"type": "document_url", "document_url": url})
    (call,) = calls()
    assert call.attributes[semconv.REQUEST_MODEL] == "mistral-ocr-latest"
    assert usage_of(call) == {semconv.PAGES: 3}


def test_audio(client: Mistral, server: Server, calls: Calls) -> None:
    heard: dict[str, Any] = {"model": "voxtral-mini-2602", "text": "A penny", "language": None}
    heard["usage"] = {
        "prompt_tokens": 4,
        "completion_tokens": 9,
        "total_tokens": 400,
        "prompt_audio_seconds": 31,
    }
    done = {**heard, "type": "transcription.done", "segments": []}
    server.says(
        document(heard),
        events([{"type": "transcription.text.delta", "text": "A penny"}, done], named=True),
        document({"audio_data": "UklGRg=="}),
    )
    file: Any = {"file_name": "penny.wav", "content": b"RIFF"}
    client.audio.transcriptions.complete(model="voxtral-mini-latest", file=file)
    with client.audio.transcriptions.stream(model="voxtral-mini-latest", file=file) as answer:
        assert len(list(answer)) == 2
    client.audio.speech.complete(model="voxtral-tts", input="A penny")
    whole, streamed, speech = calls()
    for call in (whole, streamed):
        assert call.attributes[semconv.OPERATION_NAME] == "transcription"
        assert call.attributes[semconv.RESPONSE_MODEL] == "voxtral-mini-2602"
        assert usage_of(call) == {
            semconv.INPUT_TOKENS: 4,
            semconv.OUTPUT_TOKENS: 9,
            semconv.AUDIO_SECONDS: 31,
        }
    assert usage_of(speech) == {semconv.CHARACTERS: 7}


JOB: dict[str, Any] = {
    "id": "job_1",
    "object": "batch",
    "input_files": ["file_in"],
    "endpoint": "/v1/chat/completions",
    "errors": [],
    "status": "SUCCESS",
    "created_at": 1763780000,
    "completed_at": 1763790000,
    "total_requests": 2,
    "completed_requests": 2,
    "succeeded_requests": 2,
    "failed_requests": 0,
    "model": MODEL,
    "output_file": "file_out",
}
LINES: list[dict[str, Any]] = [
    {
        "id": f"line-{number}",
        "custom_id": str(number),
        "response": {"status_code": 200, "body": {**CHAT, "id": f"cmpl-{number}"}},
        "error": None,
    }
    for number in (1, 2)
]


def test_a_batch_is_charged_once_to_who_asked_for_it(client: Mistral, server: Server, calls: Calls) -> None:
    output = Answer("\n".join(map(json.dumps, LINES)).encode(), "application/octet-stream")
    server.says(
        document({**JOB, "status": "QUEUED", "output_file": None}),
        document(JOB),
        output,
        document({**JOB, "outputs": LINES}),
    )
    with pennytrace.tag(feature="nightly"):
        client.batch.jobs.create(endpoint="/v1/chat/completions", input_files=["file_in"], model=MODEL)
    with pennytrace.tag(feature="reader"):
        client.batch.jobs.get(job_id="job_1")
        content = client.files.download(file_id="file_out").read()
        client.batch.jobs.get(job_id="job_1", inline=True)
    assert len(content.splitlines()) == 2
    recorded = calls()
    assert len(recorded) == 4
    assert len({(call.trace_id, call.span_id) for call in recorded}) == 2
    for call in recorded:
        assert usage_of(call) == MEASURED
        assert call.attributes[semconv.FEATURE] == "nightly"
        assert call.attributes[semconv.PROCESSING] == "batch"
        assert call.attributes[semconv.BATCH] == "job_1"
        assert call.attributes[semconv.REQUEST_MODEL] == HEAD["model"]


def test_a_file_that_is_no_batchs_costs_nothing(client: Mistral, server: Server, calls: Calls) -> None:
    server.says(Answer(b'{"messages": []}\nnot JSON\n', "application/octet-stream"))
    assert client.files.download(file_id="file_x").read().startswith(b"{")
    assert calls() == []


def test_asynchronous(server: Server, calls: Calls) -> None:
    server.says(document(CHAT), stream())

    async def work(client: Mistral) -> Any:
        whole = await client.chat.complete_async(model=MODEL, messages=MESSAGES)
        async with await client.chat.stream_async(model=MODEL, messages=MESSAGES) as answer:
            assert type(answer) is utils.eventstreaming.EventStreamAsync
            return whole, [chunk async for chunk in answer]

    whole, chunks = asynchronously(server, work)
    assert whole.id == "cmpl-1"
    assert len(chunks) == 3
    for call in calls():
        assert_measured(call)
    assert len(calls()) == 2


def test_an_asynchronous_stream_that_is_left(server: Server, calls: Calls) -> None:
    server.says(stream([*CHUNKS[:2] * 4000, CHUNKS[2]]))

    async def work(client: Mistral) -> None:
        async with await client.chat.stream_async(model=MODEL, messages=MESSAGES) as answer:
            async for _ in answer:
                break

    asynchronously(server, work)
    assert calls()[0].attributes[semconv.USAGE_SOURCE] == "estimated"


def test_azure(server: Server, calls: Calls) -> None:
    from mistralai.azure.client import MistralAzure

    server.says(document(CHAT), stream())
    with MistralAzure(api_key="none", server_url=server.url) as client:
        client.chat.complete(model=MODEL, messages=MESSAGES)
        list(client.chat.stream(model=MODEL, messages=MESSAGES))
    whole, streamed = calls()
    assert_measured(whole, provider="azure.ai.inference")
    assert_measured(streamed, provider="azure.ai.inference")


def test_google_cloud(server: Server, calls: Calls) -> None:
    from mistralai.gcp.client import MistralGCP

    server.says(document(CHAT), stream(), document(CHAT))
    with MistralGCP(project_id="mint", access_token="t", server_url=server.url) as client:
        client.chat.complete(model=MODEL, messages=MESSAGES)
        list(client.chat.stream(model=MODEL, messages=MESSAGES))
        client.fim.complete(model=MODEL, prompt="def weigh(")
    whole, streamed, code = calls()
    assert_measured(whole, provider="gcp.vertex_ai")
    assert_measured(streamed, provider="gcp.vertex_ai")
    assert_measured(code, "text_completion", "gcp.vertex_ai")


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.mistral.ai", "mistral_ai"),
        ("codestral.mistral.ai", "mistral_ai"),
        ("llm.mint.example", "mistral_compatible"),
    ],
)
def test_the_provider_of_a_host(host: str, provider: str) -> None:
    assert PROVIDER.name_of_host(host) == provider


def test_no_content_leaves(client: Mistral, server: Server, calls: Calls) -> None:
    client.chat.complete(model=MODEL, messages=MESSAGES)
    server.says(stream())
    next(client.chat.stream(model=MODEL, messages=MESSAGES))
    gc.collect()
    assert len(calls()) == 2
    assert "penny weigh" not in repr(calls())
