"""The files by which a command asks the collector that has the store open: orders, progress, answers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from pennytrace_collectors.errors import OrderError
from pennytrace_collectors.orders.order import ANY_ANSWER, ANY_ORDER, Answer, Order
from pennytrace_collectors.store.selection import Progress

FORMAT: Final = 1
"""Of the files; a collector does not guess at those of a newer command."""
_NAME: Final = re.compile(r"[0-9A-Za-z-]{1,80}")
_FORGOTTEN_AFTER_S: Final = 86_400.0
_PROGRESS: Final = TypeAdapter(Progress)


def new_name() -> str:
    """A name for an order, later ones being greater."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S-%f}-{secrets.token_hex(2)}"


@dataclass(frozen=True, slots=True)
class OrderFolder:
    """A folder of orders; each is `NAME.json` while it waits and `NAME.taken.json` from when it is begun."""

    path: Path

    def place(self, order: Order) -> str:
        """Leave an order for the collector and return its name.

        Raises:
            OrderError: it cannot be written: the disk is full, or the folder is somebody else's.
        """
        name = new_name()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(f"{name}.json", {"order": ANY_ORDER.dump_python(order, mode="json")})
        except OSError as error:
            raise OrderError(
                f"cannot leave an order for the collector in {str(self.path)!r}: {error.strerror}; nothing was changed"
            ) from error
        return name

    def withdraw(self, name: str) -> bool:
        """Take an order back unless it has been begun; return whether that was in time."""
        try:
            (self.path / f"{name}.json").unlink()
        except FileNotFoundError:
            return False
        return True

    def forget(self, name: str) -> None:
        """Remove all that is left of an order."""
        for suffix in ("", ".taken", ".progress", ".answer"):
            with contextlib.suppress(OSError):
                (self.path / f"{name}{suffix}.json").unlink()

    def is_begun(self, name: str) -> bool:
        """Whether the collector has taken an order."""
        return not (self.path / f"{name}.json").exists()

    def progress(self, name: str) -> Progress | None:
        """How far an order has come, if that is known."""
        try:
            return _PROGRESS.validate_python(self._read(f"{name}.progress.json")["progress"])
        except (OSError, ValueError, KeyError):
            return None

    def answer(self, name: str) -> Answer | None:
        """The answer to an order, or None as long as there is none.

        Raises:
            OrderError: the order could not be carried out; the message is the collector's.
        """
        try:
            found = self._read(f"{name}.answer.json")
        except FileNotFoundError:
            return None
        if "error" in found:
            raise OrderError(str(found["error"]))
        return ANY_ANSWER.validate_python(found["answer"])

    # What follows is the collector's.

    def oldest(self) -> str | None:
        """The order to be done next: the one that was begun by an earlier collector, else the oldest."""
        try:
            names = sorted(os.listdir(self.path))
        except FileNotFoundError:
            return None
        begun = [name.removesuffix(".taken.json") for name in names if name.endswith(".taken.json")]
        waiting = [name.removesuffix(".json") for name in names]
        return next((name for name in [*begun, *waiting] if _NAME.fullmatch(name)), None)

    def take(self, name: str) -> Order | None:
        """Begin an order; None when it was withdrawn, or has been answered by a collector that stopped right then.

        Raises:
            OrderError: it cannot be read, or comes from another version; the message is the answer to it.
        """
        taken = self.path / f"{name}.taken.json"
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.path / f"{name}.json", taken)
        if not taken.exists() or (self.path / f"{name}.answer.json").exists():
            self._done(name)
            return None
        return _order(self._read(taken.name))

    def tell(self, name: str, progress: Progress) -> None:
        """Say how far an order has come; nobody depends on it, so a full disk does not matter."""
        with contextlib.suppress(OSError):
            self._write(f"{name}.progress.json", {"progress": _PROGRESS.dump_python(progress, mode="json")})

    def reply(self, name: str, answer: Answer | str) -> None:
        """Answer an order, with what went wrong when that is a text; then it is done.

        Raises:
            OSError: the answer cannot be written; the order stays as it is.
        """
        if isinstance(answer, str):
            self._write(f"{name}.answer.json", {"error": answer})
        else:
            self._write(f"{name}.answer.json", {"answer": ANY_ANSWER.dump_python(answer, mode="json")})
        self._done(name)

    def tidy(self, *, now: float) -> None:
        """Remove answers that nobody has fetched for a day."""
        for left in [*self.path.glob("*.answer.json"), *self.path.glob("*.new")]:
            with contextlib.suppress(FileNotFoundError):
                if left.stat().st_mtime < now - _FORGOTTEN_AFTER_S:
                    left.unlink()

    def _done(self, name: str) -> None:
        for suffix in ("taken", "progress"):
            (self.path / f"{name}.{suffix}.json").unlink(missing_ok=True)

    def _read(self, file: str) -> dict[str, Any]:
        found = json.loads((self.path / file).read_text("utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"expected an object, got {type(found).__name__}")
        return found

    def _write(self, file: str, document: dict[str, Any]) -> None:
        """Write a file that others see whole or not at all."""
        passing = self.path / f"{file}.new"
        descriptor = os.open(passing, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        with open(descriptor, "w", encoding="utf-8") as out:
            json.dump({"format": FORMAT, **document}, out)
            out.flush()
            os.fsync(descriptor)
        os.replace(passing, self.path / file)


def _order(document: dict[str, Any]) -> Order:
    found = document.get("format")
    if isinstance(found, int) and found > FORMAT:
        raise OrderError(
            f"the order is of a newer pennytrace (format {found}) than the collector that runs (format {FORMAT}): "
            "restart the collector with that version"
        )
    return ANY_ORDER.validate_python(document.get("order"))
