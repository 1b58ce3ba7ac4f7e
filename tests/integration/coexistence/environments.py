"""Virtual environments that hold the other instrumentations, and the running of apps in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.instrumentation.sink import Sink

_ROOT: Final = Path(__file__).parents[3]
_APPS: Final = "tests.integration.coexistence.apps"

NEWEST: Final = (
    "openai",
    "opentelemetry-instrumentation-openai",
    "openinference-instrumentation-openai",
    "opentelemetry-instrumentation-genai-openai",
    "logfire",
    "langfuse",
    "ddtrace",
)
BELOW_OPENAI_3: Final = (
    "openlit>=1.45",
    "opentelemetry-instrumentation-openai-v2",
    "opentelemetry-util-genai<1.2",  # openai-v2 does not say that it cannot do with a newer one
    "openai<3",
)
ENVIRONMENTS: Final[Mapping[str, Sequence[str]]] = {"newest": NEWEST, "below-openai-3": BELOW_OPENAI_3}


def make(folder: Path, packages: Sequence[str]) -> Path:
    """Make an environment with these packages and pennytrace; return its interpreter."""
    uv, python = str(Path(sys.executable).with_name("uv")), folder / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    subprocess.run(
        [
            uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            str(python),
            "-e",
            str(_ROOT),
            "opentelemetry-sdk",
            *packages,
        ],
        check=True,
    )
    return python


def run(python: Path, app: str, *args: str, sink: Sink) -> dict[str, Any]:
    """Run an app to its end; return the JSON that it prints."""
    # It must find what the interpreter compiled for the app before it: the libraries are large.
    ours = ("OTEL_", "PENNYTRACE_", "OPENAI_", "DD_", "LANGFUSE_", "LOGFIRE_", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    ran = subprocess.run(
        [str(python), "-m", f"{_APPS}.{app}", *args],
        cwd=_ROOT,
        env=environment | {"PENNYTRACE_ENDPOINT": sink.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert not ran.stderr, ran.stderr[-3000:]
    printed: dict[str, Any] = json.loads(ran.stdout)
    return printed
