"""Which GPUs there are, and what they say of themselves; a CPU counts as one where it does a GPU's work."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from pennytrace import semconv
from pennytrace._capacity import amd, nvidia
from pennytrace._capacity.chosen import Gpu, chosen
from pennytrace._capacity.device import Device, Reading
from pennytrace._guard import never_break_the_host

__all__ = ["Device", "Missing", "Reading", "cpu", "missing", "of_torch", "read", "visible"]

_MIG_PREFIX: Final = "MIG-"

_known: dict[tuple[str, int], Device] = {}
"""What torch has told already, by its type and index of a device."""


class Missing(NamedTuple):
    """Why GPUs of one maker cannot be seen."""

    library: str
    reason: str


def cpu() -> Device:
    """Return this machine's CPU: all of it is one device, as the price file has one rate for it."""
    return Device(id=f"cpu:{os.uname().nodename}", model=semconv.CPU, kind="cpu")


def visible(*, to_this_process: bool = False) -> tuple[Device, ...]:
    """Return the GPUs that the drivers show, in the order of their PCI addresses; none where there is no driver.

    Where MIG divides a GPU its slices stand in its place.

    Args:
        to_this_process: Only those that CUDA_VISIBLE_DEVICES, ROCR_VISIBLE_DEVICES and HIP_VISIBLE_DEVICES leave to
            this process, in the order that they have there; of a divided GPU the one slice that CUDA uses.
    """
    return (*(_of_nvidia(to_this_process) or ()), *(_of_amd(to_this_process) or ()))


def of_torch(device: object) -> Device:
    """Return the device that torch calls `device`: a `torch.device`, or its name.

    For a device that torch works on already: asking torch about another one would take hold of it.
    """
    kind, index = _name_in_torch(device)
    if kind in ("cpu", "meta"):
        return cpu()
    found = _known.get((kind, index))
    if found is None:
        found = _known[kind, index] = _in_torch(kind, index) or _unknown(kind, index)
    return found


def read(device: Device) -> Reading:
    """Return how busy and how full a device is; what its driver does not say is None."""
    return _read(device) or Reading()


def missing() -> Sequence[Missing]:
    """Return why GPUs cannot be seen, for each maker whose library does not work here."""
    found = (Missing("nvidia-ml-py", nvidia.trouble()), Missing("amdsmi", amd.trouble()))
    return [one for one in found if one.reason]


@never_break_the_host("looking for NVIDIA's GPUs")
def _of_nvidia(to_this_process: bool) -> tuple[Device, ...]:
    there = nvidia.gpus()
    if to_this_process:
        return chosen(there, os.environ.get("CUDA_VISIBLE_DEVICES"))
    return tuple(part for gpu in there for part in gpu.parts)


@never_break_the_host("looking for AMD's GPUs")
def _of_amd(to_this_process: bool) -> tuple[Device, ...]:
    there = amd.gpus()
    if not to_this_process:
        return tuple(gpu.whole for gpu in there)
    # ROCm counts first what ROCR leaves, and HIP, which goes by CUDA's variable too, counts in that.
    on_rocm = [Gpu(one) for one in chosen(there, os.environ.get("ROCR_VISIBLE_DEVICES"))]
    of_hip = os.environ.get("HIP_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES"))
    return chosen(on_rocm, of_hip)


def _name_in_torch(device: Any) -> tuple[str, int]:
    """Return type and index; -1 is the index of the current one."""
    kind, _, index = str(device).partition(":")
    return kind, int(index) if index.isdigit() else -1


@never_break_the_host("asking torch about a GPU")
def _in_torch(kind: str, index: int) -> Device | None:
    torch: Any = sys.modules.get("torch")
    asked: Any = getattr(torch, kind, None)
    if not hasattr(asked, "get_device_properties"):
        return None
    properties = asked.get_device_properties(asked.current_device() if index < 0 else index)
    uuid, name = str(getattr(properties, "uuid", "")), str(properties.name)
    if not uuid:
        return None
    if getattr(torch.version, "hip", None) and kind == "cuda":
        return Device(id=amd.id_of_torch(uuid), model=name, vendor=amd.VENDOR)
    if nvidia.MIG in name:
        return _slice(uuid, name)
    return Device(id=nvidia.PREFIX + uuid, model=name, vendor=nvidia.VENDOR if kind == "cuda" else "")


def _slice(uuid: str, name: str) -> Device:
    # Of a slice CUDA tells the uuid, or that of its GPU, as the version goes: the driver knows which it is. A
    # process has one slice and no more.
    slices = [one for one in visible(to_this_process=True) if one.parent]
    for one in slices:
        if uuid in one.id:
            return one
    of_this_gpu = [one for one in slices if uuid in one.parent]
    return (of_this_gpu or slices or [Device(id=_MIG_PREFIX + uuid, model=name, vendor=nvidia.VENDOR)])[0]


def _unknown(kind: str, index: int) -> Device:
    """Return a device of which nothing is known but where it is."""
    return Device(id=f"{kind}:{max(index, 0)}:{os.uname().nodename}", model=kind)


@never_break_the_host("reading a GPU")
def _read(device: Device) -> Reading | None:
    if device.vendor == nvidia.VENDOR:
        return nvidia.read(device.id)
    return amd.read(device.id) if device.vendor == amd.VENDOR else None
