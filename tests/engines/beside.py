"""Installs pennytrace beside the real engines as a user would, and without touching their environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.engines import environment

_ROOT: Final = Path(__file__).parents[2]
_NEEDED: Final = "wrapt>=1.17"
"""What pennytrace needs and vLLM does not bring."""


def install(folder: Path) -> dict[str, str]:
    """Install the wheel into `folder`; return the variables by which the engines' interpreter finds it there.

    Its entry points are found as if it were installed for good.
    """
    built, installed = folder / "wheel", folder / "beside"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
    subprocess.run(build, cwd=_ROOT, check=True, capture_output=True)
    (wheel,) = built.glob("*.whl")
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "pip", "install", "--quiet", "--no-deps", "--target", str(installed)]
    python = ["--python", str(environment.program("python"))]
    subprocess.run([*command, *python, str(wheel), _NEEDED], check=True)
    return {"PYTHONPATH": os.pathsep.join([str(installed)])}
