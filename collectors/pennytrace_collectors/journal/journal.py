"""Takes bodies from the event loop, writes them in groups on its own thread, hands out segments in order."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pennytrace_collectors.errors import JournalError, JournalFull, JournalUnwritable

from .disk import Disk, LocalDisk
from .lock import FolderLock, lock_folder
from .record import framed_size
from .segment import Content, OpenSegment, Segment, adopted, last_number, left_behind, path_of, read

_log = logging.getLogger(__name__)

_FAILURE_MATTERS_S = 5.0
"""How long after a failed write the journal calls itself unwritable, when nobody has tried again."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a segment is sealed, and how much the journal may hold."""

    total_bytes: int = 8 * 1024**3
    segment_bytes: int = 32 * 1024**2
    """A segment is sealed when it has grown beyond this."""
    segment_age_s: float = 1.0
    """A segment whose first record is older is sealed when the loader asks for one."""
    group_bytes: int = 16 * 1024**2
    """Waiting bodies that are written together, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalState:
    """What a journal holds and has done since it was opened."""

    bytes: int
    segments: int
    oldest_at: float | None
    """When the oldest record that is not loaded was written, in seconds since 1970."""
    appended_bytes: int
    appended_spans: int
    appended_bodies: int
    syncs: int
    """Groups of bodies that were made durable together."""
    torn: int
    """Segments whose damaged end had to be set aside."""
    refusing: str
    """Why bodies are not taken at the moment; empty when they are."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    body: bytes
    spans: int
    done: asyncio.Future[None]


@dataclass(slots=True)
class _Totals:
    bytes: int = 0
    appended_bytes: int = 0
    appended_spans: int = 0
    appended_bodies: int = 0
    syncs: int = 0
    torn: int = 0
    failure: str = ""
    failed_at: float = 0.0
    too_large: int = 0
    """The size of the record that there was no room for when the last was refused."""
    too_large_at: float = float("-inf")


@dataclass(slots=True)
class _Wishes:
    """What the writing thread is asked to do."""

    bodies: deque[_Waiting] = field(default_factory=deque)
    seal: bool = False
    close: bool = False


class Journal:
    """A folder of bodies that are acknowledged but not yet loaded.

    `append` is called on one event loop; `take`, `read`, `remove` and `adopt` on one loading thread; the rest on any.
    """

    def __init__(self, folder: Path, *, disk: Disk | None = None, limits: Limits | None = None) -> None:
        """Create or reopen the journal in `folder`; what an earlier process left is handed out first.

        Raises:
            JournalInUse: Another collector uses the folder.
            JournalError: The folder cannot be created or read.
        """
        self._folder = folder
        self._disk: Disk = disk or LocalDisk()
        self._limits = limits or Limits()
        self._totals = _Totals()
        self._wishes = _Wishes()
        self._open: OpenSegment | None = None
        self._open_since: tuple[float, float] | None = None
        self._draining = False
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._news = threading.Condition(self._lock)
        self._folder_lock = self._enter()
        self._writer = threading.Thread(target=self._write, name="journal", daemon=True)
        self._writer.start()

    async def append(self, body: bytes, *, spans: int) -> None:
        """Return once `body` is on disk, where it stays until it is loaded.

        Raises:
            JournalFull: The journal has reached its size limit.
            JournalUnwritable: The disk is full or broken; nothing of the body is kept.
        """
        waiting = _Waiting(body, spans, asyncio.get_running_loop().create_future())
        with self._lock:
            self._admit(len(body))
            self._wishes.bodies.append(waiting)
            self._work.notify()
        await waiting.done

    def take(self, wait_s: float) -> Segment | None:
        """Return the oldest segment that is not removed yet, or None when none comes for `wait_s` seconds."""
        deadline = time.monotonic() + wait_s
        with self._lock:
            while not self._sealed:
                now = time.monotonic()
                # Asked first, so that a caller who never waits gets the segment the next time.
                until_old = self._ask_to_seal(now)
                if now >= deadline or self._nothing_to_wait_for():
                    return None
                self._news.wait(min(deadline - now, until_old))
            return self._sealed[0]

    def read(self, segment: Segment) -> Content:
        """Return the records of a segment; a torn end that a crash has left is set aside, and logged.

        A segment that somebody has deleted is empty, which is logged too.

        Raises:
            JournalError: The file cannot be read.
        """
        try:
            content = read(segment, self._disk)
        except FileNotFoundError:
            _log.error("%s is gone, although nobody but the collector may delete it", segment.path)
            return Content(b"", 0, torn=False)
        except OSError as error:
            raise JournalError(f"cannot read {str(segment.path)!r}: {error.strerror}") from error
        with self._lock:
            self._totals.torn += content.torn
        return content

    def remove(self, segment: Segment) -> None:
        """Forget a segment, because the store has it.

        A power failure may bring the file back; it is then loaded again, which the store must bear.
        """
        with contextlib.suppress(FileNotFoundError):
            segment.path.unlink()
        with self._lock:
            self._sealed.remove(segment)
            self._totals.bytes -= segment.size

    def adopt(self, path: Path) -> bool:
        """Take a file of records over as the newest segment; return False when there is no room for it now.

        The file is gone from where it was when this returns True; a crash leaves it there or here, never in both.

        Raises:
            FileNotFoundError: It is not there any more.
            OSError: It cannot be moved.
        """
        size = path.stat().st_size
        with self._lock:
            if self._totals.bytes and self._totals.bytes + size > self._limits.total_bytes:
                return False
            segment = adopted(path, self._folder, self._next_number())
            self._sealed.append(segment)
            self._totals.bytes += segment.size
            self._news.notify()
        self._disk.sync_folder(self._folder)
        return True

    def drain(self) -> None:
        """From now on `take` waits only for the segment being written, and returns None after the last."""
        with self._lock:
            self._draining = True
            self._news.notify()

    def close(self) -> None:
        """Write what still waits and unlock the folder; what is not loaded stays for the next collector."""
        with self._lock:
            self._wishes.close = True
            self._work.notify()
        self._writer.join()
        self._folder_lock.release()

    def state(self) -> JournalState:
        """Return what the journal holds at this moment."""
        with self._lock:
            totals = self._totals
            return JournalState(
                bytes=totals.bytes,
                segments=len(self._sealed) + (self._open_since is not None),
                oldest_at=self._oldest_at(),
                appended_bytes=totals.appended_bytes,
                appended_spans=totals.appended_spans,
                appended_bodies=totals.appended_bodies,
                syncs=totals.syncs,
                torn=totals.torn,
                refusing=self._refusal(),
            )

    def _enter(self) -> FolderLock:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = lock_folder(self._folder)
            self._sealed = deque(left_behind(self._folder))
            self._number = last_number(self._folder)
        except OSError as error:
            raise JournalError(
                f"cannot use the journal folder {str(self._folder)!r}: {error.strerror}; "
                "choose another with --state"
            ) from error
        self._totals.bytes = sum(segment.size for segment in self._sealed)
        if self._sealed:
            _log.info("found %d segments of an earlier run; they are loaded first", len(self._sealed))
        return lock

    def _admit(self, body_bytes: int) -> None:
        if not self._writer.is_alive() or self._wishes.close:
            raise JournalUnwritable("the journal is closed")
        size = framed_size(body_bytes)
        if self._totals.bytes + size > self._limits.total_bytes:
            self._totals.too_large, self._totals.too_large_at = size, time.monotonic()
            raise JournalFull(self._full())
        self._totals.bytes += size

    def _full(self) -> str:
        return (
            f"the journal has reached its limit of {self._limits.total_bytes} bytes, "
            "because the store does not keep up; send it again later"
        )

    def _refusal(self) -> str:
        if not self._writer.is_alive():
            return "the journal is closed"
        # Nobody may be sending any more, just because this says no: so it stops saying no after a while.
        since = time.monotonic() - _FAILURE_MATTERS_S
        large = self._totals.too_large if self._totals.too_large_at > since else 0
        if self._totals.bytes + large > self._limits.total_bytes * (1.0 if large else 0.99):
            return self._full()
        return self._totals.failure if self._totals.failed_at > since else ""

    def _oldest_at(self) -> float | None:
        if self._sealed:
            return self._sealed[0].oldest_at
        return self._open_since[0] if self._open_since else None

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _nothing_to_wait_for(self) -> bool:
        return not self._writer.is_alive() or (self._draining and self._open_since is None)

    def _ask_to_seal(self, now: float) -> float:
        """Ask for the segment being written if it is old enough; return the seconds until it is."""
        if self._open_since is None:
            return 3600.0
        left = self._open_since[1] + self._limits.segment_age_s - now
        if left <= 0 or self._draining:
            self._wishes.seal = True
            self._work.notify()
            return 3600.0
        return left

    # What follows runs on the writing thread.

    def _write(self) -> None:
        try:
            while True:
                group, seal, close = self._next_wish()
                if group:
                    self._commit(group)
                if seal or close or self._is_large():
                    self._seal_open()
                if close and not group:
                    return
        finally:
            # Also after an error that nobody expected: those who wait must not wait for ever.
            self._abandon()

    def _next_wish(self) -> tuple[Sequence[_Waiting], bool, bool]:
        with self._lock:
            wishes = self._wishes
            while not (wishes.bodies or wishes.seal or wishes.close):
                self._work.wait()
            group = _pop_group(wishes.bodies, self._limits.group_bytes)
            seal, wishes.seal = wishes.seal, False
            return group, seal, wishes.close

    def _commit(self, group: Sequence[_Waiting]) -> None:
        size = sum(framed_size(len(waiting.body)) for waiting in group)
        try:
            written = self._opened().append([(waiting.body, waiting.spans) for waiting in group])
        except OSError as error:
            self._failed(error, size)
            _resolve(group, self._totals.failure)
            return
        with self._lock:
            self._totals.syncs += 1
            self._totals.appended_bytes += written
            self._totals.appended_bodies += len(group)
            self._totals.appended_spans += sum(waiting.spans for waiting in group)
            self._totals.failure = ""
        _resolve(group, "")

    def _opened(self) -> OpenSegment:
        if self._open is None:
            now = time.time()
            with self._lock:
                number = self._next_number()
            self._open = OpenSegment(path_of(self._folder, number), self._disk, now=now)
            with self._lock:
                self._open_since = (now, time.monotonic())
                self._news.notify()
        return self._open

    def _failed(self, error: OSError, size: int) -> None:
        if error.errno in _FULL:
            failure = (
                f"the disk of the journal is full ({error.strerror}); make room, and send it again later"
            )
        else:
            failure = f"the journal cannot be written ({error.strerror}); send it again later"
        _log.error("%s", failure)
        with self._lock:
            self._totals.bytes -= size
            self._totals.failure = failure
            self._totals.failed_at = time.monotonic()
        if self._open is not None and self._open.doubtful:
            self._seal_open()

    def _is_large(self) -> bool:
        return self._open is not None and self._open.size >= self._limits.segment_bytes

    def _seal_open(self) -> None:
        segment, self._open = self._open, None
        sealed: list[Segment] = []
        if segment is not None and segment.size == 0:
            segment.discard()
        elif segment is not None:
            sealed.append(segment.seal())
        with self._lock:
            self._sealed.extend(sealed)
            self._open_since = None
            self._news.notify()

    def _abandon(self) -> None:
        with self._lock:
            self._wishes.close = True
            group = tuple(self._wishes.bodies)
            self._wishes.bodies.clear()
            self._news.notify()
        _resolve(group, "the journal is closed")


def _pop_group(bodies: deque[_Waiting], limit_bytes: int) -> Sequence[_Waiting]:
    group: list[_Waiting] = []
    size = 0
    while bodies and (not group or size + len(bodies[0].body) <= limit_bytes):
        size += len(bodies[0].body)
        group.append(bodies.popleft())
    return group


def _resolve(group: Sequence[_Waiting], failure: str) -> None:
    if not group:
        return
    # A closed loop has nobody left who waits.
    with contextlib.suppress(RuntimeError):
        group[0].done.get_loop().call_soon_threadsafe(_resolve_on_loop, group, failure)


def _resolve_on_loop(group: Sequence[_Waiting], failure: str) -> None:
    for waiting in group:
        if waiting.done.done():
            continue
        if failure:
            waiting.done.set_exception(JournalUnwritable(failure))
        else:
            waiting.done.set_result(None)
