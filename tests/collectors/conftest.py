"""A migrated store without calls, made once: opening a copy of it is ten times quicker than making one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pennytrace_collectors.store import open_store


@pytest.fixture(scope="session")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh") / "store"
    open_store(f"chdb://{folder}").close()
    return folder
