"""The demo's folder: a marker says that the demo made it, and a lock that one is at work in it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pennytrace_collectors import running
from pennytrace_collectors.demo.errors import FolderInUse

MARKER: Final = ".pennytrace-demo"


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that belongs to this demo for as long as it runs."""

    path: Path

    @property
    def state(self) -> Path:
        """The collector's state folder."""
        return self.path / "state"

    @property
    def grafana(self) -> Path:
        """Where the Grafana files go."""
        return self.path / "grafana"

    @property
    def log(self) -> Path:
        """What the collector says."""
        return self.path / "collector.log"

    def clear_state(self) -> None:
        """Remove what the last demo's collector has kept.

        Raises:
            FolderInUse: A collector still works on it, or it cannot be removed.
        """
        collector = running.find(self.state)
        if collector is not None:
            raise FolderInUse(
                f"a collector (process {collector.pid}) is running on {str(self.state)!r}: stop it, or give "
                "the demo another folder with --out"
            )
        try:
            if self.state.exists():
                shutil.rmtree(self.state)
        except OSError as error:
            raise _unusable(self.path, error) from None

    def place(self, name: str, text: str) -> tuple[Path, Path | None]:
        """Write a file; one that a person has changed is not overwritten but set aside.

        Returns:
            The file, and where the changed one is now, if there was one.
        """
        path = self.path / name
        written = self._written()
        aside = None
        if path.exists() and _digest(path.read_text("utf-8", errors="replace")) != written.get(name):
            aside = next(free for free in _names_beside(path) if not free.exists())
            path.rename(aside)
        path.write_text(text, "utf-8")
        document = {"made_by": "pennytrace demo", "files": {**written, name: _digest(text)}}
        (self.path / MARKER).write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        return path, aside

    def _written(self) -> Mapping[str, str]:
        try:
            files = json.loads((self.path / MARKER).read_text("utf-8"))["files"]
        except (ValueError, KeyError):  # it is empty until the first file is placed
            return {}
        return dict(files)


@contextlib.contextmanager
def taken(path: Path) -> Iterator[Folder]:
    """Make the folder, or take over one that a demo has made, until the block is left.

    Raises:
        FolderInUse: It is not the demo's, another demo is running in it, or it cannot be written to.
    """
    marker = path / MARKER
    try:
        if path.exists() and not marker.is_file() and any(path.iterdir()):
            raise FolderInUse(
                f"{str(path)!r} is not empty and was not made by the demo: give another folder with --out"
            )
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(marker, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise _unusable(path, error) from None
    try:
        _lock(lock, path)
        yield Folder(path)
    finally:
        os.close(lock)


def _lock(file: int, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FolderInUse(
            f"another demo is running in {str(path)!r}: stop it (Ctrl-C), or give another folder with --out"
        ) from None


def _unusable(path: Path, error: OSError) -> FolderInUse:
    return FolderInUse(f"cannot use {str(path)!r}: {error.strerror}; give another folder with --out")


def _names_beside(path: Path) -> Iterator[Path]:
    return (path.with_name(f"{path.stem}.yours-{n}{path.suffix}") for n in itertools.count(1))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
