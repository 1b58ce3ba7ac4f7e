"""Disks that count or fail, around the real one."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from pennytrace_collectors.journal import LocalDisk


class CountingDisk(LocalDisk):
    """Counts what makes files durable, and can be made to wait before it does."""

    def __init__(self) -> None:
        self.syncs = 0
        self.folder_syncs = 0
        self.may_sync = threading.Event()
        self.may_sync.set()

    def sync(self, file: int) -> None:
        self.may_sync.wait()
        self.syncs += 1
        super().sync(file)

    def sync_folder(self, folder: Path) -> None:
        self.folder_syncs += 1
        super().sync_folder(folder)


class FullDisk(LocalDisk):
    """Has room for so many bytes, and like a real disk writes what fits before it fails."""

    def __init__(self, room: int) -> None:
        self.room = room

    def append(self, file: int, parts: Sequence[bytes]) -> None:
        data = b"".join(parts)
        fitting = data[: self.room]
        self.room -= len(fitting)
        super().append(file, [fitting])
        if len(fitting) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class BrokenDisk(LocalDisk):
    """Fails to make anything durable until it is mended."""

    def __init__(self, *, also_truncate: bool = False) -> None:
        self.broken = True
        self.also_truncate = also_truncate

    def sync(self, file: int) -> None:
        if self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(file)

    def truncate(self, file: int, size: int) -> None:
        if self.broken and self.also_truncate:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().truncate(file, size)
