"""Who sends a body: what it is let in by, what its calls are stamped with, how much it may send."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from pennytrace_collectors.errors import OverAllowance


class Allowance:
    """Bytes a second that a sender may send on average; used on one event loop."""

    def __init__(self, bytes_per_s: int, *, now: Callable[[], float] = time.monotonic) -> None:
        """Allow `bytes_per_s`, and ten seconds' worth at once."""
        self.bytes_per_s = bytes_per_s
        self._most = bytes_per_s * _BURST_S
        self._left: float = self._most
        self._now = now
        self._at = now()

    def require(self) -> None:
        """Let a body come while anything is left; how large it is shows when it is there.

        Raises:
            OverAllowance: What came before has used it up.
        """
        now = self._now()
        self._left = min(self._left + (now - self._at) * self.bytes_per_s, self._most)
        self._at = now
        if self._left <= 0:
            wait = math.ceil(-self._left / self.bytes_per_s) or 1
            raise OverAllowance(
                f"this token may send {self.bytes_per_s} bytes a second; send it again in {wait} s",
                retry_after_s=wait,
            )

    def spend(self, size: int) -> None:
        """Count a body that was received, kept or not; it may leave a debt, which later ones wait for."""
        self._left -= size


_BURST_S: Final = 10


@dataclass(frozen=True, slots=True)
class Bearer:
    """Somebody who may send, by their token or because nobody is asked for one."""

    name: str = ""
    team: str = ""
    """What every call is stamped with; '' leaves what it says itself, as for the environment."""
    environment: str = ""
    restricted: bool = False
    """Whether a body that says something else is refused."""
    spans_per_body: int | None = None
    allowance: Allowance | None = None

    def require_allowance(self) -> None:
        """Let a body come.

        Raises:
            OverAllowance: There were too many bytes before it.
        """
        if self.allowance is not None:
            self.allowance.require()

    def spend(self, size: int) -> None:
        """Count a body of so many bytes, unpacked."""
        if self.allowance is not None:
            self.allowance.spend(size)


ANYONE: Final = Bearer()


class Doors(Protocol):
    """Knows who may send."""

    def admit(self, authorization: str) -> Bearer:
        """Return whose request it is by its Authorization, '' where it has none.

        Raises:
            Unauthenticated: A token is needed, and there is none or it is not known.
        """
        ...


class OpenDoors:
    """Lets everybody send."""

    def admit(self, authorization: str) -> Bearer:
        """Nobody is asked for a token."""
        return ANYONE
