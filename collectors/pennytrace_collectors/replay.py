"""Puts bodies that the store has refused back into the journal, beside a running collector or without one."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pennytrace_collectors import running
from pennytrace_collectors.errors import JournalInUse, OrderError
from pennytrace_collectors.journal import Journal
from pennytrace_collectors.refused import SUFFIX, forget

_log = logging.getLogger(__name__)

_LOOK_EVERY_S: Final = 0.1
_TAKEN_WITHIN_S: Final = 60.0
"""A collector looks after each segment; one that does not, for so long, is stuck or of an older version."""
_SAID_EVERY_S: Final = 60.0


def refused_folder(state: Path) -> Path:
    """Return where a collector sets bodies aside."""
    return state / "refused"


class Replaying:
    """The collector's side, an errand of its loader: what a command has laid out goes back into the journal."""

    def __init__(self, folder: Path, adopt: Callable[[Path], bool]) -> None:
        """Look into the folder of what was set aside; `adopt` is the journal's."""
        self._folder = folder
        self._adopt = adopt
        self._complained_at = float("-inf")

    def step(self) -> bool:
        """Put back what is laid out, as far as the journal has room. Never raises."""
        try:
            put_back(self._folder, self._adopt)
        except OSError as error:
            if time.monotonic() - self._complained_at > _SAID_EVERY_S:
                self._complained_at = time.monotonic()
                _log.error("cannot put refused bodies back from %s: %s", self._folder, error)
        return False

    def stop(self) -> None:
        """Nothing is ever half done."""


def put_back(folder: Path, adopt: Callable[[Path], bool]) -> int:
    """Give the bodies that are laid out to `adopt` until it has no room; return how many it took.

    Raises:
        OSError: One cannot be moved.
    """
    taken = 0
    for path in _laid_out(folder):
        # Whoever laid it out may have taken it back at this very moment.
        with contextlib.suppress(FileNotFoundError):
            if not adopt(path):
                break
            taken += 1
            (folder / path.name).with_suffix(".json").unlink(missing_ok=True)
            _log.info("a refused body is in the journal again: %s", path.stem)
    return taken


def replay(state: Path, names: Sequence[str]) -> bool:
    """Put bodies that are set aside back into the journal of a state folder; return whether a collector took them.

    When none runs, the next one loads them. What the store refuses again is set aside again, under another name.

    Raises:
        OrderError: They cannot be moved, or the collector does not look for them; what it did not take stays aside.
    """
    folder = refused_folder(state)
    try:
        _lay_out(folder, names)
        if running.find(state) is None and _without_collector(state, folder):
            return False
        _wait(folder, names)
    except OSError as error:
        raise OrderError(f"cannot put them back from {str(folder)!r}: {error.strerror}") from error
    return True


def drop(state: Path, names: Sequence[str]) -> int:
    """Delete bodies that are set aside for good; return how many there were.

    Raises:
        OrderError: One cannot be deleted.
    """
    try:
        return sum(forget(refused_folder(state), name) for name in names)
    except OSError as error:
        raise OrderError(f"cannot delete {error.filename!r}: {error.strerror}") from error


def _without_collector(state: Path, folder: Path) -> bool:
    """Put them back oneself; False when a collector has just started, which will do it."""
    try:
        journal = Journal(state / "journal")
    except JournalInUse:
        return False
    try:
        put_back(folder, journal.adopt)
    finally:
        journal.close()
    if left := _laid_out(folder):
        _take_back(folder, [path.stem for path in left])
        raise OrderError(
            f"the journal is full: {len(left)} of them stay aside until a collector has loaded it"
        )
    return True


def _wait(folder: Path, names: Sequence[str]) -> None:
    deadline = time.monotonic() + _TAKEN_WITHIN_S
    while _laid_out(folder):
        if time.monotonic() > deadline and (left := _take_back(folder, names)):
            raise OrderError(
                f"the collector has not taken {left} of them within {_TAKEN_WITHIN_S:.0f} s, and they stay aside: "
                "its log and /health say what it is busy with; one of an older version has to be restarted with this"
            )
        time.sleep(_LOOK_EVERY_S)


def _lay_out(folder: Path, names: Sequence[str]) -> None:
    again = _again(folder)
    again.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.rename(folder / f"{name}{SUFFIX}", again / f"{name}{SUFFIX}")


def _take_back(folder: Path, names: Sequence[str]) -> int:
    """Set aside again what nobody has taken; return how many that were."""
    left = 0
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.rename(_again(folder) / f"{name}{SUFFIX}", folder / f"{name}{SUFFIX}")
            left += 1
    return left


def _laid_out(folder: Path) -> list[Path]:
    return sorted(_again(folder).glob(f"*{SUFFIX}"))


def _again(folder: Path) -> Path:
    """Where bodies lie that are wanted in the journal again, between the command and the collector."""
    return folder / "again"
