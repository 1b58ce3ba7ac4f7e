"""A Celery app whose tasks tell which tags hold; `celery -A tests.instrumentation.celery_app worker` runs them."""

from __future__ import annotations

import json
import os
import uuid
from importlib import import_module
from pathlib import Path
from time import monotonic_ns
from typing import Any

import openai
from celery import Celery  # type: ignore[import-untyped]
from kombu.transport import TRANSPORT_ALIASES, filesystem

import pennytrace
from pennytrace._attribution.tags import current_tags
from tests.instrumentation.provider import MODEL

FOLDER = "CELERY_FOLDER"
"""The variable that names the folder of the worker's queues and results."""
INSTRUMENTED = "CELERY_INSTRUMENTED"
"""The variable that lets OpenTelemetry instrument the worker too."""


class _Channel(filesystem.Channel):
    """A queue of files that appear whole: kombu's own can be read while they are written."""

    def _put(self, queue: Any, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]
        name = f"{monotonic_ns()}_{uuid.uuid4()}.{queue}.msg"
        unfinished = self.control_folder / name
        unfinished.write_text(json.dumps(payload))
        unfinished.rename(Path(self.data_folder_out) / name)


class Transport(filesystem.Transport):
    Channel = _Channel


TRANSPORT_ALIASES["files"] = f"{__name__}:Transport"


def app_in(folder: Path) -> Any:
    """Return an app whose queues and results are files in a folder."""
    queue, control, results = folder / "queue", folder / "control", folder / "results"
    for one in (queue, control, results):
        one.mkdir(exist_ok=True)
    app = Celery("pennies", broker="files://", backend=results.as_uri(), set_as_current=False)
    app.conf.broker_transport_options = {
        "data_folder_in": str(queue),
        "data_folder_out": str(queue),
        "control_folder": str(control),
        "polling_interval": 0.02,
    }
    app.conf.broker_connection_retry_on_startup = True
    with app.connection_for_write() as connection:
        app.amqp.queues["celery"](connection).declare()  # once, before two processes do it at the same time
    return app


def worker_app() -> Any:
    """Return the app of the worker, with its tasks."""
    pennytrace.init()
    if INSTRUMENTED in os.environ:
        import_module("opentelemetry.instrumentation.celery").CeleryInstrumentor().instrument()
    app = app_in(Path(os.environ[FOLDER]))
    for name, function in TASKS.items():
        app.task(function, name=name, bind=True)
    app.task(_fails_twice, name="fails_twice", bind=True, autoretry_for=(OSError,), default_retry_delay=0)
    return app


def _tags(task: Any, *before: Any) -> dict[str, str]:
    return dict(current_tags())


def _sends(task: Any) -> str:
    with pennytrace.tag(team="sender"):
        return str(task.app.send_task("tags").id)


def _retries(task: Any, seen: list[Any]) -> list[Any]:
    seen = [*seen, dict(current_tags())]
    if task.request.retries < 2:
        with pennytrace.tag(feature="inside the first try"):
            raise task.retry(args=(seen,), countdown=0)
    return seen


def _fails_twice(task: Any) -> dict[str, str]:
    if task.request.retries < 2:
        raise OSError("not yet")
    return dict(current_tags())


def _leaves_a_tag_on(task: Any) -> dict[str, str]:
    pennytrace.tag(feature="left on").__enter__()
    return dict(current_tags())


def _asks(task: Any, url: str) -> None:
    with openai.OpenAI(api_key="none", base_url=url) as client:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "?"}])
    pennytrace.flush()


TASKS = {
    "tags": _tags,
    "sends": _sends,
    "retries": _retries,
    "leaves_a_tag_on": _leaves_a_tag_on,
    "asks": _asks,
}

if FOLDER in os.environ:
    app = worker_app()
