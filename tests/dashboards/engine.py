"""A store in a process of its own, because one process can open only one embedded store at a time.

Run as a script it opens the store and answers requests, one JSON line each, until its input ends.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

_SETTINGS: Final = {
    # NaN and infinity would be written as null, and hide a division by zero.
    "output_format_json_quote_denormals": 1,
    "output_format_json_quote_64bit_integers": 0,
}


class QueryFailed(Exception):
    """ClickHouse refused the query; the message is its own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a query with the names and types of their columns."""

    names: list[str]
    types: list[str]
    rows: list[list[Any]]

    def records(self) -> list[dict[str, Any]]:
        """The rows by column name."""
        return [dict(zip(self.names, row, strict=True)) for row in self.rows]


class Engine:
    """A store of the real schema in another process."""

    def __init__(self, folder: Path, price_file: Path) -> None:
        command = [sys.executable, str(Path(__file__)), str(folder), str(price_file)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answers: dict[str, Answer] = {}

    def load(self, messages: bytes) -> None:
        """Load OTLP messages as the collector does, and price what they brought."""
        self._ask({"load": base64.b64encode(messages).decode()})
        self._answers.clear()

    def query(self, sql: str) -> Answer:
        """Run a query in the store's database, or give its answer again: nothing changes between loads."""
        if sql not in self._answers:
            reply = self._ask({"sql": sql})
            columns = reply["meta"]
            self._answers[sql] = Answer(
                [column["name"] for column in columns], [column["type"] for column in columns], reply["data"]
            )
        return self._answers[sql]

    def close(self) -> None:
        """End the process."""
        self._pipe(self._process.stdin).close()
        self._process.wait(timeout=60)
        self._pipe(self._process.stdout).close()

    def _ask(self, request: dict[str, str]) -> dict[str, Any]:
        into, out = self._pipe(self._process.stdin), self._pipe(self._process.stdout)
        into.write(json.dumps(request) + "\n")
        into.flush()
        line = out.readline()
        if not line:
            raise QueryFailed(f"the store's process ended with {self._process.wait()}; its error is above")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise QueryFailed(reply["error"])
        return reply

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


def _serve(folder: str, price_file: str) -> None:
    from pennytrace_collectors.store import open_store

    store = open_store(f"chdb://{folder}", price_files=[Path(price_file)])
    store.client.database = store.address.database
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "load" in request:
                store.load(base64.b64decode(request["load"]))
                store.settle()
                reply = "{}"
            else:
                answer = store.client.raw_query(request["sql"], fmt="JSONCompact", settings=_SETTINGS)
                reply = json.dumps(json.loads(answer))
        except Exception as error:  # noqa: BLE001 - it is told to the test, which fails by it
            reply = json.dumps({"error": str(error)})
        sys.stdout.write(reply + "\n")
        sys.stdout.flush()
    store.close()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
