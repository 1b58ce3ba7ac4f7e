"""A device whose time is money, and what it says of itself at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU, a slice of one, or a CPU that does its work."""

    id: str
    """Unique over all machines: the uuid that the driver gives it; `cpu:` and the host's name for a CPU."""
    model: str
    """The maker's name for it, with ` MIG ` and its profile for a slice; `cpu` for a CPU."""
    vendor: str = ""
    parent: str = ""
    """The uuid of the GPU that this is a slice of."""
    kind: str = "gpu"
    """`gpu` or `cpu`."""


class Reading(NamedTuple):
    """How busy and how full a device is; None where its driver does not say."""

    utilization: float | None = None
    """The share of the last moments in which anything ran on it: 0 to 1."""
    memory_usage: int | None = None
    """Bytes."""
    memory_limit: int | None = None
    """Bytes."""
    energy: float | None = None
    """Joules since the driver was loaded."""
