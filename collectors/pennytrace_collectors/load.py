"""Brings the journal's segments into the store, in order, on one thread, until it has confirmed each."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from pennytrace_collectors.errors import JournalError, StoreError, StoreRefused
from pennytrace_collectors.journal import Content, Segment
from pennytrace_collectors.refused import set_aside, split

_log = logging.getLogger(__name__)

_ERRANDS_EVERY_S: Final = 0.5
"""How long an errand may have to wait for the loader to look for it, when there is nothing to load."""


class Store(Protocol):
    """What the loader asks of a store; all calls come from one thread, one after the other."""

    def load(self, messages: bytes) -> None:
        """Insert length-delimited ExportTraceServiceRequest messages; a span that is there replaces itself.

        Raises:
            StoreRefused: The messages themselves are at fault.
            StoreError: They could not be inserted, or nobody knows whether they were.
        """
        ...

    def settle(self) -> None:
        """Bring what has been loaded to its final state; safe to repeat.

        Raises:
            StoreError: It could not be done now.
        """
        ...

    def figures(self) -> Mapping[str, int]:
        """Return what the store counts, by name; at least `unpriced_calls`.

        Raises:
            StoreError: It could not be read now.
        """
        ...

    def close(self) -> None:
        """Release the store."""
        ...


class Source(Protocol):
    """Where segments come from: the journal."""

    def take(self, wait_s: float) -> Segment | None:
        """Return the oldest segment that is not removed yet, or None when none comes for `wait_s` seconds."""
        ...

    def read(self, segment: Segment) -> Content:
        """Return the records of a segment.

        Raises:
            JournalError: It cannot be read.
        """
        ...

    def remove(self, segment: Segment) -> None:
        """Forget a segment, because the store has it."""
        ...

    def drain(self) -> None:
        """Let `take` return None after the last segment, instead of waiting."""
        ...


class Errands(Protocol):
    """Other work on the store, done between segments; all calls come from the loader's thread."""

    def step(self) -> bool:
        """Do a bit of it, if there is any, and return whether there is more to do at once."""
        ...

    def stop(self) -> None:
        """Leave what was begun as it is, because the store is about to be closed."""
        ...


class NoErrands:
    """Nothing besides loading."""

    def step(self) -> bool:
        """Nothing is done, and nothing is left."""
        return False

    def stop(self) -> None:
        """Nothing was begun."""


class Several:
    """Errands of several kinds, a bit of each in turn."""

    def __init__(self, *errands: Errands) -> None:
        """Do all of `errands`."""
        self._errands = errands

    def step(self) -> bool:
        """Do a bit of each."""
        return any([errands.step() for errands in self._errands])

    def stop(self) -> None:
        """Leave each."""
        for errands in self._errands:
            errands.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often the loader does what, in seconds."""

    settle_s: float = 2.0
    """Between two settles while calls come in."""
    settle_idle_s: float = 30.0
    """Between two settles while none do: prices and late repeats still have to be looked at."""
    retry_s: float = 0.5
    """After the first failure; doubled with each further one."""
    retry_longest_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderState:
    """What the loader has done since it was started."""

    loaded_segments: int = 0
    loaded_spans: int = 0
    failures: int = 0
    """Loads and settles that failed, each try counted."""
    refused_bodies: int = 0
    """Bodies that the store would never take, and that were set aside."""
    failure: str = ""
    """Why the last try failed; empty when it did not."""
    figures: Mapping[str, int] = field(default_factory=dict)
    """What the store counted after the last settle."""


@dataclass(slots=True)
class _Progress:
    loaded_segments: int = 0
    loaded_spans: int = 0
    failures: int = 0
    refused_bodies: int = 0
    failure: str = ""
    figures: Mapping[str, int] = field(default_factory=dict)
    failed_in_a_row: int = 0
    settled_at: float = 0.0
    loaded_since: bool = True


class Loader:
    """A thread that loads until it is told to finish."""

    def __init__(
        self,
        source: Source,
        open_store: Callable[[], Store],
        *,
        refused: Path,
        pace: Pace | None = None,
        errands: Errands | None = None,
    ) -> None:
        """Load from `source` into the store that `open_store` returns, called on the loader's thread.

        Opening is tried again when it fails; `open_store` may as well return a store that is open already.
        Bodies that the store will never take are written into the folder `refused`. `errands` are done between two
        segments.
        """
        self._source = source
        self._open_store = open_store
        self._store: Store | None = None
        self._refused = refused
        self._pace = pace or Pace()
        self._errands = errands or NoErrands()
        self._more_errands = False
        self._progress = _Progress()
        self._finishing = threading.Event()
        self._give_up_at = float("inf")
        self._thread = threading.Thread(target=self._run, name="loader", daemon=True)

    def start(self) -> None:
        """Begin to load."""
        self._thread.start()

    def finish(self, timeout_s: float) -> bool:
        """Load what is left, stop, and close the store; what there is no time for stays in the journal.

        Returns:
            Whether the thread has ended; if not, it is stuck in the store, which nobody may touch any more.
        """
        self._give_up_at = time.monotonic() + timeout_s
        self._finishing.set()
        self._source.drain()
        self._thread.join(timeout_s + 1.0)
        return not self._thread.is_alive()

    def state(self) -> LoaderState:
        """Return what has been done up to this moment."""
        done = self._progress
        return LoaderState(
            loaded_segments=done.loaded_segments,
            loaded_spans=done.loaded_spans,
            failures=done.failures,
            refused_bodies=done.refused_bodies,
            failure=done.failure,
            figures=done.figures,
        )

    def _run(self) -> None:
        while self._try(self._step):
            pass
        if self._progress.loaded_since:
            self._try(self._settle)
        self._errands.stop()
        if self._store is not None:
            self._store.close()
            self._store = None

    def _try(self, action: Callable[[], bool]) -> bool:
        """Do one thing and return whether to go on; wait after a failure, stop when there is no time left."""
        try:
            more = action()
        # A bug in the store must not end loading for good while bodies are still being acknowledged.
        except Exception as error:  # noqa: BLE001
            return self._after(error)
        if self._progress.failure:
            _log.info("loading works again")
        self._progress.failure = ""
        self._progress.failed_in_a_row = 0
        return more and time.monotonic() < self._give_up_at

    def _step(self) -> bool:
        store = self._opened()
        finishing = self._finishing.is_set()
        segment = self._source.take(self._patience(finishing=finishing))
        if segment is not None:
            self._load(store, segment)
        # While finishing, only what there is to load is done; an errand that was begun is for the next start.
        self._more_errands = not self._finishing.is_set() and self._errands.step()
        if self._until_settle() <= 0:
            self._settle()
        return segment is not None or not finishing

    def _opened(self) -> Store:
        if self._store is None:
            self._store = self._open_store()
        return self._store

    def _load(self, store: Store, segment: Segment) -> None:
        content = self._source.read(segment)
        if content.messages:
            self._insert(store, content.messages, name=segment.path.stem)
        self._source.remove(segment)
        self._progress.loaded_since = True
        self._progress.loaded_segments += 1
        self._progress.loaded_spans += content.spans

    def _insert(self, store: Store, messages: bytes, *, name: str) -> None:
        """Insert a run of messages; when the store refuses it, find the ones at fault and set them aside."""
        try:
            store.load(messages)
        except StoreRefused as error:
            halves = split(messages)
            if len(halves) == 1:
                set_aside(self._refused, messages, str(error), name=name)
                self._progress.refused_bodies += 1
                return
            for half in halves:
                self._insert(store, half, name=name)

    def _settle(self) -> bool:
        store = self._opened()
        # Noted first: when settling fails, loading goes on until it is due again.
        self._progress.settled_at = time.monotonic()
        store.settle()
        self._progress.figures = dict(store.figures())
        self._progress.settled_at = time.monotonic()
        self._progress.loaded_since = False
        return False

    def _patience(self, *, finishing: bool) -> float:
        """How long to wait for a segment."""
        if finishing:
            # The source itself says when there is nothing more to wait for.
            return max(self._give_up_at - time.monotonic(), 0.0)
        return 0.0 if self._more_errands else min(self._until_settle(), _ERRANDS_EVERY_S)

    def _until_settle(self) -> float:
        every = self._pace.settle_s if self._progress.loaded_since else self._pace.settle_idle_s
        return max(self._progress.settled_at + every - time.monotonic(), 0.0)

    def _after(self, error: Exception) -> bool:
        progress = self._progress
        progress.failures += 1
        progress.failed_in_a_row += 1
        expected = isinstance(error, StoreError | JournalError)
        progress.failure = str(error) if expected else f"{type(error).__name__}: {error}"
        wait_s = self._wait_s()
        _log.error(
            "loading failed: %s; trying again in %.1f s", progress.failure, wait_s, exc_info=not expected
        )
        # While finishing there is no second try: the journal keeps what is left for the next start.
        return not self._finishing.wait(wait_s)

    def _wait_s(self) -> float:
        longest = self._pace.retry_longest_s
        wait_s = min(self._pace.retry_s * 2.0 ** min(self._progress.failed_in_a_row - 1, 16), longest)
        # Several collectors that lost the same store must not all come back at once.
        return wait_s * random.uniform(0.8, 1.2)
