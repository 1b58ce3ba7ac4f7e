"""Hugging Face: the real InferenceClient over a real socket, against a server that answers as TGI and the router do."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import types
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx2
import huggingface_hub
import pytest
from genai_prices import extract_usage
from huggingface_hub.errors import HfHubHTTPError, InferenceTimeoutError, TextGenerationError

import pennytrace
from pennytrace import semconv
from tests.instrumentation import scripted
from tests.instrumentation.conftest import Calls
from tests.instrumentation.scripted import Answer, Server, document, events
from tests.instrumentation.sink import Recorded, Sink
from tests.instrumentation.test_guard import broken

__all__ = ["broken"]

MODEL = "meta-llama/Llama-3.3-70B-Instruct"
SERVED = "meta-llama/Llama-3.3-70B-Instruct-Turbo"
MESSAGES = [{"role": "user", "content": "What does a penny weigh?"}]  # 24 characters
WORDS = ("A penny ", "weighs ", "3.56 g.")
USAGE: dict[str, Any] = {
    "prompt_tokens": 21,
    "completion_tokens": 9,
    "total_tokens": 30,
    "prompt_tokens_details": {"cached_tokens": 8},
    "completion_tokens_details": {"reasoning_tokens": 4},
}
MEASURED = {
    semconv.INPUT_TOKENS: 21,
    semconv.CACHE_READ_INPUT_TOKENS: 8,
    semconv.OUTPUT_TOKENS: 9,
    semconv.REASONING_OUTPUT_TOKENS: 4,
}
HEAD: dict[str, Any] = {"id": "chat-1", "model": SERVED, "created": 1, "system_fingerprint": "3.3", "new": 1}
CHAT = {
    **HEAD,
    "object": "chat.completion",
    "choices": [
        {"index": index, "finish_reason": "stop", "message": {"role": "assistant", "content": "".join(WORDS)}}
        for index in (0, 1)
    ],
    "usage": USAGE,
}
CHUNKS: list[dict[str, Any]] = [
    {**HEAD, "choices": [{"index": 0, "delta": {"role": "assistant", "content": word}}], "usage": None}
    for word in WORDS
]
LAST = {**HEAD, "choices": [], "usage": USAGE}


def stream(*more: Any, chunks: list[dict[str, Any]] = CHUNKS, cut: bool = False) -> Answer:
    return events([*chunks, *more], done=not cut, cut=cut)


@pytest.fixture
def server() -> Iterator[Server]:
    with scripted.running() as server:
        server.says(document(CHAT))
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[huggingface_hub.InferenceClient]:
    with huggingface_hub.InferenceClient(server.url, token="none") as client:
        yield client


def asynchronously(
    server: Server, work: Callable[[huggingface_hub.AsyncInferenceClient], Awaitable[Any]]
) -> Any:
    async def run() -> Any:
        async with huggingface_hub.AsyncInferenceClient(server.url, token="none") as client:
            return await work(client)

    return asyncio.run(run())


def ask(client: Any, **more: Any) -> Any:
    return client.chat_completion(MESSAGES, model=MODEL if client.model is None else None, **more)


def usage_of(call: Recorded) -> dict[str, Any]:
    marks = (semconv.USAGE_SOURCE, semconv.USAGE_METHOD)
    return {name: value for name, value in call.attributes.items() if ".usage." in name and name not in marks}


def assert_measured(call: Recorded) -> None:
    assert call.attributes[semconv.OPERATION_NAME] == "chat"
    assert call.attributes[semconv.RESPONSE_MODEL] == SERVED
    assert call.attributes[semconv.RESPONSE_ID] == "chat-1"
    assert call.attributes[semconv.USAGE_SOURCE] == "measured"
    assert usage_of(call) == MEASURED
    assert not call.failed


def test_a_chat(client: huggingface_hub.InferenceClient, calls: Calls) -> None:
    answer = ask(client, n=2)
    assert type(answer) is huggingface_hub.ChatCompletionOutput
    client.chat.completions.create(MESSAGES)
    theirs = extract_usage(
        {**CHAT, "model": MODEL}, provider_id="huggingface_together", api_flavor="chat"
    ).usage
    for call in calls():
        assert_measured(call)
        assert call.attributes[semconv.PROVIDER_NAME] == "openai_compatible"
        assert call.attributes[semconv.SERVER_ADDRESS] == "127.0.0.1"
        assert theirs.input_tokens == call.attributes[semconv.INPUT_TOKENS]
        assert theirs.output_tokens == call.attributes[semconv.OUTPUT_TOKENS]
        assert theirs.cache_read_tokens == call.attributes[semconv.CACHE_READ_INPUT_TOKENS]
    assert len(calls()) == 2


def test_a_usage_that_is_null_is_missing(
    client: huggingface_hub.InferenceClient, server: Server, calls: Calls
) -> None:
    server.says(document({**CHAT, "usage": None}))
    ask(client)
    (call,) = calls()
    assert call.attributes[semconv.USAGE_SOURCE] == "missing"
    assert call.attributes[semconv.RESPONSE_ID] == "chat-1"


def test_a_stream_reports_usage_and_is_the_same_for_the_app(
    client: huggingface_hub.InferenceClient, server: Server, calls: Calls
) -> None:
    server.says(stream(LAST), stream())
    chunks = ask(client, stream=True)
    assert isinstance(chunks, types.GeneratorType)
    seen = list(chunks)
    assert server.asked[0].json["stream_options"] == {"include_usage": True}
    (call,) = calls()
    assert_measured(call)
    assert call.attributes[semconv.REQUEST_STREAM] is True
    assert call.attributes[semconv.TIME_TO_FIRST_CHUNK] > 0
    pennytrace.shutdown()
    assert seen == list(ask(client, stream=True))
    assert "stream_options" not in server.asked[1].json


def test_who_asks_for_usage_gets_it(
    client: huggingface_hub.InferenceClient, server: Server, calls: Calls
) -> None:
    server.says(stream(LAST))
    options: Any = {"include_usage": True}
    assert len(list(ask(client, stream=True, stream_options=options))) == 4
    options["include_usage"] = False
    server.says(stream())
    assert len(list(ask(client, stream=True, stream_options=options))) == 3
    measured, estimated = calls()
    assert_measured(measured)
    assert estimated.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert usage_of(estimated) == {semconv.INPUT_TOKENS: 6, semconv.OUTPUT_TOKENS: 6}


def test_a_server_that_refuses_is_asked_again_without(
    client: huggingface_hub.InferenceClient, server: Server, calls: Calls
) -> None:
    server.says(document({"error": "unknown field `stream_options`"}, 422), stream())
    assert len(list(ask(client, stream=True))) == 3
    assert len(list(ask(client, stream=True))) == 3
    assert ["stream_options" in asked.json for asked in server.asked] == [True, False, False]
    assert [call.attributes[semconv.USAGE_SOURCE] for call in calls()] == ["estimated", "estimated"]


@pytest.mark.parametrize("leave", ["close", "drop"])
def test_a_stream_that_is_left_is_estimated(
    client: huggingface_hub.InferenceClient, server: Server, calls: Calls, leave: str
) -> None:
    server.says(stream(LAST))
    chunks = ask(client, stream=True)
    next(chunks)
    if leave == "close":
        chunks.close()
    del chunks
    gc.collect()
    (call,) = calls()
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert usage_of(call) == {semconv.INPUT_TOKENS: 6, semconv.OUTPUT_TOKENS: 2}
    assert not call.failed


def test_a_stream_cut_by_the_server(
    client: huggingface_hub.InferenceClient, server: Server, calls: Calls
) -> None:
    server.says(stream(chunks=CHUNKS[:2], cut=True))
    with pytest.raises(httpx2.RemoteProtocolError):
        list(ask(client, stream=True))
    (call,) = calls()
    assert call.attributes[semconv.ERROR_TYPE] == "httpx2.RemoteProtocolError"
    assert usage_of(call) == {semconv.INPUT_TOKENS: 6, semconv.OUTPUT_TOKENS: 4}


def test_an_error_in_a_stream(client: huggingface_hub.InferenceClient, server: Server, calls: Calls) -> None:
    server.says(stream({"error": "out of memory", "error_type": "generation"}, chunks=CHUNKS[:1]))
    with pytest.raises(TextGenerationError):
        list(ask(client, stream=True))
    gc.collect()
    (call,) = calls()
    assert call.failed


def test_an_error_is_the_librarys_own(
    client: huggingface_hub.InferenceClient, server: Server, calls: Calls
) -> None:
    server.says(document({"error": "model is overloaded"}, 503))
    with pytest.raises(HfHubHTTPError, match="overloaded"):
        ask(client)
    (call,) = calls()
    assert call.failed
    assert call.attributes[semconv.ERROR_TYPE] == "huggingface_hub.errors.HfHubHTTPError"
    assert call.attributes[semconv.USAGE_SOURCE] == "missing"


def test_a_time_out(server: Server, calls: Calls) -> None:
    server.says(Answer(b"", silent=True))
    with (
        huggingface_hub.InferenceClient(server.url, token="none", timeout=0.2) as client,
        pytest.raises(InferenceTimeoutError),
    ):
        ask(client)
    (call,) = calls()
    assert call.attributes[semconv.ERROR_TYPE] == "huggingface_hub.errors.InferenceTimeoutError"


def test_clients_made_before_and_subclasses(server: Server, sink: Sink) -> None:
    class Ours(huggingface_hub.InferenceClient):
        pass

    with Ours(server.url, token="none") as client:
        create = client.chat.completions.create
        pennytrace.init(endpoint=sink.url)
        create(MESSAGES)
        ask(client)
    assert pennytrace.flush(30)
    for call in sink.spans:
        assert_measured(call)
    assert len(sink.spans) == 2


def test_asynchronous(server: Server, calls: Calls) -> None:
    server.says(document(CHAT), stream(LAST))

    async def work(client: huggingface_hub.AsyncInferenceClient) -> Any:
        whole = await ask(client)
        chunks = await ask(client, stream=True)
        assert isinstance(chunks, types.AsyncGeneratorType)
        return whole, [chunk async for chunk in chunks]

    whole, chunks = asynchronously(server, work)
    assert whole.id == "chat-1"
    assert len(chunks) == 3
    for call in calls():
        assert_measured(call)
    assert len(calls()) == 2


def test_an_asynchronous_stream_that_is_left(server: Server, calls: Calls) -> None:
    server.says(stream(LAST))

    async def work(client: huggingface_hub.AsyncInferenceClient) -> None:
        chunks = await ask(client, stream=True)
        async for _ in chunks:
            break
        await chunks.aclose()

    asynchronously(server, work)
    gc.collect()
    (call,) = calls()
    assert usage_of(call) == {semconv.INPUT_TOKENS: 6, semconv.OUTPUT_TOKENS: 2}


# --- other tasks -------------------------------------------------------------------------------------------
GENERATED = {"generated_text": "".join(WORDS)}
DETAILS = {"finish_reason": "length", "generated_tokens": 9, "seed": None, "tokens": []}
TOKENS: list[dict[str, Any]] = [
    {"index": index, "token": {"id": index, "text": word, "logprob": -0.1, "special": False}}
    for index, word in enumerate(WORDS)
]


def test_text_generation_is_counted_by_its_details(
    client: huggingface_hub.InferenceClient, server: Server, calls: Calls
) -> None:
    prefill = [{"id": number, "text": "x", "logprob": -1.0} for number in range(7)]
    server.says(document([{**GENERATED, "details": {**DETAILS, "prefill": prefill}}]))
    client.text_generation("What does a penny weigh?", details=True, decoder_input_details=True)
    (call,) = calls()
    assert call.attributes[semconv.OPERATION_NAME] == "text_completion"
    assert call.attributes[semconv.USAGE_SOURCE] == "measured"
    assert usage_of(call) == {semconv.INPUT_TOKENS: 7, semconv.OUTPUT_TOKENS: 9}


def test_text_generation_without_details_is_missing(
    client: huggingface_hub.InferenceClient, server: Server, calls: Calls
) -> None:
    server.says(document([GENERATED]))
    assert client.text_generation("What does a penny weigh?") == "".join(WORDS)
    assert calls()[0].attributes[semconv.USAGE_SOURCE] == "missing"


def test_a_stream_of_text_generation(
    client: huggingface_hub.InferenceClient, server: Server, calls: Calls
) -> None:
    last = {**TOKENS[-1], **GENERATED, "details": {**DETAILS, "input_length": 7}}
    server.says(events([*TOKENS[:-1], last]), events(TOKENS))
    assert list(client.text_generation("What does a penny weigh?", stream=True)) == list(WORDS)
    assert list(client.text_generation("What does a penny weigh?", stream=True)) == list(WORDS)
    measured, estimated = calls()
    assert usage_of(measured) == {semconv.INPUT_TOKENS: 7, semconv.OUTPUT_TOKENS: 9}
    assert measured.attributes[semconv.USAGE_SOURCE] == "measured"
    assert usage_of(estimated) == {semconv.INPUT_TOKENS: 6, semconv.OUTPUT_TOKENS: 6}
    assert estimated.attributes[semconv.USAGE_SOURCE] == "estimated"


def test_speech_is_counted_in_characters_and_a_transcription_is_known_to_be_one(
    client: huggingface_hub.InferenceClient, server: Server, calls: Calls
) -> None:
    server.says(Answer(b"RIFF\x00", "audio/wav"), document({"text": "A penny"}))
    assert client.text_to_speech("A penny") == b"RIFF\x00"
    client.automatic_speech_recognition(b"RIFF\x00")
    speech, transcription = calls()
    assert usage_of(speech) == {semconv.CHARACTERS: 7}
    assert transcription.attributes[semconv.OPERATION_NAME] == "transcription"
    assert transcription.attributes[semconv.USAGE_SOURCE] == "missing"


@pytest.mark.parametrize("counted", [True, False])
def test_embeddings(
    client: huggingface_hub.InferenceClient, server: Server, calls: Calls, counted: bool
) -> None:
    vectors: list[Any] = [[0.25] * 20_000]
    server.says(document({"data": vectors, "usage": {"prompt_tokens": 5}} if counted else vectors))
    # Without numpy, or of a shape that it cannot take, the answer is the library's error: it was paid for.
    with contextlib.suppress(ImportError, TypeError, ValueError):
        client.feature_extraction("A penny")
    (call,) = calls()
    assert call.attributes[semconv.OPERATION_NAME] == "embeddings"
    assert usage_of(call) == ({semconv.INPUT_TOKENS: 5} if counted else {})


def test_the_small_tasks_are_calls(
    client: huggingface_hub.InferenceClient, server: Server, calls: Calls
) -> None:
    server.says(document([[{"label": "GOOD", "score": 0.9}]]), document([{"summary_text": "A penny"}]))
    client.text_classification("A penny is good")
    client.summarization("A penny is good")
    classification, summary = calls()
    assert classification.attributes[semconv.OPERATION_NAME] == "classification"
    assert summary.attributes[semconv.OPERATION_NAME] == "text_completion"
    assert {call.attributes[semconv.USAGE_SOURCE] for call in calls()} == {"missing"}


# --- whatever fails inside pennytrace ------------------------------------------------------------------------
@pytest.mark.parametrize(
    "broken",
    [
        "asking again without usage",
        "asking for the usage of a stream",
        "following what a method returned",
        "noting which model is asked for",
        "reading an event of a stream",
        "reading what is asked",
    ],
    indirect=True,
)
def test_a_step_that_fails_changes_nothing_for_the_app(
    broken: str, client: huggingface_hub.InferenceClient, server: Server, recording: None
) -> None:
    assert ask(client).id == "chat-1"
    server.says(stream(LAST))
    said = [chunk.choices[0].delta.content for chunk in ask(client, stream=True) if chunk.choices]
    assert said == list(WORDS)

    async def work(client: huggingface_hub.AsyncInferenceClient) -> Any:
        return [chunk async for chunk in await ask(client, stream=True) if chunk.choices]

    assert len(asynchronously(server, work)) == 3


# --- routed providers --------------------------------------------------------------------------------------
class ToTheServer(httpx2.HTTPTransport):
    """Sends what is meant for any host to the test's server."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._server.port)
        return super().handle_request(request)


@pytest.fixture
def routed(server: Server) -> Iterator[Server]:
    huggingface_hub.set_client_factory(lambda: httpx2.Client(transport=ToTheServer(server)))
    yield server
    huggingface_hub.close_session()
    huggingface_hub.set_client_factory(httpx2.Client)


def mapping(provider: str, model: str, task: str = "conversational") -> Answer:
    found = {provider: {"providerId": SERVED, "status": "live", "task": task}}
    return document({"id": model, "inferenceProviderMapping": found})


@pytest.mark.parametrize(
    ("provider", "key", "name"),
    [
        ("together", "hf_x", "huggingface_together"),
        ("fireworks-ai", "hf_x", "huggingface_fireworks-ai"),
        ("together", "x", "together"),
    ],
)
def test_a_routed_provider(routed: Server, calls: Calls, provider: str, key: str, name: str) -> None:
    model = f"{MODEL}-{provider}-{key}"
    routed.says(mapping(provider, model), document(CHAT))
    huggingface_hub.InferenceClient(provider=provider, api_key=key).chat_completion(MESSAGES, model=model)  # type: ignore[arg-type]
    (call,) = calls()
    assert_measured(call)
    assert call.attributes[semconv.PROVIDER_NAME] == name
    assert (
        call.attributes[semconv.REQUEST_MODEL] == model
    )  # not the provider's name for it: prices go by this one


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (MODEL, "huggingface"),
        (f"{MODEL}:groq", "huggingface_groq"),
        (f"{MODEL}:cheapest", "huggingface"),
    ],
)
def test_the_router_chooses(routed: Server, calls: Calls, model: str, name: str) -> None:
    huggingface_hub.InferenceClient(api_key="hf_x").chat_completion(MESSAGES, model=model)
    (call,) = calls()
    assert call.attributes[semconv.PROVIDER_NAME] == name
    assert call.attributes[semconv.SERVER_ADDRESS] == "router.huggingface.co"
    assert call.attributes[semconv.REQUEST_MODEL] == model


def test_an_image(routed: Server, calls: Calls) -> None:
    model = "black-forest-labs/FLUX.1-dev"
    routed.says(mapping("fal-ai", model, "text-to-image"), document({"images": []}))
    with pytest.raises(IndexError):  # what the library makes of it comes after what was paid for
        huggingface_hub.InferenceClient(provider="fal-ai", api_key="hf_x").text_to_image("A", model=model)
    (call,) = calls()
    assert call.attributes[semconv.PROVIDER_NAME] == "huggingface_fal-ai"
    assert call.attributes[semconv.REQUEST_MODEL] == model
    assert usage_of(call) == {semconv.IMAGES: 1}


def test_no_content_leaves(client: huggingface_hub.InferenceClient, server: Server, calls: Calls) -> None:
    ask(client)
    server.says(stream(LAST))
    next(ask(client, stream=True))
    gc.collect()
    assert len(calls()) == 2
    assert "penny weigh" not in repr(calls())
