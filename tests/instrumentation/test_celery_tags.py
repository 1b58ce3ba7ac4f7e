"""Tags hold in the Celery tasks that are sent inside them: a real app, a real broker, a real worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from celery import chain, group, signals  # type: ignore[import-untyped]

import pennytrace
from pennytrace import semconv
from pennytrace._attribution.tags import current_tags
from tests.instrumentation.celery_app import FOLDER, INSTRUMENTED, app_in
from tests.instrumentation.processes import ROOT, clean_environment
from tests.instrumentation.provider import Provider
from tests.instrumentation.sink import Sink

SECONDS = 60
FEATURE = {semconv.FEATURE: "f"}


@pytest.fixture(scope="module", params=["solo", "prefork", "solo, instrumented by OpenTelemetry"])
def worker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sink_server: Sink
) -> Iterator[Any]:
    """The app, with one worker process of this pool, that does one task at a time."""
    pool, _, instrumented = request.param.partition(", ")
    folder = tmp_path_factory.mktemp(pool)
    environment = {FOLDER: str(folder), "PENNYTRACE_ENDPOINT": sink_server.url}
    with _instrumented() if instrumented else nullcontext():
        app = app_in(folder)
        process = _start(pool, {**environment, INSTRUMENTED: "true"} if instrumented else environment)
        yield app
        os.killpg(process.pid, signal.SIGKILL)  # nothing to wait for, and Celery takes its time to stop
        process.wait(SECONDS)


@contextmanager
def _instrumented() -> Iterator[None]:
    instrumentor = pytest.importorskip("opentelemetry.instrumentation.celery").CeleryInstrumentor()
    instrumentor.instrument()
    yield
    instrumentor.uninstrument()


def _start(pool: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = "-m celery -A tests.instrumentation.celery_app worker --concurrency 1 --loglevel warning"
    quick = "--without-gossip --without-mingle --without-heartbeat"
    return subprocess.Popen(
        [sys.executable, *command.split(), *quick.split(), "--pool", pool],
        cwd=ROOT,
        env=clean_environment(environment),
        start_new_session=True,
    )


@pytest.fixture
def app(worker: Any, recording: None) -> Any:
    return worker


def result(sent: Any) -> Any:
    return sent.get(timeout=SECONDS, interval=0.02)


def test_the_tags_of_the_sender_hold_in_the_task(app: Any) -> None:
    with pennytrace.tag(feature="a b,c", team="t", customer="ü", session="s"):
        sent = app.send_task("tags")
    assert result(sent) == {
        semconv.FEATURE: "a b,c",
        semconv.TEAM: "t",
        semconv.CUSTOMER: "ü",
        semconv.SESSION_ID: "s",
    }


def test_the_user_and_the_apps_own_tags_stay(app: Any) -> None:
    with pennytrace.tag(feature="f", user="u1", tier="gold"):
        sent = app.send_task("tags")
    assert result(sent) == FEATURE


def test_a_worker_keeps_nothing_for_the_next_task(app: Any) -> None:
    with pennytrace.tag(feature="f"):
        assert result(app.send_task("leaves_a_tag_on")) == {semconv.FEATURE: "left on"}
    assert result(app.send_task("tags")) == {}


def test_a_call_in_a_task_is_recorded_under_them(app: Any, sink: Sink, provider: Provider) -> None:
    with pennytrace.tag(feature="in a task"):
        result(app.send_task("asks", (provider.url,)))
    sink.wait_for(1)
    assert sink.spans[0].attributes[semconv.FEATURE] == "in a task"


@pytest.mark.parametrize("how", ["retries", "fails_twice"])
def test_a_task_that_is_tried_again_keeps_them(app: Any, how: str) -> None:
    with pennytrace.tag(feature="f"):
        sent = app.send_task(how, ([],) if how == "retries" else ())
    assert result(sent) == ([FEATURE] * 3 if how == "retries" else FEATURE)


def test_a_task_that_sends_a_task_hands_them_on_with_its_own(app: Any) -> None:
    with pennytrace.tag(feature="f"):
        sent = app.send_task("sends")
    assert result(app.AsyncResult(result(sent))) == {**FEATURE, semconv.TEAM: "sender"}


def test_they_hold_in_chains_groups_and_links(app: Any) -> None:
    tags = app.signature("tags")
    with pennytrace.tag(feature="f"):
        a_chain = chain(tags, tags, tags, app=app).apply_async()
        a_group = group([tags, tags], app=app).apply_async()
        linked = app.signature("tags", task_id="linked-" + a_chain.id)
        with_link = tags.apply_async(link=linked)
    assert [result(a_chain), result(a_chain.parent), result(a_chain.parent.parent)] == [FEATURE] * 3
    assert result(a_group) == [FEATURE] * 2
    assert result(with_link) == FEATURE
    assert result(app.AsyncResult("linked-" + a_chain.id)) == FEATURE


def test_a_task_that_runs_at_once_sees_what_holds_around_it(recording: None, tmp_path: Path) -> None:
    app = app_in(tmp_path)
    app.conf.task_always_eager = True

    @app.task(name="here")  # type: ignore[untyped-decorator]
    def here() -> dict[str, str]:
        return dict(current_tags())

    with pennytrace.tag(feature="f", user="u1"):
        assert here.delay().get() == {**FEATURE, semconv.USER_ID: "u1"}
        assert dict(current_tags()) == {**FEATURE, semconv.USER_ID: "u1"}


def test_shutdown_disconnects() -> None:
    ours = signals.before_task_publish, signals.task_prerun, signals.task_postrun
    before = [len(one.receivers) for one in ours]
    pennytrace.init(endpoint="http://127.0.0.1:9")
    pennytrace.init(endpoint="http://127.0.0.1:9", service="again")
    assert [len(one.receivers) for one in ours] == [count + 1 for count in before]
    pennytrace.shutdown(0)
    assert [len(one.receivers) for one in ours] == before
