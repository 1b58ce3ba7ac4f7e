"""One file of the journal: written, sealed, read back, repaired."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .disk import Disk
from .record import frame, scan

_log = logging.getLogger(__name__)

SUFFIX = ".segment"
TORN_SUFFIX = ".torn"


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of whole records that nobody writes any more."""

    path: Path
    size: int
    """Bytes on disk."""
    oldest_at: float
    """When its first record was written, in seconds since 1970."""
    spans: int | None
    """How many spans it holds; None when it was left by an earlier process, so that its end may be torn."""


@dataclass(frozen=True, slots=True)
class Content:
    """The records of a segment, as a stream of length-delimited messages."""

    messages: bytes
    spans: int
    torn: bool
    """Whether a damaged end had to be set aside."""


class OpenSegment:
    """The file being written; used by one thread at a time."""

    def __init__(self, path: Path, disk: Disk, *, now: float) -> None:
        """Create the file and make its name durable.

        Raises:
            OSError: The file cannot be created; nothing is left of it.
        """
        self._disk = disk
        self._path = path
        self._file = disk.create(path)
        self._opened_at = now
        self.size = 0
        self._spans = 0
        self.doubtful = False
        """Whether an error has left bytes at the end that may not be whole records."""
        try:
            disk.sync_folder(path.parent)
        except OSError:
            self.discard()
            raise

    def append(self, bodies: Sequence[tuple[bytes, int]]) -> int:
        """Write (body, spans) pairs, wait until they are on disk, and return the bytes written.

        Raises:
            OSError: Nothing was written, as far as anyone who reads the segment later can see.
        """
        parts: list[bytes] = []
        for body, spans in bodies:
            framing = frame(body, spans)
            parts += (framing.prefix, body, framing.trailer)
        try:
            self._disk.append(self._file, parts)
            self._disk.sync(self._file)
        except OSError:
            self._undo()
            raise
        written = sum(map(len, parts))
        self.size += written
        self._spans += sum(spans for _, spans in bodies)
        return written

    def seal(self) -> Segment:
        """Close the file and return it as a segment."""
        self._disk.close(self._file)
        spans = None if self.doubtful else self._spans
        return Segment(self._path, self.size, self._opened_at, spans)

    def discard(self) -> None:
        """Close the file and delete it."""
        self._disk.close(self._file)
        self._path.unlink(missing_ok=True)

    def _undo(self) -> None:
        # After a failed sync nobody knows what is on the device, so nothing may follow those bytes: the
        # journal seals the segment, and it is verified when it is read.
        self.doubtful = True
        try:
            self._disk.truncate(self._file, self.size)
        except OSError as error:
            _log.warning("could not cut %s back to its last good record: %s", self._path.name, error)


def read(segment: Segment, disk: Disk) -> Content:
    """Return a segment's records; a damaged end that a crash has left is set aside in a file beside it.

    Raises:
        OSError: The file cannot be read, or its damaged end cannot be set aside.
    """
    data = segment.path.read_bytes()
    if segment.spans is not None:
        return Content(data, segment.spans, torn=False)
    found = scan(data)
    if found.fault:
        _set_aside(segment.path, data, found.good_bytes, found.fault, disk)
    return Content(data[: found.good_bytes], found.spans, torn=bool(found.fault))


def left_behind(folder: Path) -> tuple[Segment, ...]:
    """Return the segments that an earlier process left, oldest first."""
    return tuple(_left(path) for path in sorted(folder.glob(f"*{SUFFIX}")))


def path_of(folder: Path, number: int) -> Path:
    """Return where the segment of a number is."""
    return folder / f"{number:016d}{SUFFIX}"


def adopted(path: Path, folder: Path, number: int) -> Segment:
    """Move a file of records into a journal's folder, and return it as a segment whose end may be torn.

    Raises:
        OSError: It cannot be moved; it is where it was.
    """
    target = path_of(folder, number)
    os.rename(path, target)
    return _left(target)


def last_number(folder: Path) -> int:
    """Return the highest number of a segment or of a torn end in this folder; 0 when there is none."""
    names = (path.stem for path in folder.iterdir() if path.suffix in (SUFFIX, TORN_SUFFIX))
    return max((int(name) for name in names if name.isdecimal()), default=0)


def _left(path: Path) -> Segment:
    status = path.stat()
    return Segment(path, status.st_size, status.st_mtime, spans=None)


def _set_aside(path: Path, data: bytes, good_bytes: int, fault: str, disk: Disk) -> None:
    torn = path.with_suffix(TORN_SUFFIX)
    _log.warning(
        "%s: %s, as after a crash in the middle of a write; %d bytes are good, %d are set aside in %s",
        path.name, fault, good_bytes, len(data) - good_bytes, torn.name,
    )  # fmt: skip
    torn.unlink(missing_ok=True)
    _write_new(torn, data[good_bytes:], disk)
    # Only now: a crash between the steps leaves the end in both files, and the next start does this again.
    os.truncate(path, good_bytes)


def _write_new(path: Path, data: bytes, disk: Disk) -> None:
    file = disk.create(path)
    try:
        disk.append(file, [data])
        disk.sync(file)
    finally:
        disk.close(file)
    disk.sync_folder(path.parent)
