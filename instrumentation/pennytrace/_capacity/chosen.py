"""Which of a machine's GPUs a process may use, by variables like CUDA_VISIBLE_DEVICES.

The rules are CUDA's, as torch writes them down too (`torch.cuda._parse_visible_devices`): the first name that
fits nothing ends the list, and a GPU that is named twice empties it. Numbers are read as PCI order; where a
machine has GPUs of different models CUDA counts the fastest first unless CUDA_DEVICE_ORDER says PCI_BUS_ID.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from pennytrace._capacity.device import Device

_NUMBER: Final = re.compile(r"\d+")  # what follows it is ignored


class Gpu(NamedTuple):
    """A GPU of this machine, whole or divided."""

    whole: Device
    slices: tuple[Device, ...] = ()

    @property
    def parts(self) -> tuple[Device, ...]:
        """What can be used of it: the slices of a divided one, else all of it."""
        return self.slices or (self.whole,)


def chosen(gpus: Sequence[Gpu], variable: str | None) -> tuple[Device, ...]:
    """Return what a process uses, in its order, when `variable` is set like that; None is not set."""
    if variable is None:
        return tuple(gpu.parts[0] for gpu in gpus)
    found = tuple(_each(gpus, variable.split(",")))
    return found if len(set(found)) == len(found) else ()


def _each(gpus: Sequence[Gpu], names: Sequence[str]) -> Iterator[Device]:
    for name in names:
        device = _one(gpus, name.strip())
        if device is None:
            return
        yield device


def _one(gpus: Sequence[Gpu], name: str) -> Device | None:
    number = _NUMBER.match(name)
    if number:
        place = int(number[0])
        return gpus[place].parts[0] if place < len(gpus) else None
    if not name:
        return None
    whole = [gpu.parts[0] for gpu in gpus if gpu.whole.id.startswith(name)]
    slices = [part for gpu in gpus for part in gpu.slices if part.id.startswith(name)]
    fitting = whole + slices
    return fitting[0] if len(fitting) == 1 else None  # the beginning of an id is enough if it fits one
