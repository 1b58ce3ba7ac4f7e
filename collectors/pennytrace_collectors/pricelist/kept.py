"""The genai-prices data files that `prices update` has taken: kept side by side, with a note of which is in use."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pennytrace_collectors.errors import PriceDataError

_NOTE: Final = "taken.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A data file that was taken."""

    file: str
    """Its name in the folder."""
    taken_at: str
    """ISO 8601, UTC."""
    source: str
    """The path or URL it was taken from."""
    sha256: str
    newest_price: str
    """The day on which the last of its dated prices starts, which may be to come."""
    package: str
    """The version of genai-prices that was installed then."""


def folder(state: Path) -> Path:
    """Where the data files of a state folder are."""
    return state / "prices"


def taken(state: Path) -> tuple[Taken, ...]:
    """The data files taken so far and not gone back from, the one taken last at the end.

    Raises:
        PriceDataError: the note about them cannot be read.
    """
    note = folder(state) / _NOTE
    try:
        return tuple(Taken(**entry) for entry in json.loads(note.read_text("utf-8")))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError) as error:
        raise PriceDataError(
            f"cannot read {str(note)!r}: {error}; delete it to price by the installed genai-prices, "
            "then take a data file again by `pennytrace prices update`"
        ) from error


def path_of(state: Path, entry: Taken) -> Path:
    """The data file of an entry.

    Raises:
        PriceDataError: the file is gone, or is not what was taken.
    """
    path = folder(state) / entry.file
    try:
        body = path.read_bytes()
    except OSError as error:
        raise PriceDataError(f"cannot read {str(path)!r}: {error.strerror}; {_ADVICE}") from error
    if hashlib.sha256(body).hexdigest() != entry.sha256:
        raise PriceDataError(f"{str(path)!r} has changed since it was taken; {_ADVICE}")
    return path


_ADVICE: Final = "go back by `pennytrace prices update --back`, or take it again"


def keep(state: Path, body: bytes, *, source: str, newest_price: str, package: str) -> Taken:
    """Keep a data file and make it the one in use; after a crash either all of that or nothing has happened.

    Raises:
        PriceDataError: it cannot be written, or another update is at it.
    """
    digest = hashlib.sha256(body).hexdigest()
    now = datetime.now(UTC)
    entry = Taken(
        file=f"{now:%Y%m%dT%H%M%S%fZ}-{digest[:12]}.json",
        taken_at=now.isoformat(timespec="seconds"),
        source=source,
        sha256=digest,
        newest_price=newest_price,
        package=package,
    )
    with _alone(state):
        _write(folder(state) / entry.file, body)
        _note(state, (*taken(state), entry))
    return entry


def go_back(state: Path) -> Taken:
    """Stop using the file that was taken last, and return it; the file itself stays.

    Raises:
        PriceDataError: none is in use, or the note cannot be written.
    """
    with _alone(state):
        entries = taken(state)
        if not entries:
            raise PriceDataError("no data file is in use: prices are those of the installed genai-prices")
        _note(state, entries[:-1])
    return entries[-1]


@contextlib.contextmanager
def _alone(state: Path) -> Iterator[None]:
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder(state).mkdir(mode=0o700, exist_ok=True)
        lock = os.open(folder(state) / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise PriceDataError(f"cannot write into {str(folder(state))!r}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise PriceDataError(f"another `prices update` is at {str(folder(state))!r}; try again") from None
    except OSError as error:
        raise PriceDataError(f"cannot write into {str(folder(state))!r}: {error.strerror}") from error
    finally:
        os.close(lock)


def _note(state: Path, entries: Sequence[Taken]) -> None:
    _write(folder(state) / _NOTE, json.dumps([asdict(entry) for entry in entries], indent=1).encode() + b"\n")


def _write(path: Path, body: bytes) -> None:
    """Write a whole file or none, so that it would survive a power failure."""
    passing = path.with_suffix(".new")
    file = os.open(passing, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    try:
        with open(file, "wb") as opened:
            opened.write(body)
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(passing, path)
    except OSError:
        passing.unlink(missing_ok=True)
        raise
    names = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(names)
    finally:
        os.close(names)
