"""Tags reach threads and Celery tasks where OpenTelemetry's own instrumentations of them are at work too."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.instrumentation.environments import run_beside

_INSTRUMENTATIONS: Final = (
    "opentelemetry-instrumentation-celery",
    "opentelemetry-instrumentation-threading",
)


def test_both_carry_what_is_theirs(tmp_path: Path) -> None:
    beside = (*_INSTRUMENTATIONS, "celery", "openai", "psutil")
    run_beside(beside, ("test_threads.py", "test_celery_tags.py"), tmp_path)
