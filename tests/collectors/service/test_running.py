"""How other commands find the collector."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pennytrace_collectors.running import RunningCollector, announce, find, state_folder, withdraw


def of(pid: int) -> RunningCollector:
    return RunningCollector(pid=pid, version="1", http="http://127.0.0.1:1", grpc=None, sql=None)


def test_a_running_collector_is_found_until_it_says_that_it_has_stopped(tmp_path: Path) -> None:
    assert find(tmp_path) is None
    announce(tmp_path, of(os.getpid()))
    assert find(tmp_path) == of(os.getpid())
    withdraw(tmp_path)
    withdraw(tmp_path)
    assert find(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_one_that_was_killed_does_not_count(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    announce(tmp_path, of(ended.pid))
    assert find(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_a_file_of_something_else_is_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "collector.json").write_text(text)
    assert find(tmp_path) is None


def test_the_state_folder_is_as_given_else_as_the_variable_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENNYTRACE_STATE", str(tmp_path))
    assert state_folder(None) == tmp_path
    assert state_folder("elsewhere") == Path.cwd() / "elsewhere"
