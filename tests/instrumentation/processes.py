"""Runs small programs in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def run(
    command: Sequence[object],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    seconds: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, in an environment without the settings of whoever runs the tests."""
    return subprocess.run(
        [str(part) for part in command],
        env=clean_environment(environment),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def python(code: str, *arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
    """Run Python code; the options are environment variables."""
    return run([sys.executable, "-c", code, *arguments], environment=options)


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment plus `more`, without settings for OpenTelemetry, OpenAI or us."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "PENNYTRACE_", "OPENAI_", "PYTHON"))
    }
    return {**kept, **(more or {})}
