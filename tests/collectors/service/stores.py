"""Stores that remember what was loaded, or fail to, in memory and in files."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.collectors import otlp


@dataclass(slots=True)
class Memory:
    """Keeps streams, after asking `judge`, which may raise."""

    judge: Callable[[bytes], None] = lambda _: None
    loaded: list[bytes] = field(default_factory=list)
    settled: int = 0
    closed: bool = False
    threads: set[int] = field(default_factory=set)

    def load(self, messages: bytes) -> None:
        self.threads.add(threading.get_ident())
        self.judge(messages)
        self.loaded.append(messages)

    def settle(self) -> None:
        self.threads.add(threading.get_ident())
        self.settled += 1

    def figures(self) -> Mapping[str, int]:
        return {"unpriced_calls": 7}

    def close(self) -> None:
        self.closed = True

    def span_ids(self) -> list[bytes]:
        return [span_id for stream in self.loaded for span_id in otlp.span_ids(stream)]


@dataclass(frozen=True, slots=True)
class Folder:
    """Keeps each stream in a file named by its content, so that a repeated load replaces itself."""

    folder: Path

    def load(self, messages: bytes) -> None:
        path = self.folder / hashlib.sha256(messages).hexdigest()
        passing = path.with_suffix(".new")
        with open(passing, "wb") as file:
            file.write(messages)
            os.fsync(file.fileno())
        os.replace(passing, path)

    def settle(self) -> None:
        pass

    def figures(self) -> Mapping[str, int]:
        return {"unpriced_calls": 0}

    def close(self) -> None:
        pass

    def span_ids(self) -> list[bytes]:
        return [
            span_id
            for path in self.folder.iterdir()
            if not path.suffix
            for span_id in otlp.span_ids(path.read_bytes())
        ]
