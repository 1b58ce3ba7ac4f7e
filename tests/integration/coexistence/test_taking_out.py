"""`shutdown` leaves the library's methods as they were, whatever others have put around and beside them since."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, Final

import openai
import pytest
import wrapt
from openai._base_client import SyncAPIClient

import pennytrace
from tests.instrumentation.provider import Provider
from tests.instrumentation.sink import Sink

ORIGINAL: Final = vars(SyncAPIClient)["request"]


@pytest.fixture
def client(answering: Provider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="none", base_url=answering.url, max_retries=0) as client:
        yield client


@pytest.fixture(autouse=True)
def put_back(monkeypatch: pytest.MonkeyPatch, sink: Sink) -> Iterator[None]:
    sink.reset()
    monkeypatch.setattr(SyncAPIClient, "request", ORIGINAL)
    yield
    pennytrace.shutdown()


@pytest.fixture
def calls(client: openai.OpenAI, sink: Sink) -> Callable[[], int]:
    """Make a call and return how many have been recorded since the last time."""

    def make() -> int:
        sink.reset()
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "penny?"}])
        assert pennytrace.flush(30)
        return len(sink.spans)

    return make


def start(sink: Sink) -> None:
    pennytrace.init(endpoint=sink.url, service="shop")


def pass_on(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return wrapped(*args, **kwargs)


def test_from_under_a_wrapper_that_came_after(calls: Callable[[], int], sink: Sink) -> None:
    start(sink)
    theirs = wrapt.wrap_function_wrapper(SyncAPIClient, "request", pass_on)
    assert calls() == 1

    pennytrace.shutdown()

    assert vars(SyncAPIClient)["request"] is theirs
    assert theirs.__wrapped__ is ORIGINAL
    assert calls() == 0


def test_from_under_a_wrapper_on_a_subclass(
    calls: Callable[[], int], sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(sink)
    theirs = wrapt.FunctionWrapper(vars(SyncAPIClient)["request"], pass_on)
    monkeypatch.setattr(openai.OpenAI, "request", theirs, raising=False)
    assert calls() == 1

    pennytrace.shutdown()

    assert theirs.__wrapped__ is ORIGINAL
    assert vars(SyncAPIClient)["request"] is ORIGINAL


def test_a_copy_on_a_subclass_is_seen_too(
    calls: Callable[[], int], sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai.OpenAI, "request", ORIGINAL, raising=False)

    start(sink)

    assert calls() == 1
    pennytrace.shutdown()
    assert vars(openai.OpenAI)["request"] is ORIGINAL


def test_a_wrapper_that_hides_what_it_calls_keeps_ours_and_stays_single(
    calls: Callable[[], int], sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(sink)
    found = SyncAPIClient.request

    @functools.wraps(found)
    def theirs(*args: Any, **kwargs: Any) -> Any:
        return found(*args, **kwargs)

    monkeypatch.setattr(SyncAPIClient, "request", theirs)
    pennytrace.shutdown()
    assert calls() == 0

    start(sink)

    assert calls() == 1


def test_an_override_of_the_apps_own_is_left_alone(
    answering: Provider, calls: Callable[[], int], sink: Sink
) -> None:
    class Patient(openai.OpenAI):
        def request(self, *args: Any, **kwargs: Any) -> Any:
            return super().request(*args, **kwargs)

    override = vars(Patient)["request"]

    start(sink)

    assert vars(Patient)["request"] is override
    with Patient(api_key="none", base_url=answering.url, max_retries=0) as client:
        client.embeddings.create(model="text-embedding-3-small", input="penny")
    assert pennytrace.flush(30)
    assert len(sink.spans) == 1
