"""Google's Gen AI library: the real one over a real socket, against a server that answers as Google documents."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from threading import Event, Thread
from typing import Any

import genai_prices
import httpx
import httpx2
import pytest
from google import genai
from google.auth.credentials import Credentials
from google.genai import errors, interactions, types

import pennytrace
from pennytrace import semconv
from pennytrace.providers.google_genai import PROVIDER, name_of_host
from tests.instrumentation.conftest import Calls
from tests.instrumentation.server import QuietServer
from tests.instrumentation.sink import Recorded, Sink

# google-genai derives its session from aiohttp's, which aiohttp does not like.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The (generate|upscale)_image:Warning"),
]

MODEL = "gemini-2.5-flash"
SERVED_MODEL = "gemini-2.5-flash-002"
SECRET = "What does a penny weigh?"  # 24 characters
WORDS = ("A penny ", "weighs ", "3.56 g.")
COUNTS: dict[str, Any] = {
    "promptTokenCount": 40,
    "cachedContentTokenCount": 12,
    "candidatesTokenCount": 9,
    "thoughtsTokenCount": 30,
    "toolUsePromptTokenCount": 7,
    "totalTokenCount": 86,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 16},
        {"modality": "AUDIO", "tokenCount": 15},
        {"modality": "IMAGE", "tokenCount": 5},
        {"modality": "VIDEO", "tokenCount": 4},
    ],
    "cacheTokensDetails": [
        {"modality": "AUDIO", "tokenCount": 8},
        {"modality": "IMAGE", "tokenCount": 1},
        {"modality": "VIDEO", "tokenCount": 3},
    ],
    "candidatesTokensDetails": [
        {"modality": "TEXT", "tokenCount": 4},
        {"modality": "IMAGE", "tokenCount": 3},
        {"modality": "VIDEO", "tokenCount": 2},
    ],
    "toolUsePromptTokensDetails": [{"modality": "TEXT", "tokenCount": 7}],
    "trafficType": "ON_DEMAND_PRIORITY",
    "someNewCount": 99,
}
USAGE = {
    semconv.INPUT_TOKENS: 47,
    semconv.OUTPUT_TOKENS: 39,
    semconv.CACHE_READ_INPUT_TOKENS: 12,
    semconv.REASONING_OUTPUT_TOKENS: 30,
    semconv.TOOL_PROMPT: 7,
    semconv.AUDIO_INPUT_TOKENS: 15,
    semconv.IMAGE_INPUT_TOKENS: 5,
    semconv.AUDIO_CACHE_READ_INPUT_TOKENS: 8,
    semconv.IMAGE_OUTPUT_TOKENS: 3,
    semconv.IMAGE_CACHE_READ_INPUT_TOKENS: 1,
    semconv.VIDEO_INPUT: 4,
    semconv.VIDEO_CACHE_READ: 3,
    semconv.VIDEO_OUTPUT: 2,
}


@dataclass
class Server:
    """Answers as told."""

    port: int = 0
    status: int = 200
    failures: int = 0
    """Requests that are refused before one is answered."""
    counts: dict[str, Any] | None = field(default_factory=lambda: dict(COUNTS))
    candidate: dict[str, Any] = field(default_factory=dict)
    cut: bool = False
    broken: bool = False
    """Whether the last event of a stream is an error."""
    early_counts: bool = True
    answer: dict[str, Any] | None = None
    """For what is not a generation."""
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    release: Event = field(default_factory=Event)
    slow: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def generated(self, text: str, counts: dict[str, Any] | None, **candidate: Any) -> dict[str, Any]:
        content = {"role": "model", "parts": [{"text": text}]}
        answer = {
            "candidates": [{"content": content, "index": 0, **candidate}],
            "modelVersion": SERVED_MODEL,
            "responseId": "resp-1",
        }
        return answer if counts is None else {**answer, "usageMetadata": counts}

    def whole(self) -> dict[str, Any]:
        return self.generated("".join(WORDS), self.counts, finishReason="STOP", **self.candidate)

    def events(self) -> Iterator[dict[str, Any]]:
        early = {"promptTokenCount": 40, "totalTokenCount": 40} if self.early_counts else None
        for word in WORDS:
            yield self.generated(word, early)
        if self.broken:
            yield {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
        elif not self.cut:
            yield self.generated("", self.counts, finishReason="STOP", **self.candidate)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    told: Server

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_GET(self) -> None:
        self.told.requests.append((self.path, {}))
        self._send(200, self.told.answer or {})

    def do_POST(self) -> None:
        told = self.told
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        told.requests.append((self.path, body))
        if told.slow:
            told.release.wait(10)
        if told.failures:
            told.failures -= 1
            self._send(503, {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}})
        elif told.status != 200:
            self._send(
                told.status, {"error": {"code": told.status, "message": "no", "status": "INVALID_ARGUMENT"}}
            )
        elif "streamGenerateContent" in self.path:
            self._stream(told.events())
        elif body.get("stream"):
            self._stream(interacted())
        else:
            self._send(200, told.answer if told.answer is not None else told.whole())

    def _send(self, status: int, answer: Any) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, events: Iterator[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events:
            data = f"data: {json.dumps(event)}\r\n\r\n".encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        if self.told.cut:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    http = QuietServer(("127.0.0.1", 0), type("Told", (Handler,), {"told": server}))
    server.port = http.server_port
    Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.release.set()
    http.shutdown()
    http.server_close()


def client_of(server: Server, **options: Any) -> genai.Client:
    return genai.Client(api_key="none", http_options=types.HttpOptions(base_url=server.url, **options))


@pytest.fixture
def client(server: Server) -> Iterator[genai.Client]:
    with client_of(server) as client:
        yield client


class Signed(Credentials):
    """Credentials that need nobody."""

    def refresh(self, request: Any) -> None:
        self.token = "none"


@pytest.fixture
def vertex(server: Server) -> Iterator[genai.Client]:
    credentials = Signed()  # type: ignore[no-untyped-call]
    credentials.token = "none"
    options = types.HttpOptions(base_url=server.url)
    with genai.Client(
        vertexai=True, project="mint", location="europe-west4", credentials=credentials, http_options=options
    ) as client:
        yield client


Work = Callable[[Any], Awaitable[Any]]


def over_aiohttp(server: Server, work: Work) -> Any:
    async def run() -> Any:
        async with client_of(server).aio as client:
            return await work(client)

    return asyncio.run(run())


def over_httpx(server: Server, work: Work) -> Any:
    async def run() -> Any:
        async with (
            httpx.AsyncClient() as http,
            client_of(server, httpx_async_client=http).aio as client,
        ):
            return await work(client)

    return asyncio.run(run())


both_ways = pytest.mark.parametrize("asynchronously", [over_aiohttp, over_httpx])


def usage_of(call: Recorded) -> dict[str, Any]:
    prefixes = ("gen_ai.usage.", "pennytrace.usage.")
    not_counts = (semconv.USAGE_SOURCE, semconv.USAGE_METHOD)
    return {
        name: value
        for name, value in call.attributes.items()
        if name.startswith(prefixes) and name not in not_counts
    }


def assert_measured(call: Recorded) -> None:
    assert call.name == f"generate_content {MODEL}"
    assert call.attributes[semconv.PROVIDER_NAME] == "gcp.gemini"
    assert call.attributes[semconv.REQUEST_MODEL] == MODEL
    assert call.attributes[semconv.RESPONSE_MODEL] == SERVED_MODEL
    assert call.attributes[semconv.RESPONSE_ID] == "resp-1"
    assert call.attributes[semconv.OPENAI_RESPONSE_SERVICE_TIER] == "priority"
    assert call.attributes[semconv.USAGE_SOURCE] == "measured"
    assert call.attributes[semconv.SERVER_ADDRESS] == "127.0.0.1"
    assert usage_of(call) == USAGE
    assert not call.failed
    assert "penny" not in str({**call.attributes, "name": call.name}).replace("pennytrace", "")


def test_a_generation(client: genai.Client, calls: Calls) -> None:
    answer = client.models.generate_content(model=MODEL, contents=SECRET)
    assert type(answer) is types.GenerateContentResponse
    assert answer.text == "A penny weighs 3.56 g."
    (call,) = calls()
    assert_measured(call)
    assert semconv.REQUEST_STREAM not in call.attributes


def test_genai_prices_reads_the_same(client: genai.Client, server: Server, calls: Calls) -> None:
    client.models.generate_content(model=MODEL, contents=SECRET)
    (call,) = calls()
    known = {**server.whole(), "modelVersion": MODEL}
    oracle = genai_prices.extract_usage(known, provider_id="google").usage
    counted = {
        semconv.INPUT_TOKENS: oracle.input_tokens,
        semconv.OUTPUT_TOKENS: oracle.output_tokens,
        semconv.CACHE_READ_INPUT_TOKENS: oracle.cache_read_tokens,
        semconv.AUDIO_INPUT_TOKENS: oracle.input_audio_tokens,
        semconv.AUDIO_CACHE_READ_INPUT_TOKENS: oracle.cache_audio_read_tokens,
        semconv.IMAGE_INPUT_TOKENS: oracle.input_image_tokens,
        semconv.IMAGE_OUTPUT_TOKENS: oracle.output_image_tokens,
        semconv.REASONING_OUTPUT_TOKENS: oracle.output_reasoning_tokens,
        semconv.TOOL_PROMPT: oracle.input_tool_tokens,
        semconv.IMAGE_CACHE_READ_INPUT_TOKENS: oracle.cache_image_read_tokens,
        semconv.VIDEO_INPUT: oracle.input_video_tokens,
        semconv.VIDEO_CACHE_READ: oracle.cache_video_read_tokens,
        semconv.VIDEO_OUTPUT: oracle.output_video_tokens,
    }
    assert usage_of(call) == counted


@both_ways
def test_an_asynchronous_generation(server: Server, calls: Calls, asynchronously: Callable[..., Any]) -> None:
    answer = asynchronously(server, lambda one: one.models.generate_content(model=MODEL, contents=SECRET))
    assert type(answer) is types.GenerateContentResponse
    assert_measured(calls()[0])


def test_a_chat_is_a_call_for_every_message(client: genai.Client, calls: Calls) -> None:
    chat = client.chats.create(model=MODEL)
    chat.send_message(SECRET)
    assert len(list(chat.send_message_stream(SECRET))) == 4
    first, second = calls()
    assert_measured(first)
    assert_measured(second)


def test_tools_that_are_called_for_the_app_make_more_calls(
    client: genai.Client, server: Server, calls: Calls
) -> None:
    def weigh() -> str:
        """Weigh a penny."""
        server.candidate = {}
        return "3.56 g"

    wanted = {"role": "model", "parts": [{"functionCall": {"name": "weigh", "args": {}}}]}
    server.candidate = {"content": wanted}
    config = types.GenerateContentConfig(tools=[weigh])
    answer = client.models.generate_content(model=MODEL, contents=SECRET, config=config)
    assert answer.text == "A penny weighs 3.56 g."
    assert len(calls()) == 2


def test_a_stream_is_what_it_was(client: genai.Client, sink: Sink) -> None:
    def read() -> tuple[type, list[types.GenerateContentResponse]]:
        stream = client.models.generate_content_stream(model=MODEL, contents=SECRET)
        return type(stream), list(stream)

    without = read()
    pennytrace.init(endpoint=sink.url, service="shop")  # after the client was made
    kind, chunks = read()
    assert pennytrace.flush(30)
    (call,) = sink.spans
    assert_measured(call)
    assert call.attributes[semconv.REQUEST_STREAM] is True
    assert call.attributes[semconv.TIME_TO_FIRST_CHUNK] > 0
    assert kind is without[0]
    assert [chunk.model_dump(exclude={"sdk_http_response"}) for chunk in chunks] == [
        chunk.model_dump(exclude={"sdk_http_response"}) for chunk in without[1]
    ]


async def _streamed(client: Any) -> AsyncIterator[Any]:
    stream: AsyncIterator[Any] = await client.models.generate_content_stream(model=MODEL, contents=SECRET)
    return stream


@both_ways
def test_an_asynchronous_stream(server: Server, calls: Calls, asynchronously: Callable[..., Any]) -> None:
    async def read(client: Any) -> list[str]:
        return [chunk.text async for chunk in await _streamed(client)]

    assert asynchronously(server, read)[:3] == list(WORDS)
    (call,) = calls()
    assert_measured(call)


def test_a_stream_that_is_left(client: genai.Client, calls: Calls) -> None:
    for chunk in client.models.generate_content_stream(model=MODEL, contents=SECRET):
        assert chunk.text == WORDS[0]
        break
    (call,) = calls()
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert call.attributes[semconv.INPUT_TOKENS] == 40  # as the first event said
    assert call.attributes[semconv.OUTPUT_TOKENS] == 2  # 8 characters
    assert not call.failed


def test_a_stream_that_is_left_and_reported_nothing(
    client: genai.Client, server: Server, calls: Calls
) -> None:
    server.early_counts = False
    next(client.models.generate_content_stream(model=MODEL, contents=SECRET))
    (call,) = calls()
    assert call.attributes[semconv.INPUT_TOKENS] == 6  # 24 characters
    assert call.attributes[semconv.OUTPUT_TOKENS] == 2
    assert call.attributes[semconv.USAGE_METHOD] == "characters/4"


def test_a_stream_that_is_never_read_costs_nothing(
    client: genai.Client, server: Server, calls: Calls
) -> None:
    client.models.generate_content_stream(model=MODEL, contents=SECRET)
    assert server.requests == []
    assert calls() == []


@both_ways
def test_an_asynchronous_stream_that_is_left(
    server: Server, calls: Calls, asynchronously: Callable[..., Any]
) -> None:
    async def leave(client: Any) -> list[Recorded]:
        gc.disable()
        try:
            stream = await _streamed(client)
            async for chunk in stream:
                assert chunk.text == WORDS[0]
                break
            await stream.aclose()  # type: ignore[attr-defined]
            for _ in range(20):  # the loop closes what the generator held, one generator after the other
                await asyncio.sleep(0)
            return await asyncio.to_thread(calls)
        finally:
            gc.enable()

    (call,) = asynchronously(server, leave)
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert call.attributes[semconv.OUTPUT_TOKENS] == 2
    assert not call.failed


@both_ways
def test_a_cancelled_task(server: Server, calls: Calls, asynchronously: Callable[..., Any]) -> None:
    server.slow = True

    async def cancel(client: Any) -> None:
        task = asyncio.ensure_future(client.models.generate_content(model=MODEL, contents=SECRET))
        while not server.requests and not task.done():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.release.set()

    asynchronously(server, cancel)
    (call,) = calls()
    assert call.attributes[semconv.ERROR_TYPE] == "asyncio.exceptions.CancelledError"
    assert call.attributes[semconv.USAGE_SOURCE] == "missing"


def test_a_stream_that_is_cut(client: genai.Client, server: Server, calls: Calls) -> None:
    server.cut = True
    chunks: list[Any] = []
    with pytest.raises(httpx2.RemoteProtocolError):
        chunks.extend(client.models.generate_content_stream(model=MODEL, contents=SECRET))
    (call,) = calls()
    assert call.attributes[semconv.ERROR_TYPE] == "httpx2.RemoteProtocolError"
    assert call.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert call.attributes[semconv.OUTPUT_TOKENS] == 6  # 22 characters
    assert call.failed


def test_an_error_in_a_stream(client: genai.Client, server: Server, calls: Calls) -> None:
    server.broken = True
    with pytest.raises(errors.ServerError, match="overloaded"):
        list(client.models.generate_content_stream(model=MODEL, contents=SECRET))
    (call,) = calls()
    assert call.attributes[semconv.ERROR_TYPE] == "UNAVAILABLE"
    assert call.failed


def test_an_error_is_the_librarys_own(client: genai.Client, server: Server, calls: Calls) -> None:
    server.status = 400
    with pytest.raises(errors.ClientError) as raised:
        client.models.generate_content(model=MODEL, contents=SECRET)
    assert raised.value.code == 400
    with pytest.raises(errors.ClientError):
        list(client.models.generate_content_stream(model=MODEL, contents=SECRET))
    for call in calls():
        assert call.attributes[semconv.ERROR_TYPE] == "google.genai.errors.ClientError"
        assert call.attributes[semconv.USAGE_SOURCE] == "missing"
        assert call.failed


def test_a_time_out(server: Server, calls: Calls) -> None:
    server.slow = True
    with client_of(server, timeout=50) as client, pytest.raises(httpx2.ReadTimeout):
        client.models.generate_content(model=MODEL, contents=SECRET)
    server.release.set()
    (call,) = calls()
    assert call.attributes[semconv.ERROR_TYPE] == "httpx2.ReadTimeout"


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_is_tried_again_is_one_call(server: Server, calls: Calls, stream: bool) -> None:
    server.failures = 2
    retries = types.HttpRetryOptions(attempts=3, initial_delay=0.001, max_delay=0.002, jitter=0)
    with client_of(server, retry_options=retries) as client:
        if stream:
            list(client.models.generate_content_stream(model=MODEL, contents=SECRET))
        else:
            client.models.generate_content(model=MODEL, contents=SECRET)
    (call,) = calls()
    assert len(server.requests) == 3
    assert call.attributes[semconv.ATTEMPTS] == 3
    assert_measured(call)


@both_ways
def test_an_asynchronous_request_that_is_tried_again(
    server: Server, calls: Calls, asynchronously: Callable[..., Any]
) -> None:
    server.failures = 1
    retries = types.HttpRetryOptions(attempts=2, initial_delay=0.001, max_delay=0.002, jitter=0)
    config = types.GenerateContentConfig(http_options=types.HttpOptions(retry_options=retries))

    async def ask(client: Any) -> None:
        await client.models.generate_content(model=MODEL, contents=SECRET, config=config)

    asynchronously(server, ask)
    (call,) = calls()
    assert call.attributes[semconv.ATTEMPTS] == 2
    assert_measured(call)


@pytest.mark.parametrize("counts", [None, {}, {"promptTokenCount": None}, {"promptTokenCount": "many"}])
def test_no_usage_is_missing_usage(
    client: genai.Client, server: Server, calls: Calls, counts: dict[str, Any] | None
) -> None:
    server.counts = counts
    if counts is None or "many" not in counts.values():
        client.models.generate_content(model=MODEL, contents=SECRET)
    else:
        with pytest.raises(ValueError, match="promptTokenCount"):  # the library's own
            client.models.generate_content(model=MODEL, contents=SECRET)
    (call,) = calls()
    assert call.attributes[semconv.USAGE_SOURCE] == "missing"
    assert usage_of(call) == {}


def test_what_is_left_out_of_a_whole_answer_is_nothing(
    client: genai.Client, server: Server, calls: Calls
) -> None:
    server.counts = {"promptTokenCount": 5, "totalTokenCount": 5}
    server.answer = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": server.counts}
    client.models.generate_content(model=MODEL, contents=SECRET)
    assert usage_of(calls()[0]) == {semconv.INPUT_TOKENS: 5, semconv.OUTPUT_TOKENS: 0}


def test_a_long_answer(client: genai.Client, server: Server, calls: Calls) -> None:
    server.answer = server.generated("x" * 100_000, COUNTS, finishReason="STOP")
    client.models.generate_content(model=MODEL, contents=SECRET)
    assert_measured(calls()[0])


@pytest.mark.parametrize(
    ("version", "searches"), [("gemini-2.5-flash-002", 1), ("gemini-3-pro-preview", 2), ("gemini-4-argon", 2)]
)
def test_grounding_is_billed_by_prompt_or_by_query(
    client: genai.Client, server: Server, calls: Calls, version: str, searches: int
) -> None:
    grounding = {"webSearchQueries": ["weight of a penny", "", "penny mass"]}
    answer = server.generated("3.56 g", COUNTS, finishReason="STOP", groundingMetadata=grounding)
    server.answer = {**answer, "modelVersion": version}
    client.models.generate_content(model=MODEL, contents=SECRET)
    assert calls()[0].attributes[semconv.WEB_SEARCHES] == searches


def test_candidates_are_counted_together(client: genai.Client, server: Server, calls: Calls) -> None:
    config = types.GenerateContentConfig(candidate_count=3)
    client.models.generate_content(model=MODEL, contents=SECRET, config=config)
    assert_measured(calls()[0])


def test_embeddings(client: genai.Client, server: Server, calls: Calls) -> None:
    counts = {"promptTokenCount": 8, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 8}]}
    server.answer = {"embeddings": [{"values": [0.1]}, {"values": [0.2]}], "usageMetadata": counts}
    answer = client.models.embed_content(model="gemini-embedding-001", contents=["one", "two"])
    assert len(answer.embeddings or ()) == 2
    (call,) = calls()
    assert call.name == "embeddings gemini-embedding-001"
    assert usage_of(call) == {semconv.INPUT_TOKENS: 8}


def test_embeddings_of_vertex(vertex: genai.Client, server: Server, calls: Calls) -> None:
    embedding = {"values": [0.1], "statistics": {"token_count": 3, "truncated": False}}
    server.answer = {
        "predictions": [{"embeddings": embedding}, {"embeddings": embedding}],
        "metadata": {"billableCharacterCount": 12},
    }
    vertex.models.embed_content(model="text-embedding-005", contents=["one", "two"])
    (call,) = calls()
    assert call.name == "embeddings text-embedding-005"
    assert usage_of(call) == {semconv.INPUT_TOKENS: 6}


def test_vertex(vertex: genai.Client, server: Server, calls: Calls) -> None:
    vertex.models.generate_content(model=MODEL, contents=SECRET)
    vertex.models.generate_content(model="projects/mint/locations/europe-west4/endpoints/77", contents=SECRET)
    ours, tuned = calls()
    assert_measured(ours)
    assert tuned.attributes[semconv.REQUEST_MODEL] == "endpoints/77"
    assert "publishers/google/models/gemini-2.5-flash:generateContent" in server.requests[0][0]


def test_images(vertex: genai.Client, server: Server, calls: Calls) -> None:
    server.answer = {
        "predictions": [
            {"bytesBase64Encoded": "AAAA", "mimeType": "image/png"},
            {"bytesBase64Encoded": "AAAA", "mimeType": "image/png"},
            {"raiFilteredReason": "58061214"},
        ]
    }
    config = types.GenerateImagesConfig(number_of_images=3, image_size="2K", include_rai_reason=True)
    vertex.models.generate_images(model="imagen-4.0-generate-001", prompt=SECRET, config=config)
    (call,) = calls()
    assert call.name == "image_generation imagen-4.0-generate-001"
    assert usage_of(call) == {semconv.IMAGES: 2}
    assert call.attributes[semconv.IMAGE_SIZE] == "2K"


def test_upscaling(vertex: genai.Client, server: Server, calls: Calls) -> None:
    server.answer = {"predictions": [{"bytesBase64Encoded": "AAAA", "mimeType": "image/png"}]}
    image = types.Image(image_bytes=b"abc", mime_type="image/png")
    vertex.models.upscale_image(model="imagen-4.0-upscale-preview", image=image, upscale_factor="x2")
    assert usage_of(calls()[0]) == {semconv.IMAGES: 1}


def test_videos(vertex: genai.Client, server: Server, calls: Calls) -> None:
    name = "projects/mint/locations/europe-west4/publishers/google/models/veo-3.1/operations/1"
    server.answer = {"name": name}
    config = types.GenerateVideosConfig(duration_seconds=8, number_of_videos=2)
    source = types.GenerateVideosSource(prompt=SECRET)
    operation = vertex.models.generate_videos(model="veo-3.1", source=source, config=config)
    vertex.operations.get(operation)
    vertex.models.generate_videos(model="veo-3.1", source=source)
    told, untold = calls()  # and the poll is free
    assert told.name == "video_generation veo-3.1"
    assert usage_of(told) == {semconv.VIDEO_SECONDS: 16}
    assert told.attributes[semconv.RESPONSE_ID] == name
    assert untold.attributes[semconv.USAGE_SOURCE] == "missing"


def test_what_is_free(client: genai.Client, server: Server, calls: Calls) -> None:
    server.answer = {"totalTokens": 7}
    assert client.models.count_tokens(model=MODEL, contents=SECRET).total_tokens == 7
    server.answer = {"models": [{"name": f"models/{MODEL}"}]}
    assert len(client.models.list()) == 1
    assert calls() == []


BATCH = {
    "name": "batches/b1",
    "metadata": {
        "model": f"models/{MODEL}",
        "state": "BATCH_STATE_SUCCEEDED",
        "createTime": "2026-11-20T10:00:00.123456789Z",
        "endTime": "2026-11-20T11:00:00Z",
        "output": {
            "inlinedResponses": {
                "inlinedResponses": [
                    {"response": {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4}}},
                    {"error": {"code": 3, "message": "no"}},
                    {"response": {"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 6}}},
                ]
            }
        },
    },
}


def test_a_batch_is_charged_once_however_often_it_is_read(
    client: genai.Client, server: Server, calls: Calls
) -> None:
    server.answer = BATCH
    client.batches.get(name="batches/b1")
    client.batches.get(name="batches/b1")
    spans = calls()
    assert len({(span.trace_id, span.span_id) for span in spans}) == 2
    assert [usage_of(span)[semconv.OUTPUT_TOKENS] for span in spans] == [4, 6, 4, 6]
    for span in spans:
        assert span.attributes[semconv.PROCESSING] == "batch"
        assert span.attributes[semconv.BATCH] == "batches/b1"
        assert span.attributes[semconv.REQUEST_MODEL] == MODEL
        assert round(span.seconds) == 3600


INTERACTION = {
    "id": "int-1",
    "object": "interaction",
    "model": MODEL,
    "status": "completed",
    "created": "2026-11-20T10:00:00Z",
    "updated": "2026-11-20T10:00:05Z",
    "steps": [],
    "usage": {
        "total_input_tokens": 40,
        "total_cached_tokens": 12,
        "total_output_tokens": 9,
        "total_thought_tokens": 30,
        "total_tool_use_tokens": 7,
        "total_tokens": 86,
        "input_tokens_by_modality": [
            {"modality": "audio", "tokens": 15},
            {"modality": "image", "tokens": 5},
            {"modality": "video", "tokens": 4},
        ],
        "cached_tokens_by_modality": [
            {"modality": "audio", "tokens": 8},
            {"modality": "image", "tokens": 1},
            {"modality": "video", "tokens": 3},
        ],
        "output_tokens_by_modality": [{"modality": "image", "tokens": 3}, {"modality": "video", "tokens": 2}],
        "grounding_tool_count": [{"type": "google_search", "count": 2}, {"type": "retrieval", "count": 1}],
    },
}


def test_an_interaction_is_charged_once(client: genai.Client, server: Server, calls: Calls) -> None:
    server.answer = INTERACTION
    assert type(client.interactions.create(model=MODEL, input=SECRET)) is interactions.Interaction
    assert client.interactions.get("int-1").model == MODEL
    made, read = calls()
    assert (made.trace_id, made.span_id) == (read.trace_id, read.span_id)
    for call in (made, read):
        assert call.name == f"generate_content {MODEL}"
        assert call.attributes[semconv.RESPONSE_ID] == "int-1"
        assert usage_of(call) == {**USAGE, semconv.WEB_SEARCHES: 2}
        assert "weigh" not in str(call.attributes)


def interacted() -> Iterator[dict[str, Any]]:
    """Return the events of an interaction, as they come."""
    begun = {"id": "int-1", "object": "interaction", "model": MODEL, "status": "in_progress"}
    yield {"event_type": "interaction.created", "interaction": {**begun, "created": INTERACTION["created"]}}
    for word in WORDS:
        yield {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": word}}
    yield {"event_type": "interaction.completed", "interaction": INTERACTION}


def test_an_interaction_that_is_streamed(client: genai.Client, calls: Calls) -> None:
    stream: Any = client.interactions.create(model=MODEL, input=SECRET, stream=True)
    kinds = [event.event_type for event in stream]
    assert kinds == ["interaction.created", *["step.delta"] * 3, "interaction.completed"]
    left: Any = client.interactions.create(model=MODEL, input=SECRET, stream=True)
    for event in left:
        if event.event_type == "step.delta":
            break
    left.close()
    whole, cut = calls()
    assert usage_of(whole) == {**USAGE, semconv.WEB_SEARCHES: 2}
    assert whole.attributes[semconv.RESPONSE_ID] == "int-1"
    assert cut.attributes[semconv.USAGE_SOURCE] == "estimated"
    assert cut.attributes[semconv.OUTPUT_TOKENS] >= 2
    assert (whole.trace_id, whole.span_id) == (cut.trace_id, cut.span_id)


@both_ways
def test_an_asynchronous_interaction(
    server: Server, calls: Calls, asynchronously: Callable[..., Any]
) -> None:
    async def read(client: Any) -> int:
        stream = await client.interactions.create(model=MODEL, input=SECRET, stream=True)
        return len([event async for event in stream])

    assert asynchronously(server, read) == 5
    assert usage_of(calls()[0]) == {**USAGE, semconv.WEB_SEARCHES: 2}


def test_an_interaction_in_the_background_is_charged_when_it_is_read(
    client: genai.Client, server: Server, calls: Calls
) -> None:
    server.answer = {**INTERACTION, "status": "in_progress", "usage": None}
    client.interactions.create(model=MODEL, input=SECRET, background=True)
    assert calls() == []
    server.answer = INTERACTION
    client.interactions.get("int-1")
    (call,) = calls()
    assert usage_of(call)[semconv.INPUT_TOKENS] == 47


def test_an_interaction_that_nobody_can_read_again_stays_in_its_trace(
    client: genai.Client, server: Server, calls: Calls
) -> None:
    server.answer = INTERACTION
    for _ in range(2):
        client.interactions.create(model=MODEL, input=SECRET, store=False)
    one, other = calls()
    assert one.span_id != other.span_id


def test_hosts() -> None:
    assert name_of_host("generativelanguage.googleapis.com") == "gcp.gemini"
    assert name_of_host("aiplatform.googleapis.com") == "gcp.vertex_ai"
    assert name_of_host("europe-west4-aiplatform.googleapis.com") == "gcp.vertex_ai"
    assert name_of_host("aiplatform.eu.rep.googleapis.com") == "gcp.vertex_ai"


def test_all_hooks_are_in_place_and_go_again(server: Server, sink: Sink) -> None:
    from google.genai import _api_client
    from google.genai._gaos import basesdk

    places = {"google.genai._api_client": _api_client, "google.genai._gaos.basesdk": basesdk}

    def found() -> list[Any]:
        hooks = PROVIDER.shape.hooks(PROVIDER)
        return [vars(getattr(places[h.module], h.name.split(".")[0]))[h.name.split(".")[1]] for h in hooks]

    before = found()
    pennytrace.init(endpoint=sink.url, service="shop")
    assert all(hasattr(hook, "__wrapped__") for hook in found())
    pennytrace.shutdown(timeout=1)
    assert found() == before


def test_a_client_of_ones_own_class(server: Server, calls: Calls) -> None:
    class Ours(genai.Client):
        pass

    options = types.HttpOptions(base_url=server.url)
    with Ours(api_key="none", http_options=options) as client:
        client.models.generate_content(model=MODEL, contents=SECRET)
    assert_measured(calls()[0])


def test_a_fault_of_telemetry_is_not_the_apps(
    client: genai.Client, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pennytrace._calls.reading.Reading.take", None)
    assert len(list(client.models.generate_content_stream(model=MODEL, contents=SECRET))) == 4
    answer = client.models.generate_content(model=MODEL, contents=SECRET)
    assert answer.text == "A penny weighs 3.56 g."
    assert calls()


def test_a_library_that_has_changed_is_left_alone(
    client: genai.Client, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("google.genai._gaos.basesdk.BaseSDK.do_request")
    pennytrace.init(endpoint=sink.url, service="shop")
    client.models.generate_content(model=MODEL, contents=SECRET)
    assert pennytrace.flush(30)
    assert_measured(sink.spans[0])
