"""Lists the ways that tags take from where they are set to where the work is done."""

from __future__ import annotations

from typing import Final, Protocol

from pennytrace._attribution import celery, opentelemetry, propagation, threads


class Way(Protocol):
    """One way, which is a module with these two functions."""

    def place(self) -> None:
        """Take tags along from now on, as soon as the app comes this way."""
        ...

    def remove(self) -> None:
        """Put back what was replaced."""
        ...


_WAYS: Final[tuple[Way, ...]] = (threads, celery, opentelemetry)


def place() -> None:
    """Take tags along all ways from now on; each is made ready when the app imports what it needs."""
    for way in _WAYS:
        way.place()


def remove() -> None:
    """Leave the app's threads, tasks and requests as they were."""
    propagation.allow(())
    for way in _WAYS:
        way.remove()
