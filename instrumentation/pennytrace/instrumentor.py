"""The only module that touches opentelemetry.instrumentation: how `opentelemetry-instrument` starts us."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from pennytrace._setup.lifecycle import init, shutdown


class PennytraceInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Starts pennytrace the OpenTelemetry way; the same as `pennytrace.init`."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return nothing: each client library is wrapped when the app imports it, and none is needed."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        kwargs.pop("skip_dep_check", None)
        # Providers are OpenTelemetry's to hand out, and not used: see `pennytrace.init`.
        given = {name: value for name, value in kwargs.items() if not name.endswith("_provider")}
        init(**given)

    def _uninstrument(self, **kwargs: Any) -> None:
        shutdown()
