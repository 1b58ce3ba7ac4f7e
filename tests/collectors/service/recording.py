"""`pennytrace collect` with a store that is a folder of files: starts at once, and can be made to misbehave.

Run as `python -m tests.collectors.service.recording`, with the options of `pennytrace collect` and variables

    RECORDING_FOLDER    where loaded streams are kept
    RECORDING_STUCK     loads never return when it is set
    RECORDING_AWAY      the store cannot be opened while this file exists
    RECORDING_DRAIN_S   how long loading may go on when the collector stops
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from starlette.types import Receive, Scope, Send

from pennytrace.errors import PennytraceError
from pennytrace_collectors import service
from pennytrace_collectors.commands.collect import COMMAND, settings
from pennytrace_collectors.errors import OrderError, StoreUnavailable
from pennytrace_collectors.orders import Order, Steps

from .stores import Folder


class Stuck(Folder):
    def load(self, messages: bytes) -> None:
        (self.folder / "begun.stuck").touch()
        threading.Event().wait()


def open_store(dsn: str, *, price_files: Sequence[Path], genai_data: Path | None) -> Folder:
    if "RECORDING_AWAY" in os.environ and Path(os.environ["RECORDING_AWAY"]).exists():
        raise StoreUnavailable("the store is away")
    kind = Stuck if "RECORDING_STUCK" in os.environ else Folder
    return kind(Path(os.environ["RECORDING_FOLDER"]))


def perform(store: Folder, order: Order, name: str) -> Steps:
    raise OrderError(f"a folder of files has no prices: {type(order).__name__}")
    yield


async def sql_port(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"Ok.\n"})


def main() -> int:
    parser = argparse.ArgumentParser()
    COMMAND.add_arguments(parser)
    chosen = settings(parser.parse_args(), os.environ)
    if drain_s := os.environ.get("RECORDING_DRAIN_S"):
        chosen = dataclasses.replace(chosen, drain_s=float(drain_s))
    logging.basicConfig(level=logging.INFO)
    parts = service.Parts(open_store=open_store, sql_port=lambda _, accounts: sql_port, perform=perform)
    try:
        return service.run(chosen, parts, say=lambda line: print(line, flush=True))  # noqa: T201 - as the command does
    except PennytraceError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
