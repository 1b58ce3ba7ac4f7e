"""Says every few seconds which devices this process holds: who stops saying so is not billed any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Protocol

from pennytrace._capacity import points
from pennytrace._capacity.devices import read
from pennytrace._capacity.held import Held
from pennytrace._capacity.timeline import now
from pennytrace._delivery.doorbell import Doorbell
from pennytrace._delivery.metrics import Metric, encode_metric
from pennytrace._delivery.queue import Delivery
from pennytrace._guard import never_break_the_host

INTERVAL: Final = 15.0
"""Seconds from one heartbeat to the next."""
_PATIENCE: Final = 1.0  # seconds that the last heartbeat waits for the one before it


class Outlet(Delivery, Protocol):
    """Where heartbeats go."""

    @property
    def rests(self) -> bool:
        """Whether nobody takes metrics there: what is put would only wait."""
        ...


Open = Callable[[Callable[[], object]], Outlet]
"""Makes the delivery; it calls what it is given when the process ends, to let the last heartbeat come."""


class Heartbeat:
    """One daemon thread that reports the devices which are held, as soon as there is one."""

    def __init__(self, open_delivery: Open, *, pool: str | None, interval: float = INTERVAL) -> None:
        self._open = open_delivery
        self._pool = pool
        self._interval = interval
        self.start_afresh()

    def start_afresh(self) -> None:
        """Hold nothing, and have no thread and no delivery: at first, and in a forked child."""
        self._held: dict[str, Held] = {}
        self._changing = threading.Lock()
        self._beating = threading.Lock()
        self._bell = Doorbell()
        self._delivery: Outlet | None = None
        self._stopped = False

    def hold(self, held: Held) -> None:
        """Report a device from now on, at once for the first time; one that is held already is not held again."""
        with self._changing:
            if held.device.id in self._held or self._stopped:
                return
            self._held[held.device.id] = held
            begins = self._delivery is None
            if begins:  # now, not in the thread: the process may end before that gets to run
                self._delivery = self._open(self._beat_at_the_end)
        if begins:
            threading.Thread(target=self._run, name="pennytrace-heartbeat", daemon=True).start()
        else:
            self._bell.ring()

    def release(self, device_ids: Iterable[str]) -> None:
        """Report these devices no more, after one last time."""
        self._beat()
        with self._changing:
            for device_id in device_ids:
                self._held.pop(device_id, None)

    def stop(self) -> list[Held]:
        """Beat for the last time; return what is held."""
        self._beat_at_the_end()
        self._stopped = True
        self._bell.ring()
        return list(self._held.values())

    def close(self, timeout: float) -> bool:
        """Stop, and deliver what has been said; wait for that at most `timeout` seconds.

        Returns:
            Whether the collector has taken it all.
        """
        self.stop()
        return self._delivery is None or self._delivery.close(timeout)

    def _run(self) -> None:
        bell = self._bell  # another one after a fork
        while not self._stopped:
            self._beat()
            self._read()
            bell.wait(self._interval)

    @never_break_the_host("reporting which GPUs are held")
    def _beat(self, timeout: float = -1) -> None:
        if not self._beating.acquire(timeout=timeout):
            return
        try:
            delivery = self._delivery
            if self._stopped or delivery is None or delivery.rests:
                return  # nothing is lost: the next interval is so much longer
            moment = now()
            since = [held.until(moment) for held in list(self._held.values())]
            self._put(delivery, points.of_time(since, self._pool))
        finally:
            self._beating.release()

    def _beat_at_the_end(self) -> None:
        # Without the readings of the driver: no end of a process should wait for that.
        self._beat(_PATIENCE)

    @never_break_the_host("reporting how busy GPUs are")
    def _read(self) -> None:
        delivery = self._delivery
        if delivery is None or delivery.rests:
            return
        moment = now()
        readings = {held.device: read(held.device) for held in list(self._held.values())}
        self._put(delivery, points.of_readings(readings, moment.wall, self._pool))

    def _put(self, delivery: Outlet, metrics: Iterable[Metric]) -> None:
        for metric in metrics:
            delivery.put(partial(encode_metric, metric))
