"""The same hook serves old versions of the openai library: its tests once more, in an environment with the oldest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

OLDEST: Final = "openai==1.40.0"
"""The oldest that is tried. 1.0 has the same hook, but not all that the tests use."""
_BESIDE: Final = ("httpx<0.28", "pytest", "opentelemetry-proto", "opentelemetry-sdk")
_HERE: Final = Path(__file__).parent


def test_the_oldest_openai_is_recorded_like_the_newest(tmp_path: Path) -> None:
    uv, python = str(Path(sys.executable).with_name("uv")), tmp_path / "venv" / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(python.parents[1])], check=True)
    root = _HERE.parents[1]
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", str(python), "-e", str(root), OLDEST, *_BESIDE],
        check=True,
    )

    files = [str(_HERE / name) for name in ("test_openai.py", "test_streams.py", "test_raw.py")]
    ran = subprocess.run(
        [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout[-3000:]
    assert " passed" in ran.stdout
