"""Whatever fails on the ways that tags take, the app's threads, tasks and requests are as without us."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FunctionType

import openai
import pytest
from celery import signals  # type: ignore[import-untyped]
from opentelemetry import baggage, context, propagate
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import pennytrace
from pennytrace._attribution.tags import current_tags
from tests.instrumentation.celery_app import app_in
from tests.instrumentation.provider import MODEL
from tests.instrumentation.sink import Sink
from tests.instrumentation.test_guard import STEPS

OURS = {
    step: function
    for step, function in STEPS.items()
    if function.__module__.rpartition(".")[2]
    in {"threads", "celery", "opentelemetry", "propagation", "propagator", "identity"}
}
WHERE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@pytest.fixture
def broken(request: pytest.FixtureRequest) -> Iterator[str]:
    """Let one step raise whenever it is taken."""
    step: str = request.param
    (cell,) = [cell for cell in OURS[step].__closure__ or () if isinstance(cell.cell_contents, FunctionType)]

    def raises(*args: object, **kwargs: object) -> object:
        raise RuntimeError("broken on purpose")

    real, cell.cell_contents = cell.cell_contents, raises
    yield step
    cell.cell_contents = real
    pennytrace.init(endpoint="http://127.0.0.1:9")  # what could not be put back can be now
    pennytrace.shutdown(0)


@pytest.fixture
def propagator() -> Iterator[None]:
    before = propagate.get_global_textmap()
    yield
    pennytrace.shutdown(0)
    propagate.set_global_textmap(before)


def test_the_steps_are_all_there() -> None:
    assert len(OURS) == 18, sorted(OURS)


@pytest.mark.parametrize("broken", sorted(OURS), indirect=True)
def test_a_step_that_fails_changes_nothing_for_the_app(
    broken: str,
    propagator: None,
    client: openai.OpenAI,
    sink: Sink,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PENNYTRACE_HASH_KEY", "a secret of the company")
    pennytrace.init(endpoint=sink.url)
    app = app_in(tmp_path)
    worked: list[str] = []
    carried = propagate.extract({"traceparent": WHERE, "baggage": "theirs=kept"})
    with pennytrace.received({"baggage": "pennytrace.feature=f"}), pennytrace.tag(team="t", user="u1"):
        thread = threading.Thread(target=worked.append, args=("thread",))
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(divmod, 7, 2).result() == (3, 1)
        assert set(pennytrace.outgoing_headers()) <= {"baggage"}
        headers: dict[str, str] = {}
        propagate.inject(headers, context=carried)
        app.send_task("any")
        client.chat.completions.create(model=MODEL, messages=[])
    assert worked == ["thread"]
    assert headers["traceparent"] == WHERE
    assert headers["baggage"].startswith("theirs=kept")
    assert baggage.get_baggage("theirs", carried) == "kept"
    assert dict(current_tags()) == {}
    (message,) = (tmp_path / "queue").iterdir()
    assert message.stat().st_size > 0
    propagate.set_global_textmap(TraceContextTextMapPropagator())
    assert propagate.extract({"traceparent": WHERE, "baggage": "x=1"}, context.Context())
    signals.task_prerun.send(None, task_id="1", task=app.tasks["celery.chord_unlock"])
    signals.task_postrun.send(None, task_id="1", task=app.tasks["celery.chord_unlock"])
    pennytrace.flush(30)
    (call,) = sink.spans
    assert call.attributes.get("user.id") is None
