"""How other commands find the collector that runs on a state folder."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import platformdirs

_FILE: Final = "collector.json"
_SECRET: Final = "collector.secret"
STATE_VARIABLE: Final = "PENNYTRACE_STATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCollector:
    """A collector that has started on a state folder and has not stopped cleanly."""

    pid: int
    version: str
    http: str | None
    """The URL of OTLP over HTTP, of `/health` and of `/metrics`; None when it is off, as for the others."""
    grpc: str | None
    sql: str | None
    """The URL of the read-only SQL port."""
    local: str | None = None
    """The URL at which this user's own commands read, and ask for `/health`, where the others have TLS."""
    prices: tuple[str, ...] = ()
    """The paths of its price files."""


def state_folder(given: str | None) -> Path:
    """Return the state folder: as given, else `PENNYTRACE_STATE`, else under the user's data directory."""
    chosen = given or os.environ.get(STATE_VARIABLE)
    folder = Path(chosen).expanduser() if chosen else platformdirs.user_data_path("pennytrace")
    return folder.absolute()


def embedded_store(state: Path) -> str:
    """Return the DSN of the embedded store in a state folder."""
    return f"chdb://{quote(str(state / 'store'))}"


def announce(state: Path, collector: RunningCollector) -> None:
    """Let others find a collector; they see the whole file or none.

    Raises:
        OSError: The file cannot be written.
    """
    passing = state / f"{_FILE}.{collector.pid}.new"
    passing.write_text(json.dumps(asdict(collector), indent=1) + "\n", encoding="utf-8")
    os.replace(passing, state / _FILE)


def leave_secret(state: Path, secret: str) -> None:
    """Leave what commands of this user read the SQL port with, for nobody else to see.

    Raises:
        OSError: The file cannot be written.
    """
    passing = state / f"{_SECRET}.new"
    passing.unlink(missing_ok=True)
    with open(os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(secret)
    os.replace(passing, state / _SECRET)


def local_secret(state: Path) -> str:
    """Return what the collector of a state folder has left for commands; '' where there is nothing to read."""
    try:
        return (state / _SECRET).read_text("ascii")
    except (OSError, ValueError):
        return ""


def withdraw(state: Path) -> None:
    """Say that the collector has stopped; does nothing when none was announced."""
    (state / _FILE).unlink(missing_ok=True)
    (state / _SECRET).unlink(missing_ok=True)


def find(state: Path) -> RunningCollector | None:
    """Return the collector that runs on a state folder, or None; one that was killed does not count."""
    try:
        found = json.loads((state / _FILE).read_text(encoding="utf-8"))
        collector = RunningCollector(**{**found, "prices": tuple(found.get("prices", ()))})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return collector if _is_alive(collector.pid) else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether it has ended and only its parent has not noticed yet, which a container's first process may never do."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state == "Z"
