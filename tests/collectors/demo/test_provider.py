"""The simulated provider, asked by the real SDK: it answers, streams, caches, bills and fails as the real ones do."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import openai
import pytest

from pennytrace_collectors.demo.provider import Books, serving
from pennytrace_collectors.demo.provider.app import Delays, application

NO_DELAYS = Delays(first_word=(0, 0), word=0)
LONG = "The handbook of the shop. " * 300


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def url(books: Books) -> Iterator[str]:
    with serving(application(books, delays=NO_DELAYS, faults=False)) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="none", base_url=f"{url}/v1", max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, prompt: str = "Hello", model: str = "gpt-4o-mini", **more: Any) -> Any:
    messages: list[Any] = [{"role": "user", "content": prompt}]
    return client.chat.completions.create(model=model, messages=messages, **more)


def test_a_completion_looks_like_a_real_one(client: openai.OpenAI, books: Books) -> None:
    completion = ask(client)
    assert completion.model == "gpt-4o-mini-2024-07-18"
    assert completion.id.startswith("chatcmpl-")
    assert len(completion.id) == 38
    assert completion.service_tier == "default"
    assert completion.choices[0].message.content.startswith("(Simulated.) ")
    assert (
        completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    )
    (line,) = books.lines().values()
    assert (line.input_tokens, line.output_tokens) == (
        completion.usage.prompt_tokens,
        completion.usage.completion_tokens,
    )


def test_a_stream_without_include_usage_has_no_usage(client: openai.OpenAI, books: Books) -> None:
    chunks = list(ask(client, stream=True))
    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    assert (
        books.lines()["gpt-4o-mini-2024-07-18"].output_tokens == len(chunks) - 2
    )  # its first and last are empty


def test_a_stream_with_include_usage_has_it_in_one_last_chunk(client: openai.OpenAI, books: Books) -> None:
    *words, last = ask(client, stream=True, stream_options={"include_usage": True})
    assert all(chunk.choices and chunk.usage is None for chunk in words)
    assert last.choices == []
    assert last.usage.completion_tokens == books.lines()[last.model].output_tokens > 0
    assert len({chunk.id for chunk in (*words, last)}) == 1


async def stream_and_wait(url: str) -> list[float]:
    async with openai.AsyncOpenAI(api_key="none", base_url=f"{url}/v1") as client:
        stream = await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "Hello"}], stream=True
        )
        return [time.monotonic() async for _ in stream]


def test_words_leave_one_by_one(books: Books) -> None:
    slow = Delays(first_word=(0, 0), word=0.02)
    with serving(application(books, delays=slow, faults=False)) as url:
        moments = asyncio.run(stream_and_wait(url))
    assert moments[-1] - moments[0] > 0.01 * len(moments)


def test_a_long_beginning_is_read_from_the_cache_the_second_time(client: openai.OpenAI, books: Books) -> None:
    first = ask(client, LONG + "One?").usage
    second = ask(client, LONG + "Two?").usage
    assert first.prompt_tokens_details.cached_tokens == 0
    cached = second.prompt_tokens_details.cached_tokens
    assert 1024 <= cached <= second.prompt_tokens
    assert cached % 128 == 0
    assert books.lines()["gpt-4o-mini-2024-07-18"].cached_tokens == cached


def test_a_reasoning_model_counts_its_reasoning_as_output(client: openai.OpenAI) -> None:
    usage = ask(client, model="o4-mini").usage
    assert 0 < usage.completion_tokens_details.reasoning_tokens < usage.completion_tokens


def test_a_limit_cuts_the_answer(client: openai.OpenAI) -> None:
    completion = ask(client, max_completion_tokens=5)
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage.completion_tokens == 5


def test_a_service_tier_that_was_asked_for_is_given(client: openai.OpenAI) -> None:
    assert ask(client, service_tier="flex").service_tier == "flex"


@pytest.mark.parametrize("encoding", [None, "float"])
def test_embeddings_arrive_in_both_encodings(
    client: openai.OpenAI, books: Books, encoding: str | None
) -> None:
    more: Any = {"encoding_format": encoding} if encoding else {}
    answer = client.embeddings.create(model="text-embedding-3-small", input=["a tent", "a stove"], **more)
    assert [len(item.embedding) for item in answer.data] == [1536, 1536]
    assert answer.usage.prompt_tokens == books.lines()["text-embedding-3-small"].input_tokens > 0


def test_the_books_are_kept_in_money_too(client: openai.OpenAI, books: Books) -> None:
    for question in ("One?", "Two?"):
        ask(client, LONG + question)
    ask(client, model="house-ranker-7b")
    line = books.lines()["gpt-4o-mini-2024-07-18"]
    fresh = line.input_tokens - line.cached_tokens
    cost = (
        fresh * Decimal("0.15") + line.cached_tokens * Decimal("0.075") + line.output_tokens * Decimal("0.6")
    ) / 1_000_000
    assert line.cost == cost
    assert books.lines()["house-ranker-7b"].cost is None


def test_what_cannot_be_read_is_refused(client: openai.OpenAI, books: Books) -> None:
    with pytest.raises(openai.BadRequestError, match="Missing required parameter: 'messages'"):
        client.chat.completions.create(model="gpt-4o", messages=[])
    assert books.lines() == {}


def test_the_sdk_gets_through_the_errors_of_a_busy_provider(books: Books) -> None:
    with (
        serving(application(books, delays=NO_DELAYS)) as url,
        openai.OpenAI(api_key="none", base_url=f"{url}/v1") as client,
    ):
        for _ in range(45):
            client.embeddings.create(model="text-embedding-3-small", input="a tent")
    assert books.turned_away() == {429: 2, 500: 1}
    assert books.lines()["text-embedding-3-small"].calls == 45


def test_its_page_says_that_it_is_simulated_and_what_it_has_billed(client: openai.OpenAI, url: str) -> None:
    ask(client, model="<i>me</i>")
    with urllib.request.urlopen(url) as answer:
        page = answer.read().decode()
    assert "<strong>Everything here is simulated</strong>" in page
    assert "<td>&lt;i&gt;me&lt;/i&gt;</td><td>1</td>" in page


def test_answers_carry_the_label_too(url: str) -> None:
    body = json.dumps({"model": "gpt-4o", "input": "x"}).encode()
    with urllib.request.urlopen(f"{url}/v1/embeddings", body) as answer:
        assert answer.headers["x-simulated"] == "true"
