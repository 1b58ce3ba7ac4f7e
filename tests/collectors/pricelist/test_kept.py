"""Data files stay side by side; which of them is in use survives crashes, and what was changed by hand is noticed."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from pennytrace_collectors.errors import PriceDataError
from pennytrace_collectors.pricelist import kept


def _keep(state: Path, body: bytes) -> kept.Taken:
    return kept.keep(state, body, source="/somewhere/data.json", newest_price="2026-11-01", package="0.2.3")


def test_nothing_is_kept_at_first(tmp_path: Path) -> None:
    assert kept.taken(tmp_path / "state") == ()


def test_the_last_one_is_in_use_and_the_others_stay(tmp_path: Path) -> None:
    first, second = _keep(tmp_path, b"[1]"), _keep(tmp_path, b"[2]")

    assert kept.taken(tmp_path) == (first, second)
    assert kept.path_of(tmp_path, second).read_bytes() == b"[2]"
    assert kept.path_of(tmp_path, first).read_bytes() == b"[1]"


def test_going_back_goes_all_the_way_to_the_package(tmp_path: Path) -> None:
    first, second = _keep(tmp_path, b"[1]"), _keep(tmp_path, b"[2]")

    assert kept.go_back(tmp_path) == second
    assert kept.taken(tmp_path) == (first,)
    assert kept.go_back(tmp_path) == first
    assert kept.taken(tmp_path) == ()
    with pytest.raises(PriceDataError, match="no data file is in use"):
        kept.go_back(tmp_path)
    assert len(list(kept.folder(tmp_path).glob("2*.json"))) == 2, "what was taken is never deleted"


def test_only_the_owner_may_read_them(tmp_path: Path) -> None:
    entry = _keep(tmp_path / "state", b"[1]")

    assert kept.path_of(tmp_path / "state", entry).stat().st_mode & 0o77 == 0
    assert kept.folder(tmp_path / "state").stat().st_mode & 0o77 == 0


def test_a_file_that_has_changed_is_not_used(tmp_path: Path) -> None:
    entry = _keep(tmp_path, b"[1]")
    kept.folder(tmp_path).joinpath(entry.file).write_bytes(b"[99]")

    with pytest.raises(
        PriceDataError, match="has changed since it was taken; go back by `pennytrace prices update"
    ):
        kept.path_of(tmp_path, entry)


def test_a_file_that_is_gone_is_told_and_can_be_gone_back_from(tmp_path: Path) -> None:
    entry = _keep(tmp_path, b"[1]")
    kept.folder(tmp_path).joinpath(entry.file).unlink()

    with pytest.raises(PriceDataError, match="No such file"):
        kept.path_of(tmp_path, entry)
    assert kept.go_back(tmp_path) == entry


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"file": "x"}]', '{"a": 1}'])
def test_a_note_that_cannot_be_read_is_told_with_the_way_out(text: str, tmp_path: Path) -> None:
    _keep(tmp_path, b"[1]")
    note = kept.folder(tmp_path) / "taken.json"
    note.write_text(text)

    with pytest.raises(PriceDataError, match="delete it"):
        kept.taken(tmp_path)


def test_a_crash_between_file_and_note_leaves_the_old_one_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _keep(tmp_path, b"[1]")
    replace = os.replace

    def crashing(source: str, target: Path) -> None:
        if target.name == "taken.json":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", crashing)
    with pytest.raises(PriceDataError, match="No space left on device"):
        _keep(tmp_path, b"[2]")

    assert kept.taken(tmp_path) == (first,)


def test_two_updates_at_once_do_not_mix(tmp_path: Path) -> None:
    _keep(tmp_path, b"[1]")
    with (kept.folder(tmp_path) / "lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(PriceDataError, match="another `prices update`"):
            _keep(tmp_path, b"[2]")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, not a folder")

    with pytest.raises(PriceDataError, match="cannot write into"):
        _keep(tmp_path / "state", b"[1]")
