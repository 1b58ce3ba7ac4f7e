"""The same hook serves old versions of the openai library: its tests once more, beside the oldest."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.instrumentation.environments import run_beside

OLDEST: Final = "openai==1.40.0"
"""The oldest that is tried. 1.0 has the same hook, but not all that the tests use."""


def test_the_oldest_openai_is_recorded_like_the_newest(tmp_path: Path) -> None:
    run_beside((OLDEST, "httpx<0.28"), ("test_openai.py", "test_streams.py", "test_raw.py"), tmp_path)
