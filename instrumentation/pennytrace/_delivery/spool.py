"""The spool: a folder of bodies that wait for a collector, shared by all processes that send to it.

A file is one complete body and needs nothing from the process that wrote it. It is written under another name
and renamed, so that whoever sees it sees all of it. Headers are never written: they hold secrets, and the
process that sends has its own.

A file that was accepted is removed; a process that dies between the two leaves it to be sent again. That does no
harm: the collector keeps one row for each trace id and span id.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from pennytrace._delivery.body import Body
from pennytrace._delivery.late import in_one_piece

_ENTRY: Final = re.compile(r"(\d{20})-\d+-[0-9a-f]{8}-(\d+)\.otlp")
_DRAFT: Final = ".tmp"
_DAMAGED: Final = ".damaged"
_LOCK: Final = "lock"
_FULL: Final = 512  # calls in one file, from which on nothing is added to it
_OLD_DRAFT: Final = 3600.0  # seconds after which whoever wrote it is surely gone


class Entry(NamedTuple):
    """One file that waits; the order of names is that of time."""

    name: str
    since_ns: int
    """When the oldest of its calls was put there: nanoseconds since 1970, UTC."""
    calls: int


class Added(NamedTuple):
    """What came of adding a body."""

    entry: Entry
    dropped: int
    """Calls that had to go to make room for it."""


class Spool:
    """The part of the spool that is for one URL.

    Methods raise OSError when the disk or the folder cannot be used. Any thread may add; one at a time reads.
    """

    def __init__(self, root: str, url: str, *, limit: int) -> None:
        self.limit = limit
        """Bytes that may wait; the oldest file goes when there are more."""
        self._root = root
        self._url = url
        self._locks: set[int] = set()
        self.start_afresh()

    def start_afresh(self) -> None:
        """Know of no files of our own: at first, and in a forked child, whose parent holds what it held."""
        for descriptor in self._locks:
            os.close(descriptor)  # or the lock would outlive the parent
        self._locks = set()
        self._adding = threading.Lock()
        self._own: dict[str, int] = {}
        self._newest: Entry | None = None

    @cached_property
    def folder(self) -> str:
        """Where the files are."""
        return os.path.join(self._root, _folder_name(self._url))

    @property
    def own_calls(self) -> int:
        """Calls that this process has put here, and that are here still, as far as it knows."""
        return sum(list(self._own.values()))

    def add(self, body: Body, *, apart: bool = False) -> Added:
        """Put a body on the disk; unless it shall stay `apart`, into our newest file while that is small."""
        with self._adding:
            self.make_folder()
            # Who has the lock is the only one to take files away. While another process sends, room is
            # being made anyway.
            with self.held() as alone:
                grows = alone and body.calls and not apart
                entry = self._write(body, self._growing() if grows else None)
                self._newest = None if apart else entry
                return Added(entry, self._make_room() if alone else 0)

    def entries(self) -> Sequence[Entry]:
        """Return what waits, oldest first."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            names = []
        found = sorted(entry for name in names if (entry := _entry(name)) is not None)
        there = {entry.name for entry in found}
        for name in [name for name in list(self._own) if name not in there]:
            self._own.pop(name, None)  # another process has sent it
        return found

    def read(self, entry: Entry) -> Body | None:
        """Return what is in a file, whole or not; None when it is not there any more."""
        try:
            with open(self._path(entry), "rb") as file:
                return Body(file.read(), entry.calls)
        except FileNotFoundError:
            return None

    def set_aside(self, entry: Entry) -> None:
        """Keep a damaged file for whoever wants to look at it, under a name that is never sent."""
        self._own.pop(entry.name, None)
        os.replace(self._path(entry), self._path(entry) + _DAMAGED)

    def remove(self, entry: Entry) -> bool:
        """Take a file away; False when it was gone."""
        self._own.pop(entry.name, None)
        try:
            os.unlink(self._path(entry))
        except FileNotFoundError:
            return False
        return True

    def make_folder(self) -> None:
        """See to it that the folder is there, and nobody else's."""
        os.makedirs(self._root, mode=0o700, exist_ok=True)
        if self._root == default_root(os.environ):  # a place that is given is whoever's it may be
            _check_owner(self._root)
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        _check_owner(self.folder)

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Be the only one who sends or removes, over all processes; False when that is another.

        The kernel lets go of it when the process dies.
        """
        path = os.path.join(self.folder, _LOCK)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._locks.add(descriptor)
        try:
            yield _is_locked(descriptor)
        finally:
            _unlock(descriptor)
            self._locks.discard(descriptor)
            os.close(descriptor)

    def clear_drafts(self) -> None:
        """Remove what processes that died while they wrote have left."""
        long_ago = time.time() - _OLD_DRAFT
        for file in os.scandir(self.folder):
            if file.name.endswith(_DRAFT) and file.stat(follow_symlinks=False).st_mtime < long_ago:
                os.unlink(file.path)

    def _path(self, entry: Entry) -> str:
        return os.path.join(self.folder, entry.name)

    def _growing(self) -> Entry | None:
        """Return our newest file while it is small: an app with one call a minute must not make a file of each."""
        newest = self._newest
        return newest if newest and 0 < newest.calls < _FULL else None

    def _write(self, body: Body, growing: Entry | None) -> Entry:
        before = self.read(growing) if growing else None
        if growing is None or before is None or not before.is_whole():
            return self._write_whole(body, time.time_ns())
        # Bodies that stand one after the other are one body.
        grown = Body(before.content + body.content, before.calls + body.calls)
        entry = self._write_whole(grown, growing.since_ns)
        self.remove(growing)
        return entry

    def _write_whole(self, body: Body, since_ns: int) -> Entry:
        name = f"{since_ns:020}-{os.getpid()}-{os.urandom(4).hex()}-{body.calls}.otlp"
        entry = Entry(name, since_ns, body.calls)
        path = self._path(entry)
        draft = path + _DRAFT
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(body.content)
                file.flush()
                # The calls of a second have waited for the network already, and no thread of the app waits for
                # this: a few milliseconds buy that even a power cut loses nothing that was put here.
                os.fsync(descriptor)
            os.rename(draft, path)
        except OSError:
            _discard(draft)
            raise
        self._own[name] = body.calls
        return entry

    def _make_room(self) -> int:
        entries = list(self.entries())
        sizes = {entry.name: _size(self._path(entry)) for entry in entries}
        excess = sum(sizes.values()) - self.limit
        lost = 0
        for entry in [
            entry for entry in entries[:-1] if entry.calls
        ]:  # the newest stays, and what tells of losses
            if excess <= 0:
                break
            excess -= sizes[entry.name]
            lost += entry.calls if self.remove(entry) else 0
        return lost


def default_root(environment: Mapping[str, str]) -> str:
    """Return where the spool is when nobody says: the user's folder for state, else one for temporary files."""
    state = environment.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    if os.path.isabs(state) and _can_be_written(state):
        return os.path.join(state, "pennytrace", "spool")
    return os.path.join(environment.get("TMPDIR") or "/tmp", f"pennytrace-{os.getuid()}")


def _can_be_written(folder: str) -> bool:
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    return os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)


def _folder_name(url: str) -> str:
    with in_one_piece():
        import hashlib  # here, because it takes longer to load than all of this

    host = re.sub(r"[^A-Za-z0-9.-]", "_", urlsplit(url).hostname or "")
    return f"{host[:64]}-{hashlib.sha256(url.encode()).hexdigest()[:16]}"


def _check_owner(folder: str) -> None:
    # In a folder that everybody may write to, another user may have made it to read or replace what we write.
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to somebody else")


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: two may send the same, which the collector sorts out
    return True


def _unlock(descriptor: int) -> None:
    # By name, not only by closing: a child may have been forked in between and hold the same descriptor.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError:
        return


def _entry(name: str) -> Entry | None:
    match = _ENTRY.fullmatch(name)
    return Entry(name, int(match[1]), int(match[2])) if match else None


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


def _discard(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return
