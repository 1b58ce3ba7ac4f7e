"""What a delivery carries, as far as that changes what is said about it."""

from __future__ import annotations

from typing import Final, NamedTuple


class Cargo(NamedTuple):
    """One kind of things that are delivered."""

    name: str
    """What several of them are called."""
    counted: bool
    """Whether the collector, and the app's metrics, are told how many were lost."""


CALLS: Final = Cargo("calls", counted=True)
READINGS: Final = Cargo("GPU readings", counted=False)
"""Metrics of the devices that are held: one for each name and heartbeat."""
