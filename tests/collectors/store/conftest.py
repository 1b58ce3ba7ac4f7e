"""Stores of the real schema with the real price list, each test's its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pennytrace_collectors.store import Store, open_store


@pytest.fixture
def folder(fresh_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fresh_store, tmp_path / "store", symlinks=True))


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    opened = open_store(f"chdb://{folder}")
    yield opened
    opened.close()
