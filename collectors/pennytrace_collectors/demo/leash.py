"""Runs `pennytrace ARGUMENTS` and stops it when the process that started it is gone, however that one ended."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Final

from pennytrace.cli import main

COMMAND: Final[Sequence[str]] = (sys.executable, "-m", "pennytrace_collectors.demo.leash")
"""What to start, with a pipe as its standard input that nobody writes to."""


def _hold() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_hold, name="leash", daemon=True).start()
    sys.exit(main(sys.argv[1:]))
