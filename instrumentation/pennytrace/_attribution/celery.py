"""Takes tags along with Celery tasks, by Celery's own signals: no instrumentation of Celery is needed."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

from pennytrace._attribution.baggage import encode
from pennytrace._attribution.propagation import arriving, travelling
from pennytrace._attribution.tags import enter, leave
from pennytrace._guard import never_break_the_host
from pennytrace._imports import after_import, forget

_MODULE: Final = "celery.signals"
_HEADER: Final = "pennytrace"
"""Ours alone: `baggage` belongs to OpenTelemetry's instrumentation of Celery, where that is at work."""

_signals: Any = None


def place() -> None:
    """Connect when the app has imported Celery."""
    after_import(_MODULE, _connect)


def remove() -> None:
    """Disconnect."""
    forget(_MODULE)
    _disconnect()


@never_break_the_host("connecting to Celery")
def _connect(signals: ModuleType) -> None:
    global _signals
    _signals = signals
    for signal, receiver in _RECEIVERS.items():
        getattr(signals, signal).connect(receiver, weak=False)


@never_break_the_host("disconnecting from Celery")
def _disconnect() -> None:
    global _signals
    signals, _signals = _signals, None
    if signals is not None:
        for signal, receiver in _RECEIVERS.items():
            getattr(signals, signal).disconnect(receiver)


@never_break_the_host("sending tags with a task")
def _send(headers: Any = None, **more: object) -> None:
    tags = travelling()
    if tags and isinstance(headers, dict):
        # A task that is sent again, by `retry`, has kept its own.
        headers.setdefault(_HEADER, encode(tags))


@never_break_the_host("taking the tags of a task")
def _begin(task: Any = None, task_id: Any = None, **more: object) -> None:
    header = task.request.get(_HEADER)
    if isinstance(header, str):
        enter((_HEADER, task_id), arriving(header))


@never_break_the_host("leaving the tags of a task")
def _end(task_id: Any = None, **more: object) -> None:
    leave((_HEADER, task_id))


_RECEIVERS: Final = {"before_task_publish": _send, "task_prerun": _begin, "task_postrun": _end}
