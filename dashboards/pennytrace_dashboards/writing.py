"""Puts generated files on disk: each whole or not at all, and never over somebody else's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pennytrace.errors import PennytraceError


class CannotWrite(PennytraceError):
    """A file or folder cannot be written; the message names it and the reason."""


class ForeignFile(PennytraceError):
    """A file is in the way that this command did not write."""


def write(folder: Path, contents: Mapping[str, str], *, mark: str, force: bool = False) -> tuple[Path, ...]:
    """Write the files under a folder and return their paths, in the order given.

    A file that is there and does not hold `mark` is somebody else's; unless `force`, nothing is written then.

    Raises:
        ForeignFile: such a file is in the way.
        CannotWrite: the disk or the permissions do not allow it.
    """
    paths = {folder / name: text for name, text in contents.items()}
    try:
        if not force:
            for path in paths:
                _refuse_foreign(path, mark)
        for path, text in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, text)
    except OSError as error:
        raise CannotWrite(f"cannot write {str(error.filename or folder)!r}: {error.strerror}") from error
    return tuple(paths)


def _refuse_foreign(path: Path, mark: str) -> None:
    if path.exists() and mark not in path.read_text("utf-8", errors="replace"):
        raise ForeignFile(
            f"{str(path)!r} is there and was not written by this command; "
            "give another folder, move the file away, or overwrite it with --force"
        )


def _replace(path: Path, text: str) -> None:
    # Not by `tempfile`: its files are for their owner only, and Grafana often runs as another user.
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
