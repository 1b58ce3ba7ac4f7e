"""The demo's folder: what it may overwrite and remove, and what it must leave alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pennytrace_collectors import running
from pennytrace_collectors.demo import needs
from pennytrace_collectors.demo.errors import FolderInUse, MissingExtra
from pennytrace_collectors.demo.folder import taken


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "thesis.txt").write_text("years of work")
    with (
        pytest.raises(FolderInUse, match="was not made by the demo: give another folder with --out"),
        taken(tmp_path),
    ):
        pass
    assert (tmp_path / "state" / "thesis.txt").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_folder_that_a_demo_has_made_is_taken_over_and_its_state_removed(tmp_path: Path) -> None:
    out = tmp_path / "new" / "demo"
    for _ in range(2):
        with taken(out) as folder:
            folder.clear_state()
            assert not folder.state.exists()
            folder.state.mkdir()


def test_two_demos_do_not_share_a_folder(tmp_path: Path) -> None:
    with taken(tmp_path), pytest.raises(FolderInUse, match="another demo is running in"), taken(tmp_path):
        pass


def test_the_state_of_a_running_collector_is_not_removed(tmp_path: Path) -> None:
    with taken(tmp_path) as folder:
        folder.state.mkdir()
        still_there = running.RunningCollector(pid=os.getpid(), version="1", http=None, grpc=None, sql=None)
        running.announce(folder.state, still_there)
        with pytest.raises(FolderInUse, match=rf"process {os.getpid()}\) is running"):
            folder.clear_state()
        assert folder.state.exists()


def test_a_state_that_is_a_link_elsewhere_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis.txt").touch()
    with taken(tmp_path / "demo") as folder:
        folder.state.symlink_to(elsewhere)
        with pytest.raises(FolderInUse):
            folder.clear_state()
    assert (elsewhere / "thesis.txt").exists()


def test_an_unchanged_file_is_overwritten_and_a_changed_one_set_aside(tmp_path: Path) -> None:
    with taken(tmp_path) as folder:
        assert folder.place("prices.toml", "old") == (tmp_path / "prices.toml", None)
    with taken(tmp_path) as folder:
        assert folder.place("prices.toml", "new") == (tmp_path / "prices.toml", None)
        for number in (1, 2):
            (tmp_path / "prices.toml").write_text(f"mine {number}")
            _, aside = folder.place("prices.toml", "new")
            assert aside == tmp_path / f"prices.yours-{number}.toml"
            assert aside.read_text() == f"mine {number}"
    assert (tmp_path / "prices.toml").read_text() == "new"


def test_a_path_that_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderInUse, match=r"cannot use .*file"), taken(tmp_path / "file"):
        pass


def test_a_missing_package_is_named_with_the_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "find_spec", lambda name: None if name in ("openai", "grafanalib") else name)
    advice = r"the demo needs grafanalib, openai, which .*: pip install 'pennytrace\[demo,all\]'"
    with pytest.raises(MissingExtra, match=advice):
        needs.check_packages()
