"""Keeps the bodies that the store will never take, with the reason, where people and tools can find them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from pennytrace_collectors.journal.record import scan

_log = logging.getLogger(__name__)

SUFFIX: Final = ".segment"
_CODE: Final = re.compile(r"Code: (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A body that is set aside."""

    name: str
    reason: str
    """What the store said of it, whole; empty when its note is gone."""
    refused_at: str
    """When, as ISO 8601 in UTC; empty likewise."""
    bytes: int
    spans: int | None
    """How many spans it holds; None when that is not known."""

    @property
    def kind(self) -> str:
        """The reason in two words, of which there are few: fit for a metric's label."""
        code = _CODE.search(self.reason)
        return f"code {code[1]}" if code else "other"


def waiting(folder: Path) -> tuple[Refused, ...]:
    """Return the bodies that are set aside in a folder, the oldest first; none when there is no folder."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX))
    except FileNotFoundError:
        return ()
    return tuple(_of(folder / name) for name in names)


def forget(folder: Path, name: str) -> bool:
    """Delete a body that is set aside, and its note; return whether it was there."""
    path = folder / f"{name}{SUFFIX}"
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    path.with_suffix(".json").unlink(missing_ok=True)
    return True


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
    path = folder / f"{name}-{crc32(message):08x}{SUFFIX}"
    note = {
        "reason": reason,
        "refused_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "bytes": len(message),
        "spans": scan(message).spans,
    }
    _write(path.with_suffix(".json"), json.dumps(note, indent=1).encode() + b"\n")
    _write(path, message)
    _log.error("the store refuses a body of %d bytes; it is set aside in %s: %s", len(message), path, reason)
    return path


def _of(path: Path) -> Refused:
    note = _note(path.with_suffix(".json"))
    spans = note.get("spans")
    with contextlib.suppress(OSError):
        note = {**note, "bytes": path.stat().st_size}
    return Refused(
        name=path.stem,
        reason=str(note.get("reason", "")),
        refused_at=str(note.get("refused_at", "")),
        bytes=int(note.get("bytes", 0)),
        spans=spans if isinstance(spans, int) else None,
    )


# A note is never changed, and metrics are asked for every few seconds.
@lru_cache(maxsize=4096)
def _read_note(path: Path) -> Mapping[str, Any]:
    found = json.loads(path.read_text("utf-8"))
    return found if isinstance(found, dict) else {}


def _note(path: Path) -> Mapping[str, Any]:
    try:
        return _read_note(path)
    except (OSError, ValueError):
        return {}


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
