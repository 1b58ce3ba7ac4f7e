"""The only module that talks to NVIDIA's driver, by NVML (`nvidia-ml-py`), which an app may or may not have."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Final, NamedTuple

from pennytrace._capacity.chosen import Gpu
from pennytrace._capacity.device import Device, Reading

VENDOR: Final = "NVIDIA"
PREFIX: Final = "GPU-"
"""What the driver's uuids begin with, and torch's do not."""
MIG: Final = " MIG "
"""What is in the name of a slice."""


class _Library(NamedTuple):
    nvml: Any
    """None where it cannot be used."""
    trouble: str = ""


def trouble() -> str:
    """Return why NVIDIA's GPUs cannot be seen; empty when they can."""
    return _library().trouble


def gpus() -> list[Gpu]:
    """Return NVIDIA's GPUs, in the order of their PCI addresses, with the slices that MIG divides them into."""
    nvml = _library().nvml
    if nvml is None:
        return []
    handles = (
        _answer(nvml.nvmlDeviceGetHandleByIndex, number) for number in range(nvml.nvmlDeviceGetCount())
    )
    return [_gpu(nvml, handle) for handle in handles if handle is not None]


def read(uuid: str) -> Reading | None:
    """Return what a GPU or a slice says of itself; None when the driver does not know it."""
    nvml = _library().nvml
    handle = None if nvml is None else _answer(nvml.nvmlDeviceGetHandleByUUID, uuid)
    if handle is None:
        return None
    use = _answer(nvml.nvmlDeviceGetUtilizationRates, handle)
    memory = _answer(nvml.nvmlDeviceGetMemoryInfo, handle)
    millijoules = _answer(nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
    return Reading(
        utilization=None if use is None else use.gpu / 100,
        memory_usage=None if memory is None else memory.used,
        memory_limit=None if memory is None else memory.total,
        energy=None if millijoules is None else millijoules / 1000,
    )


@functools.lru_cache(maxsize=1)
def _library() -> _Library:
    nvml = _module()
    if nvml is None:
        return _Library(None, "it is not installed; pip install 'pennytrace[gpu]'")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return _Library(None, str(error))
    return _Library(nvml)


os.register_at_fork(after_in_child=_library.cache_clear)  # the parent's connection to the driver is its own


def _module() -> Any:
    # vLLM brings a copy: beside it nothing needs to be installed.
    for name in ("pynvml", *(("vllm.third_party.pynvml",) if "vllm" in sys.modules else ())):
        try:
            nvml = import_module(name)
        except ImportError:
            continue
        if hasattr(nvml, "nvmlInit"):  # else it is no more than a folder with this name
            return nvml
    return None


def _answer(ask: Callable[..., Any], *about: Any) -> Any:
    """Return what NVML says; None for what this driver, this GPU or this user has no answer to."""
    nvml = _library().nvml
    try:
        return ask(*about)
    except nvml.NVMLError:
        return None


def _gpu(nvml: Any, handle: Any) -> Gpu:
    whole = Device(
        id=nvml.nvmlDeviceGetUUID(handle), model=_answer(nvml.nvmlDeviceGetName, handle) or "", vendor=VENDOR
    )
    return Gpu(whole, tuple(_slices(nvml, handle, whole)))


def _slices(nvml: Any, handle: Any, whole: Device) -> Iterator[Device]:
    mode = _answer(nvml.nvmlDeviceGetMigMode, handle)
    if not mode or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
        return
    for number in range(_answer(nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        part = _answer(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number)
        if part is not None:
            yield Device(
                id=nvml.nvmlDeviceGetUUID(part),
                model=_name(nvml, part, whole.model),
                vendor=VENDOR,
                parent=whole.id,
            )


def _name(nvml: Any, part: Any, whole: str) -> str:
    """Return a slice's name: the driver's, which has the profile in it, else one that is made of its sizes."""
    name = _answer(nvml.nvmlDeviceGetName, part) or ""
    if MIG in name:
        return str(name)
    sizes = _answer(nvml.nvmlDeviceGetAttributes, part)
    return f"{whole}{MIG}{_profile(sizes)}" if sizes is not None else f"{whole}{MIG}".rstrip()


def _profile(sizes: Any) -> str:
    """Return `1g.10gb`, or `1c.2g.20gb` for a part of the compute units of a slice, as nvidia-smi has it."""
    memory = f"{sizes.gpuInstanceSliceCount}g.{round(sizes.memorySizeMB / 1024)}gb"
    if sizes.computeInstanceSliceCount == sizes.gpuInstanceSliceCount:
        return memory
    return f"{sizes.computeInstanceSliceCount}c.{memory}"
