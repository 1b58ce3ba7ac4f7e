"""Runs test files once more in a virtual environment of their own, beside packages that cannot be had here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
_ALWAYS: Final = ("pytest", "opentelemetry-proto", "opentelemetry-sdk")

_LEFT_OPEN: Final = "ignore::ResourceWarning"
"""litellm leaves its aiohttp sessions to the garbage collector, at times to the very end of the run."""


def run_beside(packages: Sequence[str], files: Sequence[str], folder: Path) -> None:
    """Make an environment in `folder` with this checkout and `packages`, and run the tests in `files` there."""
    uv, python = str(Path(sys.executable).with_name("uv")), folder / "venv" / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(python.parents[1])], check=True)
    root = HERE.parents[1]
    wanted = ["-e", str(root), *packages, *_ALWAYS]
    subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *wanted], check=True)
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", _LEFT_OPEN]
    ran = subprocess.run(
        [*command, *(str(HERE / file) for file in files)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.returncode}: {ran.stdout[-3000:]}{ran.stderr[-1000:]}"
    assert " passed" in ran.stdout
