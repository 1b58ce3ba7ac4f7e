"""The newest litellm keeps openai back, so its tests run in an environment of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.instrumentation.environments import run_beside

NEWEST: Final = "litellm>=1.106,<1.107"
"""As far as its tests are true: from 1.109 on litellm does not send again by itself what found no answer."""
_ITS_EXTRAS: Final = ("fastapi", "mcp", "orjson", "soundfile", "tenacity")
"""What its cache, its retries and its responses need, and what it does not bring."""


def test_the_newest_litellm_is_recorded(tmp_path: Path) -> None:
    run_beside((NEWEST, *_ITS_EXTRAS), ("test_litellm.py",), tmp_path)
