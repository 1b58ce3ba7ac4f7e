"""Lets one collector at a time use a journal's folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from pennytrace_collectors.errors import JournalInUse


@dataclass(frozen=True, slots=True)
class FolderLock:
    """A folder that no other process can lock; the kernel unlocks it when this process ends, in any way."""

    _file: int

    def release(self) -> None:
        """Let others lock the folder."""
        os.close(self._file)


def lock_folder(folder: Path) -> FolderLock:
    """Lock an existing folder for this process.

    Raises:
        JournalInUse: Another process has locked it.
        OSError: The lock file cannot be opened.
    """
    file = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(file, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(file)
        raise JournalInUse(
            f"another collector (pid {holder}) uses the journal {str(folder)!r}; "
            "stop it, or give this one a folder of its own with --state"
        ) from None
    # The pid is for people only, so a full disk must not keep the collector from starting.
    with contextlib.suppress(OSError):
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
    return FolderLock(file)
