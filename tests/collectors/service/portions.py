"""The `pennytrace` command with portions of a few calls, that says when it begins with each: to be killed right then.

Run as `python -m tests.collectors.service.portions ARGUMENTS`.
"""

from __future__ import annotations

import sys
from typing import Any

from pennytrace.cli import main
from pennytrace_collectors.store import reprice, selection
from pennytrace_collectors.store.tables import Tables

CALLS = 5
_correct: Any = reprice._correct


def said(store: Tables, *more: Any) -> None:
    sys.stdout.write("portion\n")
    sys.stdout.flush()
    _correct(store, *more)


if __name__ == "__main__":
    selection._PORTION = CALLS  # type: ignore[misc]
    reprice._correct = said  # type: ignore[assignment]
    sys.exit(main())
