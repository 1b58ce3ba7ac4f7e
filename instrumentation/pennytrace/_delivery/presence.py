"""How the sender behaves beside the app's own OpenTelemetry: absent from its traces, present in its metrics.

OpenTelemetry is looked up among the loaded modules and never imported from here.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Iterable
from typing import Any, Final, Protocol

from pennytrace import semconv
from pennytrace._delivery.losses import Losses
from pennytrace._guard import never_break_the_host

_SUPPRESSED: Final = ("_SUPPRESS_INSTRUMENTATION_KEY", "_SUPPRESS_HTTP_INSTRUMENTATION_KEY")


class Counted(Protocol):
    """Something whose calls can be counted."""

    @property
    def waiting(self) -> int:
        """Calls that the collector has not taken yet."""
        ...

    @property
    def losses(self) -> Losses:
        """What was lost, and why."""
        ...


_waiting_in: weakref.WeakSet[Counted] = weakref.WeakSet()
_lost_by: list[Losses] = []  # for ever: what was lost stays lost when its delivery is gone
_shown = False


@never_break_the_host("keeping out of the app's traces")
def keep_out_of_the_apps_traces() -> None:
    """Tell other instrumentation that what this thread sends is telemetry, and no traffic of the app."""
    otel: Any = sys.modules.get("opentelemetry.context")
    if otel is None:
        return
    keys = [getattr(otel, name) for name in _SUPPRESSED if hasattr(otel, name)]
    for key in keys:
        if not otel.get_value(key):
            otel.attach(otel.set_value(key, True))


@never_break_the_host("showing metrics")
def show_in_the_apps_metrics(counted: Counted) -> None:
    """Count in the app's metrics what waits and what was lost, if the app has metrics."""
    global _shown
    _waiting_in.add(counted)
    if counted.losses not in _lost_by:
        _lost_by.append(counted.losses)
    metrics: Any = sys.modules.get("opentelemetry.metrics")
    if metrics is None or _shown:
        return
    _shown = True
    meter = metrics.get_meter(semconv.SCOPE_NAME)
    meter.create_observable_counter(
        semconv.CALLS_LOST_METRIC,
        callbacks=[_lost],
        unit="{call}",
        description="Calls that will not reach the collector.",
    )
    meter.create_observable_gauge(
        semconv.CALLS_WAITING_METRIC,
        callbacks=[_waiting],
        unit="{call}",
        description="Calls of this process that the collector has not taken yet.",
    )


def _lost(options: object) -> Iterable[Any]:
    observation = sys.modules["opentelemetry.metrics"].Observation
    for reason in semconv.LOST_REASONS:
        calls = sum(losses.calls(reason) for losses in list(_lost_by))
        yield observation(calls, {semconv.LOST_REASON: reason})


def _waiting(options: object) -> Iterable[Any]:
    calls = sum(counted.waiting for counted in list(_waiting_in))
    yield sys.modules["opentelemetry.metrics"].Observation(calls)


os.register_at_fork(after_in_child=_lost_by.clear)  # the parent counts those
