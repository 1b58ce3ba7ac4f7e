"""Drivers for tests, on machines without a GPU: a shared library that the real pynvml loads."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.instrumentation.processes import run

_SOURCE: Final = Path(__file__).with_name("fake_nvml.c")

H100, OLD, DIVIDED, EMPTY = (f"GPU-{digit * 8}-aaaa-bbbb-cccc-000000000000" for digit in "0123")
SLICE, SMALL_SLICE = (f"MIG-{digit * 8}-aaaa-bbbb-cccc-000000000000" for digit in "45")

_SEEN: Final = """
import dataclasses, json, sys
from pennytrace._capacity import devices
found = devices.visible(to_this_process=sys.argv[1] == "own")
print(json.dumps([{**dataclasses.asdict(one), **devices.read(one)._asdict()} for one in found]))
"""


def nvml(folder: Path) -> Path:
    """Compile the driver into `folder`, and return where LD_LIBRARY_PATH finds it."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler here to make a driver with")
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, _SOURCE], check=True)
    return folder


def seen(*, own: bool = False, **environment: str) -> list[dict[str, Any]]:
    """Return the devices that a new process sees, and what it reads of them."""
    ran = run([sys.executable, "-c", _SEEN, "own" if own else "all"], environment=environment)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    found: list[dict[str, Any]] = json.loads(ran.stdout)
    return found
