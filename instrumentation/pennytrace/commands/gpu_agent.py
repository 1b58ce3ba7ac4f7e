"""`pennytrace gpu-agent`: reports all GPUs of a machine, whether or not anything runs on them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pennytrace._capacity.devices import Device, Reading, missing, read, visible
from pennytrace._capacity.heartbeat import INTERVAL, Heartbeat
from pennytrace._capacity.held import Held
from pennytrace._capacity.timeline import Moment, now, process_start
from pennytrace._guard import logger
from pennytrace._setup.lifecycle import heartbeat_for
from pennytrace._setup.settings import is_disabled, problems, resolve
from pennytrace.errors import ConfigurationError, PennytraceError

_SERVICE: Final = "pennytrace-gpu-agent"
_SHORTEST: Final = 1.0  # seconds between two heartbeats
_LONGEST: Final = 3600.0
_PATIENCE: Final = 5.0  # seconds that the last heartbeat may take to leave; then it waits on disk
_COLUMNS: Final = ("id", "model", "utilization", "memory", "part of")
_GIB: Final = 1024**3


class GpuAgent:
    """The command `gpu-agent`."""

    name = "gpu-agent"
    help = "report all GPUs of this machine, whether or not anything runs on them"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--pool", help="the pool that the GPUs belong to, as rates are named in the price file"
        )
        parser.add_argument(
            "--interval",
            type=float,
            default=INTERVAL,
            metavar="SECONDS",
            help="the time from one report to the next; %(default)g seconds by default",
        )
        parser.add_argument("--once", action="store_true", help="print what is seen, report nothing, and end")
        parser.add_argument("--json", action="store_true", help="print it as JSON")

    def run(self, args: argparse.Namespace) -> int:
        """Print what is seen; then report it until SIGTERM or Ctrl-C comes."""
        if not _SHORTEST <= args.interval <= _LONGEST:
            raise ConfigurationError(f"--interval: expected 1 to 3600 seconds, got {args.interval:g}")
        devices = visible()
        if not devices:
            raise PennytraceError(_nothing_seen())
        print(_shown(devices, as_json=args.json), flush=True)
        if not args.once:
            _report(args.pool, args.interval)
        return 0


def _nothing_seen() -> str:
    reasons = "".join(f"; {one.library}: {one.reason}" for one in missing())
    return f"no GPU is seen on this machine{reasons}"


def _report(pool: str | None, interval: float) -> None:
    if is_disabled():
        raise ConfigurationError(
            "PENNYTRACE_DISABLED or OTEL_SDK_DISABLED switches everything off; unset it to report"
        )
    for problem in problems():
        logger.error("pennytrace ignores %s", problem)
    settings = resolve({"gpu_pool": pool})
    settings = dataclasses.replace(settings, service=settings.service or _SERVICE)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    heartbeat = heartbeat_for(settings, interval=interval)
    watch = _Watch(heartbeat, process_start())
    try:
        watch.look()
        while not ended.wait(interval):
            watch.look()
    finally:
        heartbeat.close(_PATIENCE)


class _Watch:
    """Sees GPUs come and go: MIG divides one anew, a driver takes one out of use."""

    def __init__(self, heartbeat: Heartbeat, since: Moment) -> None:
        self._heartbeat = heartbeat
        self._looked = since
        self._held: dict[str, Held] = {}

    def look(self) -> None:
        """Report what is new since the last look, and no more what is gone."""
        moment = now()
        seen = {device.id: device for device in visible()}
        gone = [device_id for device_id in self._held if device_id not in seen]
        if gone:
            self._heartbeat.release(gone)
        for device_id in gone:
            del self._held[device_id]
        for device in seen.values():
            self._see(device)
        self._looked = moment

    def _see(self, device: Device) -> None:
        if device.id not in self._held:
            self._held[device.id] = Held(device, self._looked)
        self._heartbeat.hold(self._held[device.id])


def _shown(devices: Sequence[Device], *, as_json: bool) -> str:
    found = {device: read(device) for device in devices}
    if as_json:
        return json.dumps([_plain(device, reading) for device, reading in found.items()], indent=2)
    rows = [_COLUMNS, *(_row(device, reading) for device, reading in found.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _plain(device: Device, reading: Reading) -> Mapping[str, Any]:
    return {**dataclasses.asdict(device), **reading._asdict()}


def _row(device: Device, reading: Reading) -> tuple[str, ...]:
    used, limit = reading.memory_usage, reading.memory_limit
    return (
        device.id,
        device.model,
        "-" if reading.utilization is None else f"{reading.utilization:.0%}",
        "-" if used is None or limit is None else f"{used / _GIB:.1f} of {limit / _GIB:.1f} GiB",
        device.parent or "-",
    )


COMMAND = GpuAgent()
