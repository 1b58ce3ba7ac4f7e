"""Runs `pennytrace prices` as people and machines do, on a state folder of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pennytrace import cli


@dataclass(frozen=True, slots=True)
class Prices:
    """The command, and what it printed."""

    capsys: pytest.CaptureFixture[str]
    state: Path

    def __call__(self, *arguments: str, status: int = 0) -> str:
        """What it prints, errors too; the exit status must be as said."""
        return "".join(self._printed(*arguments, status=status))

    def json(self, *arguments: str, status: int = 0) -> Any:
        """What it prints for machines."""
        return json.loads(self._printed(*arguments, "--json", status=status)[0])

    def _printed(self, *arguments: str, status: int) -> tuple[str, str]:
        found = cli.main(["prices", *arguments])
        out, errors = self.capsys.readouterr()
        assert found == status, out + errors
        return out, errors


@pytest.fixture
def prices(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prices:
    monkeypatch.setenv("PENNYTRACE_STATE", str(tmp_path / "state"))
    for variable in ("PENNYTRACE_PRICES", "PENNYTRACE_STORE"):
        monkeypatch.delenv(variable, raising=False)
    return Prices(capsys, tmp_path / "state")


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], str]:
    """Writes a price file and returns its path."""

    def write(text: str) -> str:
        path = tmp_path / "prices.toml"
        path.write_text(text, "utf-8")
        return str(path)

    return write
