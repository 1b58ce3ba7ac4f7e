"""The access file in force: read again when it changes, the last good one kept when the new one is broken."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from pennytrace_collectors.access.read import AccessList, read_access_file
from pennytrace_collectors.errors import AccessFileError

_log = logging.getLogger(__name__)

_Stamp = tuple[int, int, int] | None


class WatchedAccess:
    """What holds now; used on one event loop."""

    def __init__(self, path: Path | None, *, require: Callable[[AccessList], None] = lambda _: None) -> None:
        """Read the file at `path`; where there is none, nothing is asked of anybody until there is one.

        `require` raises AccessFileError for what may not come into force.

        Raises:
            AccessFileError: It cannot be used.
        """
        self._path = path
        self._require = require
        self._seen = _stamp(path)
        self.in_force = self._read()
        self.fault = ""
        """Why the newest version of the file is not in force; empty when it is."""

    def refresh(self) -> None:
        """Take the file as it is now, if it has changed and can be used."""
        if (now := _stamp(self._path)) == self._seen:
            return
        self._seen = now
        try:
            if now is None and self._path is not None:
                raise AccessFileError(f"the access file {str(self._path)!r} is gone")
            self.in_force = self._read()
        except AccessFileError as error:
            self.fault = str(error)
            _log.error(
                "the access file has changed and cannot be used, so the one before stays in force: %s", error
            )
            return
        self.fault = ""
        count = len(self.in_force.tokens), len(self.in_force.users)
        _log.info("the access file has changed: %d tokens and %d users are in force", *count)

    def _read(self) -> AccessList:
        found = AccessList() if self._path is None or self._seen is None else read_access_file(self._path)
        self._require(found)
        return found


def _stamp(path: Path | None) -> _Stamp:
    """What changes when a file is written or replaced; None where there is none."""
    try:
        status = path.stat() if path is not None else None
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if status is not None else None
