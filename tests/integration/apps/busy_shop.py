"""An app that goes on calling until a file appears, whatever becomes of its collector; prints how many calls it made.

Run with OPENAI_BASE_URL and OPENAI_API_KEY, and the path of that file.
"""

from __future__ import annotations

import sys
from pathlib import Path

import openai

import pennytrace

pennytrace.init()


def main(enough: Path) -> None:
    """Make calls, one session each, and wait until the collector has them all."""
    calls = 0
    with openai.OpenAI(max_retries=0) as client:
        while not enough.exists():
            with pennytrace.tag(feature="busy", session=f"call {calls}"):
                client.chat.completions.create(
                    model="gpt-4o-mini", messages=[{"role": "user", "content": "how heavy is a penny?"}]
                )
            calls += 1
    if not pennytrace.flush(60):
        sys.exit("the collector did not take all calls")
    sys.stdout.write(f"{calls}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
