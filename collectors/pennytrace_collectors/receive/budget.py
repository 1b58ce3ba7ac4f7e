"""Bounds the bytes of all bodies that are being received at once."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from pennytrace_collectors.errors import TooLarge, TooMuchInFlight


class Budget:
    """A number of bytes that all requests share; used on one event loop."""

    def __init__(self, total_bytes: int, *, body_bytes: int) -> None:
        """Share `total_bytes` among bodies of at most `body_bytes` each."""
        self.body_bytes = body_bytes
        self._total = total_bytes
        self._used = 0

    @property
    def used_bytes(self) -> int:
        """The bytes that are held at the moment."""
        return self._used

    def hold(self) -> Hold:
        """Return an empty hold, to be used as a context manager that gives everything back."""
        return Hold(self)

    def take(self, size: int) -> None:
        """Take `size` bytes.

        Raises:
            TooMuchInFlight: They are not there.
        """
        if self._used + size > self._total:
            raise TooMuchInFlight("the collector is receiving too much at once; send it again later")
        self._used += size

    def give_back(self, size: int) -> None:
        """Give `size` bytes back."""
        self._used -= size


class Hold:
    """The bytes that one request holds."""

    __slots__ = ("_budget", "size")

    def __init__(self, budget: Budget) -> None:
        """Hold nothing yet."""
        self._budget = budget
        self.size = 0

    def grow(self, size: int) -> None:
        """Hold `size` bytes more.

        Raises:
            TooLarge: One body may not hold that much.
            TooMuchInFlight: The others hold too much.
        """
        if self.size + size > self._budget.body_bytes:
            raise TooLarge(
                f"the body is larger than {self._budget.body_bytes} bytes, unpacked; "
                "let the exporter send smaller batches"
            )
        self._budget.take(size)
        self.size += size

    def require(self, size: int) -> None:
        """Raise what `grow` would, without holding anything."""
        self.grow(size)
        self._budget.give_back(size)
        self.size -= size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget.give_back(self.size)
        self.size = 0
