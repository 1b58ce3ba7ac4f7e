"""Keeps the bodies that the store will never take, with the reason, where people and tools can find them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

from pennytrace_collectors.journal.record import scan

_log = logging.getLogger(__name__)


def split(messages: bytes) -> tuple[bytes, ...]:
    """Return the two halves of a run of journal records, by number of records; of one record, only that."""
    ends = scan(messages).ends
    if len(ends) < 2:
        return (messages,)
    middle = ends[len(ends) // 2 - 1]
    return messages[:middle], messages[middle:]


def set_aside(folder: Path, message: bytes, reason: str, *, name: str) -> Path:
    """Write one journal record and why it was refused into `folder`, once however often it is refused.

    Returns:
        The file, which can be put back into a journal as a segment to try again.

    Raises:
        OSError: It cannot be written; the segment must then stay in the journal.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{name}-{crc32(message):08x}.segment"
    note = {
        "reason": reason,
        "refused_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "bytes": len(message),
    }
    _write(path.with_suffix(".json"), json.dumps(note, indent=1).encode() + b"\n")
    _write(path, message)
    _log.error("the store refuses a body of %d bytes; it is set aside in %s: %s", len(message), path, reason)
    return path


def _write(path: Path, data: bytes) -> None:
    # Durable, because the segment that holds the body is removed next.
    passing = path.with_suffix(path.suffix + ".new")
    try:
        with open(passing, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(passing, path)
    except OSError:
        with contextlib.suppress(OSError):
            passing.unlink()
        raise
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
