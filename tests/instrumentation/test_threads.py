"""What is started or submitted inside a tag runs inside it; outside of tags, and after it, nothing is changed."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import inspect
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import openai
import pytest

import pennytrace
from pennytrace import semconv
from pennytrace._attribution.tags import current_tags
from tests.instrumentation.conftest import Calls
from tests.instrumentation.processes import python
from tests.instrumentation.provider import MODEL

MESSAGES: Any = [{"role": "user", "content": "?"}]

pytestmark = pytest.mark.usefixtures("recording")


def feature() -> str | None:
    return current_tags().get(semconv.FEATURE)


def run_in(thread: threading.Thread) -> None:
    thread.start()
    thread.join()


class TestPools:
    def test_a_call_is_recorded_under_the_tags_of_its_submission(
        self, client: openai.OpenAI, calls: Calls
    ) -> None:
        def ask() -> None:
            client.chat.completions.create(model=MODEL, messages=MESSAGES)

        with ThreadPoolExecutor(1) as pool:
            with pennytrace.tag(feature="batch", user="u1"):
                pool.submit(ask).result()
            pool.submit(ask).result()
        tagged, plain = calls()
        assert tagged.attributes[semconv.FEATURE] == "batch"
        assert tagged.attributes[semconv.USER_ID] == "u1"
        assert plain.attributes[semconv.FEATURE_SOURCE] == "function"

    def test_map_takes_the_tags_along(self) -> None:
        def work(number: int) -> tuple[int, str | None]:
            return number, feature()

        with ThreadPoolExecutor(4) as pool, pennytrace.tag(feature="f"):
            assert list(pool.map(work, range(50))) == [(number, "f") for number in range(50)]

    def test_run_in_executor_takes_the_tags_along(self) -> None:
        async def main(pool: ThreadPoolExecutor) -> list[str | None]:
            loop = asyncio.get_running_loop()
            with pennytrace.tag(feature="f"):
                inside = [loop.run_in_executor(pool, feature), loop.run_in_executor(None, feature)]
            return [*(await asyncio.gather(*inside)), await loop.run_in_executor(pool, feature)]

        with ThreadPoolExecutor(1) as pool:
            assert asyncio.run(main(pool)) == ["f", "f", None]

    def test_to_thread_takes_the_tags_along(self) -> None:
        async def main() -> tuple[str | None, str | None]:
            with pennytrace.tag(feature="f"):
                inside = await asyncio.to_thread(feature)
            return inside, await asyncio.to_thread(feature)

        assert asyncio.run(main()) == ("f", None)

    def test_a_worker_keeps_nothing_for_the_next_ones_work(self) -> None:
        def leaves_a_tag_on() -> str | None:
            pennytrace.tag(feature="left on").__enter__()
            return feature()

        with ThreadPoolExecutor(1) as pool:
            with pennytrace.tag(feature="first"):  # this submission also starts the only worker
                assert pool.submit(leaves_a_tag_on).result() == "left on"
            assert pool.submit(feature).result() is None
            with pennytrace.tag(team="second"):
                assert pool.submit(lambda: dict(current_tags())).result() == {semconv.TEAM: "second"}

    def test_the_one_who_submits_keeps_the_tags(self) -> None:
        with ThreadPoolExecutor(1) as pool, pennytrace.tag(feature="f"):
            pool.submit(feature).result()
            assert feature() == "f"

    def test_work_that_submits_work_hands_the_tags_on(self) -> None:
        with ThreadPoolExecutor(2) as pool:

            def outer() -> Future[str | None]:
                with pennytrace.tag(team="inner"):
                    return pool.submit(feature)

            with pennytrace.tag(feature="f"):
                submitted = pool.submit(outer)
            assert submitted.result().result() == "f"

    def test_results_and_errors_are_the_apps_own(self) -> None:
        def divides(number: int, *, by: int) -> float:
            return number / by

        with ThreadPoolExecutor(1) as pool, pennytrace.tag(feature="f"):
            assert pool.submit(divides, 6, by=3).result() == 2
            error = pool.submit(divides, 6, by=0).exception()
        assert type(error) is ZeroDivisionError
        assert traceback.extract_tb(error.__traceback__)[-1].name == "divides"

    def test_keyword_arguments_of_any_name_reach_the_function(self) -> None:
        def work(**given: int) -> dict[str, int]:
            return given

        with ThreadPoolExecutor(1) as pool, pennytrace.tag(feature="f"):
            assert pool.submit(work, self=1, fn=2, tags=3, function=4, original=5).result() == {
                "self": 1,
                "fn": 2,
                "tags": 3,
                "function": 4,
                "original": 5,
            }

    def test_a_pool_that_is_shut_down_says_so_as_ever(self) -> None:
        pool = ThreadPoolExecutor(1)
        pool.shutdown()
        with pennytrace.tag(feature="f"), pytest.raises(RuntimeError, match="after shutdown"):
            pool.submit(feature)
        assert feature() is None

    def test_a_subclass_that_submits_through_its_parent_is_served(self) -> None:
        class Counting(ThreadPoolExecutor):
            submitted = 0

            def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
                self.submitted += 1
                assert fn is feature
                return super().submit(fn, *args, **kwargs)

        with Counting(1) as pool, pennytrace.tag(feature="f"):
            assert pool.submit(feature).result() == "f"
            assert pool.submitted == 1

    def test_submit_keeps_its_face(self) -> None:
        assert ThreadPoolExecutor.submit.__qualname__ == "ThreadPoolExecutor.submit"
        assert list(inspect.signature(ThreadPoolExecutor.submit).parameters) == [
            "self",
            "fn",
            "args",
            "kwargs",
        ]

    def test_that_the_app_imports_later_are_served(self) -> None:
        code = """
import sys, pennytrace
assert "concurrent.futures.thread" not in sys.modules
pennytrace.init(endpoint="http://127.0.0.1:9")
assert "concurrent.futures.thread" not in sys.modules
from concurrent.futures import ThreadPoolExecutor
from pennytrace._attribution.tags import current_tags
with ThreadPoolExecutor(1) as pool, pennytrace.tag(feature="late"):
    print(pool.submit(lambda: dict(current_tags())).result())
"""
        assert python(code).stdout.strip() == "{'pennytrace.feature': 'late'}"


class TestThreads:
    def test_see_the_tags_of_the_place_where_they_are_started(self) -> None:
        seen = []
        with pennytrace.tag(feature="made"):
            thread = threading.Thread(target=lambda: seen.append(feature()))
        with pennytrace.tag(feature="started"):
            thread.start()
        thread.join()
        assert seen == ["started"]

    def test_of_a_class_with_its_own_run_see_them(self) -> None:
        class Worker(threading.Thread):
            seen: str | None = None

            def run(self) -> None:
                self.seen = feature()

        with pennytrace.tag(feature="f"):
            worker = Worker()
            run_in(worker)
        assert worker.seen == "f"

    def test_that_were_given_a_run_of_their_own_see_them_and_keep_it(self) -> None:
        seen = []
        thread: Any = threading.Thread()
        own = thread.run = lambda: seen.append(feature())
        with pennytrace.tag(feature="f"):
            run_in(thread)
        assert seen == ["f"]
        assert thread.run is own

    def test_that_are_timers_see_them(self) -> None:
        seen = []
        timer = threading.Timer(0, lambda: seen.append(feature()))
        with pennytrace.tag(feature="f"):
            run_in(timer)
        assert seen == ["f"]

    def test_look_as_ever_while_they_run_and_after(self) -> None:
        looks = []
        thread = threading.Thread(target=lambda: looks.append("run" in vars(threading.current_thread())))
        with pennytrace.tag(feature="f"):
            run_in(thread)
        assert looks == [False]
        assert "run" not in vars(thread)
        assert thread.run.__func__ is threading.Thread.run  # type: ignore[attr-defined]

    def test_that_cannot_be_started_are_left_as_they_were(self) -> None:
        thread = threading.Thread(target=int)
        run_in(thread)
        with pennytrace.tag(feature="f"), pytest.raises(RuntimeError, match="only be started once"):
            thread.start()
        assert "run" not in vars(thread)

    def test_that_fail_tell_it_as_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        told: list[Any] = []
        monkeypatch.setattr(threading, "excepthook", told.append)

        def fails() -> None:
            raise KeyError("mine")

        thread = threading.Thread(target=fails)
        with pennytrace.tag(feature="f"):
            run_in(thread)
        (failure,) = told
        assert failure.exc_type is KeyError
        assert failure.thread is thread
        assert traceback.extract_tb(failure.exc_traceback)[-1].name == "fails"

    def test_start_threads_that_see_the_tags_too(self) -> None:
        seen = []

        def outer() -> None:
            run_in(threading.Thread(target=lambda: seen.append(feature())))

        with pennytrace.tag(feature="f"):
            run_in(threading.Thread(target=outer))
        assert seen == ["f"]

    def test_hold_nothing_longer_than_without_us(self) -> None:
        class Big:
            pass

        gc.disable()
        try:
            big = Big()
            last = weakref.ref(big)
            thread = threading.Thread(target=lambda thing: None, args=(big,))
            held = weakref.ref(thread)
            with pennytrace.tag(feature="f"):
                run_in(thread)
            del big
            assert last() is None
            del thread
            assert held() is None
            with ThreadPoolExecutor(1) as pool, pennytrace.tag(feature="f"):
                big = Big()
                last = weakref.ref(big)
                pool.submit(id, big).result()
                del big
                pool.submit(int).result()  # when this is done, the worker has let go of what was before
                assert last() is None
        finally:
            gc.enable()

    @pytest.mark.skipif(sys.version_info >= (3, 14), reason="threads may inherit the whole context there")
    def test_do_not_see_the_apps_own_context_variables(self) -> None:
        own = contextvars.ContextVar("own", default="default")
        own.set("set here")
        with ThreadPoolExecutor(1) as pool, pennytrace.tag(feature="f"):
            assert pool.submit(lambda: (feature(), own.get())).result() == ("f", "default")


class TestShutdown:
    def test_puts_everything_back(self) -> None:
        pennytrace.shutdown(0)
        original = threading.Thread.start, ThreadPoolExecutor.submit
        assert not any(hasattr(function, "__wrapped__") for function in original)
        pennytrace.init(endpoint="http://127.0.0.1:9")
        assert (threading.Thread.start, ThreadPoolExecutor.submit) != original
        pennytrace.shutdown(0)
        assert (threading.Thread.start, ThreadPoolExecutor.submit) == original

    def test_leaves_what_was_submitted_with_its_tags(self) -> None:
        go = threading.Event()

        def work() -> str | None:
            go.wait(10)
            return feature()

        with ThreadPoolExecutor(1) as pool, pennytrace.tag(feature="f"):
            before = pool.submit(work)
            pennytrace.shutdown(0)
            after = pool.submit(work)
            go.set()
            assert (before.result(), after.result()) == ("f", None)

    def test_leaves_a_wrapper_around_ours_working(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ours: Any = ThreadPoolExecutor.submit

        @functools.wraps(ours)
        def theirs(*args: Any, **kwargs: Any) -> Any:
            return ours(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(ThreadPoolExecutor, "submit", theirs)
            pennytrace.shutdown(0)
            assert ThreadPoolExecutor.submit is theirs
            with ThreadPoolExecutor(1) as pool, pennytrace.tag(feature="f"):
                assert pool.submit(feature).result() is None
                pennytrace.init(endpoint="http://127.0.0.1:9")
                assert pool.submit(feature).result() == "f"


class TestBesideOpenTelemetrys:
    @pytest.fixture
    def instrumented(self) -> Iterator[None]:
        threading_of_otel = pytest.importorskip("opentelemetry.instrumentation.threading")
        instrumentor = threading_of_otel.ThreadingInstrumentor()
        instrumentor.instrument()
        yield
        instrumentor.uninstrument()

    def test_both_contexts_arrive(self, instrumented: None) -> None:
        from opentelemetry import baggage, context

        def seen() -> tuple[str | None, object]:
            return feature(), baggage.get_baggage("theirs")

        from_threads = []
        token = context.attach(baggage.set_baggage("theirs", "there"))
        try:
            with ThreadPoolExecutor(1) as pool, pennytrace.tag(feature="f"):
                assert pool.submit(seen).result() == ("f", "there")
                run_in(threading.Thread(target=lambda: from_threads.append(seen())))
                run_in(threading.Timer(0, lambda: from_threads.append(seen())))
        finally:
            context.detach(token)
        assert from_threads == [("f", "there")] * 2
