"""What this process holds: devices that are reported from the start of the process to its end."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

from pennytrace._capacity.device import Device
from pennytrace._capacity.heartbeat import Heartbeat
from pennytrace._capacity.held import Held, Readings
from pennytrace._capacity.timeline import process_start
from pennytrace._guard import never_break_the_host

_lock = threading.Lock()
_heartbeat: Heartbeat | None = None
_known: dict[str, Held] = {}
"""All that was ever held here, by its id: what was reported once must not be so again after `shutdown` and `init`."""


@never_break_the_host("reporting the GPUs of this process")
def hold(devices: Iterable[Device], readings: Readings | None = None) -> None:
    """Report, from now on and back to the start of the process, that it holds these devices.

    Does nothing while nothing is recorded, and nothing new for a device that is held already. It costs a look into
    a dictionary, so it may stand beside every call.

    Args:
        devices: What is held; the same one is held once, however often it is named.
        readings: Returns what an engine on them has come to so far, in seconds by the name of their metric
            (`semconv.GPU_BUSY_METRIC`, `semconv.GPU_IDLE_METRIC`), beginning with 0. It is asked in another thread, at
            every heartbeat and at the end, and is kept for as long as the process lives: it should not
            be the method of anything large. What it says is reported with the first of the devices.
    """
    with _lock:
        if _heartbeat is None:
            return
        for place, device in enumerate(devices):
            held = _known.get(device.id)
            if held is None:
                held = _known[device.id] = Held(device, process_start())
            if readings is not None and place == 0:
                held.follow(readings)
            _heartbeat.hold(held)


def use(heartbeat: Heartbeat | None) -> Heartbeat | None:
    """Report by `heartbeat` from now on, what is held already included; None reports nothing.

    Returns:
        What was used until now. It has beaten for the last time, and should be closed.
    """
    global _heartbeat
    with _lock:
        previous, _heartbeat = _heartbeat, heartbeat
        for held in () if previous is None else previous.stop():
            if heartbeat is not None:
                heartbeat.hold(held)
    return previous


def _hold_nothing() -> None:
    """Hold nothing, in a forked child: its parent holds what was held."""
    global _lock
    _lock = threading.Lock()
    _known.clear()
    if _heartbeat is not None:
        _heartbeat.start_afresh()


os.register_at_fork(after_in_child=_hold_nothing)
