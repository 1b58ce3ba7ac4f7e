"""The only module that talks to AMD's driver, by `amdsmi`, which is there where ROCm is."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Final, NamedTuple

from pennytrace._capacity.chosen import Gpu
from pennytrace._capacity.device import Device, Reading

VENDOR: Final = "AMD"
_PREFIX: Final = "GPU-"
_NO_LIBRARY: Final = (ImportError, OSError, KeyError, AttributeError)
"""What `import amdsmi` raises where there is no libamd_smi.so, and what it lacks where it is only a folder's name."""


class _Library(NamedTuple):
    smi: Any
    """None where it cannot be used."""
    trouble: str = ""


def trouble() -> str:
    """Return why AMD's GPUs cannot be seen; empty when they can."""
    return _library().trouble


def gpus() -> list[Gpu]:
    """Return AMD's GPUs, in the order of the driver."""
    smi = _library().smi
    return [] if smi is None else [Gpu(_device(smi, handle, uuid)) for uuid, handle in _handles(smi)]


def read(uuid: str) -> Reading | None:
    """Return what a GPU says of itself; None when the driver does not know it."""
    smi = _library().smi
    handle = None if smi is None else dict(_handles(smi)).get(uuid)
    if handle is None:
        return None
    memory = smi.AmdSmiMemoryType.VRAM
    activity = _answer(smi.amdsmi_get_gpu_activity, handle) or {}
    busy = activity.get("gfx_activity")
    return Reading(
        utilization=busy / 100 if isinstance(busy, int) else None,  # else it is "N/A"
        memory_usage=_answer(smi.amdsmi_get_gpu_memory_usage, handle, memory),
        memory_limit=_answer(smi.amdsmi_get_gpu_memory_total, handle, memory),
        energy=_joules(_answer(smi.amdsmi_get_energy_count, handle)),
    )


def id_of_torch(uuid: str) -> str:
    """Return the id of a GPU of which torch says this uuid.

    HIP's sixteen bytes are the letters of the id, which torch writes down as if they were a number.
    """
    try:
        return _PREFIX + bytes.fromhex(uuid.replace("-", "")).decode("ascii")
    except ValueError:
        return _PREFIX + uuid


@functools.lru_cache(maxsize=1)
def _library() -> _Library:
    try:
        smi = import_module("amdsmi")
        begin, refused = smi.amdsmi_init, smi.AmdSmiException
    except ModuleNotFoundError:
        return _Library(None, "it is not installed; it comes with ROCm")
    except _NO_LIBRARY as error:
        return _Library(None, f"it cannot be loaded: {error}")
    try:
        begin()
    except refused as error:
        return _Library(None, str(error))
    return _Library(smi)


os.register_at_fork(after_in_child=_library.cache_clear)


def _answer(ask: Callable[..., Any], *about: Any) -> Any:
    """Return what the driver says; None for what it has no answer to."""
    smi = _library().smi
    try:
        return ask(*about)
    except smi.AmdSmiException:
        return None


def _handles(smi: Any) -> Iterator[tuple[str, Any]]:
    for handle in _answer(smi.amdsmi_get_processor_handles) or ():
        uuid = _uuid(smi, handle)
        if uuid:
            yield uuid, handle


def _uuid(smi: Any, handle: Any) -> str:
    """Return HIP's id of a GPU, which torch has too; an older library has only one of its own."""
    ask = getattr(smi, "amdsmi_get_gpu_enumeration_info", None)
    found = ask and _answer(ask, handle)
    return str((found or {}).get("hip_uuid") or _answer(smi.amdsmi_get_gpu_device_uuid, handle) or "")


def _device(smi: Any, handle: Any, uuid: str) -> Device:
    named = (_answer(smi.amdsmi_get_gpu_asic_info, handle) or {}).get("market_name")
    return Device(id=uuid, model=str(named or ""), vendor=VENDOR)


def _joules(count: Any) -> float | None:
    """Return a counter of energy in joules; its resolution is in microjoules."""
    if not count:
        return None
    ticks = count.get("energy_accumulator", count.get("power"))  # its name before ROCm 6.2
    return None if ticks is None else float(ticks * count["counter_resolution"] / 1e6)
