"""Where the real engines are; tests that need them ask here, and are skipped, visibly, where there are none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

_ROOT: Final = Path(__file__).parents[2]
_FINISHED: Final = "pennytrace-engines"
"""The file by which `install.sh` says that it came to its end."""


def folder() -> Path:
    """The virtual environment: PENNYTRACE_ENGINES, else `.venv-engines`."""
    return Path(os.environ.get("PENNYTRACE_ENGINES") or _ROOT / ".venv-engines").absolute()


def program(name: str) -> Path:
    """A program of the virtual environment; without one the test is skipped, or fails with REQUIRE_ENGINES=1."""
    made = folder()
    if (made / _FINISHED).is_file():
        return made / "bin" / name
    missing = f"no real engines in {made}: tests/engines/install.sh makes them, or says why it cannot"
    if os.environ.get("REQUIRE_ENGINES") == "1":
        pytest.fail(f"REQUIRE_ENGINES=1, but {missing}", pytrace=False)
    pytest.skip(missing)
