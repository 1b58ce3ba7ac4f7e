"""What a model is called, and the devices that it is on."""

from __future__ import annotations

import os
import sys
from typing import Any, Final, NamedTuple

_NOT_WORKING: Final = frozenset({"cpu", "disk", "meta"})
"""Where parts of a model wait that do not fit on its devices."""


class Placed(NamedTuple):
    """A model, and where it is."""

    name: str
    devices: tuple[Any, ...]
    """Those of this process; at least one."""
    ranks: int
    """Processes that work on it together, each with such devices of its own."""
    leads: bool
    """Whether this process is the one of them that records their calls."""


def placed(model: Any) -> Placed:
    """Return what `model` is called and where it is."""
    mesh = getattr(model, "_device_mesh", None)  # of tensor parallelism
    ranks, leads = (1, True) if mesh is None else (mesh.size(), not any(mesh.get_coordinate() or ()))
    return Placed(name_of(model), devices_of(model), ranks, leads)


def name_of(model: Any) -> str:
    """Return the name that a model was loaded by; of a path its last part, and of one made in place its class."""
    name = str(getattr(model.config, "_name_or_path", "") or "")
    if os.path.isabs(name) or name.startswith(".") or "\\" in name:
        name = os.path.basename(name.rstrip("/\\").replace("\\", "/"))
    return name or type(model).__name__


def devices_of(model: Any) -> tuple[Any, ...]:
    """Return the devices that work when a model does, as objects of torch.

    What was put on a CPU or disk because it does not fit is brought to the others to be computed.
    """
    parts = getattr(model, "hf_device_map", None)
    found = {_device(part) for part in parts.values()} if parts else {_device(model.device)}
    working = sorted((device for device in found if device.type not in _NOT_WORKING), key=str)
    return tuple(working) or (_device("cpu"),)


def _device(place: Any) -> Any:
    torch = sys.modules["torch"]
    if place == "disk":
        return torch.device("meta")
    device = torch.device(place)
    if device.type in _NOT_WORKING:
        return torch.device(device.type)
    if device.index is None:
        return torch.device(device.type, torch.accelerator.current_device_index())
    return device
