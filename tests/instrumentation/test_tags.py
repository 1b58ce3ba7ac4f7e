"""Tags nest, follow tasks and threads, stay inside generators, and never harm the app."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pennytrace
from pennytrace import semconv
from pennytrace._attribution.tags import current_tags
from tests.instrumentation.conftest import Calls
from tests.instrumentation.provider import MODEL

MESSAGES: Any = [{"role": "user", "content": "?"}]
KEYS = ("feature", "team", "customer", "user", "session")


def feature() -> str | None:
    return current_tags().get(semconv.FEATURE)


def test_every_tag_is_sent_under_its_name(client: openai.OpenAI, calls: Calls) -> None:
    with pennytrace.tag(
        feature="search", team="core", customer="acme", user="u1", session="s1", tier="gold", size=3
    ):
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
    sent = calls()[0].attributes
    assert sent[semconv.FEATURE] == "search"
    assert sent[semconv.FEATURE_SOURCE] == "tag"
    assert sent[semconv.TEAM] == "core"
    assert sent[semconv.CUSTOMER] == "acme"
    assert sent[semconv.USER_ID] == "u1"
    assert sent[semconv.SESSION_ID] == "s1"
    assert sent["pennytrace.tag.tier"] == "gold"
    assert sent["pennytrace.tag.size"] == "3"


class TestNesting:
    def test_the_inner_tag_wins_key_by_key(self) -> None:
        with pennytrace.tag(feature="outer", team="core"):
            with pennytrace.tag(feature="inner"):
                assert dict(current_tags()) == {semconv.FEATURE: "inner", semconv.TEAM: "core"}
            assert feature() == "outer"
        assert dict(current_tags()) == {}

    def test_none_leaves_what_holds_outside(self) -> None:
        with pennytrace.tag(feature="outer"), pennytrace.tag(feature=None, team="t"):
            assert feature() == "outer"

    def test_an_exception_ends_the_tag_and_passes(self) -> None:
        with pytest.raises(KeyError, match="mine"), pennytrace.tag(feature="f"):
            raise KeyError("mine")
        assert feature() is None

    def test_one_tag_can_be_entered_many_times(self) -> None:
        tag = pennytrace.tag(feature="f")
        with tag, tag, tag:
            assert feature() == "f"
        assert feature() is None

    @given(
        st.lists(st.dictionaries(st.sampled_from(KEYS), st.text("abc", min_size=1, max_size=3)), max_size=8)
    )
    def test_any_nesting_is_what_merging_dicts_gives_and_unwinds(self, layers: list[dict[str, str]]) -> None:
        def nest(rest: list[dict[str, str]], expected: dict[str, str]) -> None:
            names = {
                f"pennytrace.{key}" if key in KEYS[:3] else f"{key}.id": v for key, v in expected.items()
            }
            assert dict(current_tags()) == names
            if rest:
                with pennytrace.tag(**rest[0]):
                    nest(rest[1:], {**expected, **rest[0]})
                assert dict(current_tags()) == names

        nest(layers, {})


class TestValues:
    def test_control_characters_go_and_long_values_are_cut(self) -> None:
        with pennytrace.tag(feature="a\x00b\r\nc\x1b[31m", team="x" * 1000):
            assert feature() == "abc[31m"
            assert len(current_tags()[semconv.TEAM]) == 256

    @given(st.one_of(st.text(), st.binary(), st.floats(), st.lists(st.integers()), st.none()))
    def test_any_value_is_taken_without_complaint(self, value: object) -> None:
        with pennytrace.tag(feature=value, anything=value):
            assert all(text and text.isprintable() and len(text) <= 256 for text in current_tags().values())

    def test_a_value_that_cannot_be_shown_is_left_out(self) -> None:
        class Broken:
            def __str__(self) -> str:
                raise RuntimeError("no")

        with pennytrace.tag(feature=Broken(), team="core"):
            assert dict(current_tags()) == {semconv.TEAM: "core"}

    def test_the_number_of_tags_is_bounded(self) -> None:
        many: dict[str, Any] = {f"t{number}": "x" for number in range(1000)}
        with pennytrace.tag(**many):
            assert len(current_tags()) == 32


class TestDecorator:
    def test_fits_a_function_and_keeps_its_face(self) -> None:
        @pennytrace.tag(feature="f")
        def work(item: int, *, times: int = 1) -> tuple[str | None, int]:
            """Do it."""
            return feature(), item * times

        assert work(2, times=3) == ("f", 6)
        assert feature() is None
        assert work.__name__ == "work"
        assert work.__doc__ == "Do it."
        assert list(inspect.signature(work).parameters) == ["item", "times"]

    def test_fits_a_coroutine_function(self) -> None:
        @pennytrace.tag(feature="f")
        async def work() -> str | None:
            await asyncio.sleep(0)
            return feature()

        assert inspect.iscoroutinefunction(work)
        assert asyncio.run(work()) == "f"

    def test_fits_a_generator_and_does_not_leak_to_its_reader(self) -> None:
        @pennytrace.tag(feature="f")
        def numbers() -> Iterator[str | None]:
            with pennytrace.tag(team="inner"):
                yield feature()
                assert current_tags()[semconv.TEAM] == "inner"
                yield feature()

        assert inspect.isgeneratorfunction(numbers)
        seen = []
        with pennytrace.tag(feature="reader"):
            for number in numbers():
                seen.append((number, feature()))
                assert semconv.TEAM not in current_tags()
        assert seen == [("f", "reader"), ("f", "reader")]

    def test_passes_what_is_sent_and_thrown_into_a_generator(self) -> None:
        @pennytrace.tag(feature="f")
        def echo() -> Any:
            got = yield "ready"
            try:
                yield got
            except KeyError as error:
                yield f"caught {error} {feature()}"
            return "done"

        body = echo()
        assert next(body) == "ready"
        assert body.send("hello") == "hello"
        assert body.throw(KeyError("k")) == "caught 'k' f"
        with pytest.raises(StopIteration) as stop:
            next(body)
        assert stop.value.value == "done"

    def test_closing_a_generator_closes_its_body(self) -> None:
        closed = []

        @pennytrace.tag(feature="f")
        def body() -> Generator[int, None, None]:
            try:
                yield 1
            finally:
                closed.append(feature())

        running = body()
        next(running)
        running.close()
        assert closed == ["f"]

    def test_fits_an_asynchronous_generator(self) -> None:
        @pennytrace.tag(feature="f")
        async def numbers() -> AsyncIterator[str | None]:
            yield feature()
            await asyncio.sleep(0)
            yield feature()

        async def read() -> list[tuple[str | None, str | None]]:
            with pennytrace.tag(feature="reader"):
                return [(number, feature()) async for number in numbers()]

        assert inspect.isasyncgenfunction(numbers)
        assert asyncio.run(read()) == [("f", "reader"), ("f", "reader")]

    def test_closing_an_asynchronous_generator_closes_its_body(self) -> None:
        closed = []

        @pennytrace.tag(feature="f")
        async def body() -> Any:
            try:
                got = yield 1
                yield got
            finally:
                closed.append(feature())

        async def read() -> None:
            running = body()
            assert await running.__anext__() == 1
            assert await running.asend("sent") == "sent"
            await running.aclose()

        asyncio.run(read())
        assert closed == ["f"]

    def test_calls_of_one_function_at_the_same_time_do_not_mix(self) -> None:
        @pennytrace.tag(feature="f")
        async def work(name: str) -> str | None:
            with pennytrace.tag(feature=name):
                await asyncio.sleep(0)
                return feature()

        async def main() -> list[str | None]:
            return list(await asyncio.gather(*(work(str(number)) for number in range(20))))

        assert asyncio.run(main()) == [str(number) for number in range(20)]


class TestCarrying:
    def test_tasks_inherit(self) -> None:
        async def main() -> tuple[str | None, str | None]:
            async def inner() -> str | None:
                return feature()

            with pennytrace.tag(feature="f"):
                task = asyncio.create_task(inner())
            return await task, await asyncio.to_thread(feature)

        assert asyncio.run(main()) == ("f", None)

    def test_carry_takes_the_tags_into_a_pool(self) -> None:
        def work(number: int) -> tuple[int, str | None]:
            return number, feature()

        with ThreadPoolExecutor(4) as pool, pennytrace.tag(feature="f"):
            carried = pennytrace.carry(work)
            assert list(pool.map(carried, range(50))) == [(number, "f") for number in range(50)]

    def test_carry_takes_the_tags_into_a_thread(self) -> None:
        seen = []

        def work() -> None:
            seen.append(feature())

        with pennytrace.tag(feature="f"):
            thread = threading.Thread(target=pennytrace.carry(work))
        thread.start()
        thread.join()
        assert seen == ["f"]

    def test_what_a_carried_function_tags_stays_there(self) -> None:
        def work() -> str | None:
            pennytrace.tag(feature="inner").__enter__()
            return feature()

        carried = pennytrace.carry(work)
        assert carried() == "inner"
        assert feature() is None
        assert carried.__name__ == "work"

    def test_a_call_in_a_pool_is_recorded_under_its_tags(self, client: openai.OpenAI, calls: Calls) -> None:
        def ask() -> None:
            client.chat.completions.create(model=MODEL, messages=MESSAGES)

        with ThreadPoolExecutor(1) as pool, pennytrace.tag(feature="batch"):
            pool.submit(pennytrace.carry(ask)).result()
        assert calls()[0].attributes[semconv.FEATURE] == "batch"


class TestLeavingElsewhere:
    @pytest.fixture(autouse=True)
    def nothing_is_said(self, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
        """No "failed to detach", no error that the event loop could not hand to anybody."""
        yield
        assert caplog.records == []

    def test_a_generator_that_the_event_loop_closes_leaves_nothing_on(self) -> None:
        async def numbers() -> AsyncIterator[int]:
            with pennytrace.tag(feature="f"):
                yield 1
                yield 2

        async def main() -> list[str | None]:
            seen = []
            for _ in range(3):
                with pennytrace.tag(team="reader"):
                    async for _ in numbers():
                        break  # it is closed later, in a context of its own
                await asyncio.sleep(0)
                seen.append(feature())
            return seen

        assert asyncio.run(main()) == [None] * 3

    @pytest.mark.parametrize("decorated", [True, False])
    def test_a_generator_that_another_task_closes_leaves_the_tags_of_that_task(self, decorated: bool) -> None:
        async def body() -> AsyncIterator[str | None]:
            with pennytrace.tag(feature="body"):
                yield feature()
                yield feature()

        async def close(running: Any) -> str | None:
            with pennytrace.tag(feature="closer"):
                await running.aclose()
                return feature()

        async def main() -> tuple[str | None, str | None]:
            with pennytrace.tag(feature="reader"):
                running = (pennytrace.tag(team="t")(body) if decorated else body)()
                await running.__anext__()
                closer = await asyncio.create_task(close(running))
            return closer, feature()

        assert asyncio.run(main()) == ("closer", None)

    def test_a_generator_that_is_read_by_many_tasks_has_its_own_tags_in_each(self) -> None:
        @pennytrace.tag(feature="body")
        async def body() -> AsyncIterator[str | None]:
            for _ in range(3):
                await asyncio.sleep(0)
                yield feature()

        async def read(running: Any, name: str) -> tuple[str | None, str | None]:
            with pennytrace.tag(feature=name):
                return await running.__anext__(), feature()

        async def main() -> list[Any]:
            running = body()
            return [await asyncio.create_task(read(running, name)) for name in "abc"]

        assert asyncio.run(main()) == [("body", "a"), ("body", "b"), ("body", "c")]

    def test_a_generator_that_another_thread_closes_leaves_the_tags_of_that_thread(self) -> None:
        def body() -> Iterator[int]:
            with pennytrace.tag(feature="body"):
                yield 1

        seen: list[str | None] = []

        def close() -> None:
            with pennytrace.tag(feature="closer"):
                running.close()
                seen.append(feature())

        def read() -> None:
            with pennytrace.tag(feature="reader"):
                next(running)
                thread = threading.Thread(target=close)
                thread.start()
                thread.join()
            seen.append(feature())

        running: Any = body()
        contextvars.Context().run(read)
        assert seen == ["closer", None]

    def test_a_generator_that_ends_inside_a_tag_of_its_reader_leaves_that_on(self) -> None:
        def body() -> Iterator[int]:
            with pennytrace.tag(feature="body"):
                yield 1

        running = body()
        with pennytrace.tag(team="reader"):
            next(running)
            with pennytrace.tag(feature="rest"):
                assert list(running) == []
                assert feature() == "rest"
            assert dict(current_tags()) == {semconv.TEAM: "reader"}

    def test_a_cancelled_task_leaves_its_tags(self) -> None:
        left = []

        @pennytrace.tag(feature="f")
        async def work() -> None:
            try:
                await asyncio.sleep(10)
            finally:
                left.append(feature())

        async def main() -> str | None:
            task = asyncio.create_task(work())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return feature()

        assert asyncio.run(main()) is None
        assert left == ["f"]

    def test_a_coroutine_that_is_dropped_takes_nobody_elses_tags_off(self) -> None:
        @pennytrace.tag(feature="f")
        async def work(other: Any = None) -> str | None:
            with pennytrace.tag(team="t"):
                if other is None:
                    await asyncio.sleep(10)
                else:
                    other.close()
                return feature()

        async def main() -> str | None:
            dropped: Any = work()
            contextvars.Context().run(dropped.send, None)
            return await work(dropped)

        assert asyncio.run(main()) == "f"
