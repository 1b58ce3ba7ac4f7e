"""The only module of the journal that writes to files."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

_MAX_PARTS: Final = 1024
"""Buffers that one `writev` takes (IOV_MAX) on Linux and macOS."""


class Disk(Protocol):
    """What the journal asks of a disk; each call raises OSError when it cannot be done."""

    def create(self, path: Path) -> int:
        """Create a file that must not exist and return its descriptor, open for appending."""
        ...

    def append(self, file: int, parts: Sequence[bytes]) -> None:
        """Write all parts at the file's end; after an error some of them may be there."""
        ...

    def sync(self, file: int) -> None:
        """Return once the file's content would survive a power failure."""
        ...

    def truncate(self, file: int, size: int) -> None:
        """Cut a file down to `size` bytes."""
        ...

    def close(self, file: int) -> None:
        """Close a descriptor."""
        ...

    def sync_folder(self, folder: Path) -> None:
        """Return once the names of the folder's files would survive a power failure."""
        ...


class LocalDisk:
    """The file system of this machine."""

    def create(self, path: Path) -> int:
        """Create a file that only this user may read."""
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)

    def append(self, file: int, parts: Sequence[bytes]) -> None:
        """Write all parts with as few system calls as the platform allows."""
        for first in range(0, len(parts), _MAX_PARTS):
            _write_all(file, parts[first : first + _MAX_PARTS])

    def sync(self, file: int) -> None:
        """Wait for the device itself, on macOS too, where fsync alone does not."""
        if sys.platform == "darwin":
            fcntl.fcntl(file, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(file)

    def truncate(self, file: int, size: int) -> None:
        """Cut a file down to `size` bytes."""
        os.ftruncate(file, size)

    def close(self, file: int) -> None:
        """Close a descriptor."""
        os.close(file)

    def sync_folder(self, folder: Path) -> None:
        """Wait until the folder's entries are on the device."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_all(file: int, parts: Sequence[bytes]) -> None:
    written = os.writev(file, parts)
    if written == sum(map(len, parts)):
        return
    # A nearly full disk takes the first part of a write without an error; the next call tells the reason.
    rest = memoryview(b"".join(parts))[written:]
    while rest:
        rest = rest[os.write(file, rest) :]
