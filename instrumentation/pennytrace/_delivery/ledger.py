"""The file in the spool that keeps count of losses, for `pennytrace doctor`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Final

from pennytrace._delivery.losses import Loss

NAME: Final = "lost.jsonl"
_LARGEST: Final = 64 * 1024  # bytes; then the lines are summed up


def keep(folder: str, losses: Iterable[Loss]) -> None:
    """Add losses to the file in `folder`.

    A line each, appended in one go: several processes do so at once, and none has to wait for another.

    Raises:
        OSError: It cannot be written.
    """
    path = os.path.join(folder, NAME)
    _append(path, losses)
    if os.path.getsize(path) > _LARGEST:
        _sum_up(path)


def kept(folder: str) -> list[Loss]:
    """Return the losses in `folder`, one for each reason.

    Raises:
        OSError: It cannot be read.
    """
    try:
        with open(os.path.join(folder, NAME), encoding="utf-8", errors="replace") as file:
            lines = list(file)
    except FileNotFoundError:
        return []
    found: dict[str, Loss] = {}
    for loss in filter(None, map(_read, lines)):
        before = found.get(loss.reason, loss._replace(calls=0))
        since = min(before.since_ns, loss.since_ns)
        found[loss.reason] = Loss(loss.reason, before.calls + loss.calls, since, loss.detail)
    return list(found.values())


def _append(path: str, losses: Iterable[Loss]) -> None:
    lines = "".join(json.dumps(loss._asdict()) + "\n" for loss in losses)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, lines.encode())
    finally:
        os.close(descriptor)


def _sum_up(path: str) -> None:
    # What another process appends in this very moment is missing from the sum; the collector is told apart
    # from this file.
    draft = f"{path}.{os.getpid()}.tmp"
    _append(draft, kept(os.path.dirname(path)))
    os.replace(draft, path)


def _read(line: str) -> Loss | None:
    try:
        fields = json.loads(line)
        return Loss(
            str(fields["reason"]), int(fields["calls"]), int(fields["since_ns"]), str(fields["detail"])
        )
    except (ValueError, TypeError, KeyError):
        return None  # cut by a full disk
