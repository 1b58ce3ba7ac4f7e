"""Makes state folders with calls in their stores, and prints reports of them as `pennytrace report` does."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace import cli
from pennytrace_collectors.store import open_store
from tests.collectors.calls import load_and_settle


def state_folder(fresh_store: Path, folder: Path, prices: str, spans: Iterable[Span]) -> Path:
    """A state folder whose store has these calls, priced by a price file with this text."""
    shutil.copytree(fresh_store, folder / "store", symlinks=True)
    add_calls(folder, prices, spans)
    return folder


def add_calls(folder: Path, prices: str, spans: Iterable[Span]) -> None:
    """Load more calls, as a collector with this price file does."""
    file = folder / "prices.toml"
    file.write_text(prices, "utf-8")
    store = open_store(f"chdb://{folder / 'store'}", price_files=[file])
    load_and_settle(store, list(spans))
    store.close()


def printed(capsys: pytest.CaptureFixture[str], state: Path, *options: str) -> str:
    """What the command prints."""
    assert cli.main(["report", "--state", str(state), *options]) == 0
    return capsys.readouterr().out
