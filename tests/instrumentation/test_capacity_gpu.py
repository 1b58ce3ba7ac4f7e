"""What the driver says of a real GPU, and what torch says of the same one: on machines that have one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from itertools import pairwise
from typing import Any

import pytest

import pennytrace
from pennytrace import semconv
from pennytrace._capacity import devices, holding
from pennytrace._capacity.devices import Device
from tests.instrumentation.processes import BIN, clean_environment, run
from tests.instrumentation.sink import Sink

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not devices.visible(), reason="no GPU is seen on this machine"),
]


def smi(query: str) -> list[list[str]]:
    """Return what the driver's own command says, a list for each GPU."""
    command = shutil.which("nvidia-smi")
    if command is None:
        pytest.skip("there is no nvidia-smi here to compare with")
    told = subprocess.run(
        [command, f"--query-gpu={query}", "--format=csv,noheader,nounits"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [line.split(", ") for line in told.splitlines()]


def whole() -> list[Device]:
    return [device for device in devices.visible() if not device.parent]


def test_every_gpu_has_the_uuid_and_the_name_that_the_driver_gives_it() -> None:
    if any(device.parent for device in devices.visible()):
        pytest.skip("MIG divides a GPU here, and nvidia-smi lists it whole")
    assert [[device.id, device.model] for device in whole()] == smi("uuid,name")


def test_it_says_how_full_it_is_and_what_it_has_used() -> None:
    for device in devices.visible():
        reading = devices.read(device)
        assert reading.memory_limit is not None
        assert reading.memory_usage is not None
        assert 0 <= reading.memory_usage <= reading.memory_limit
        assert reading.utilization is None or 0 <= reading.utilization <= 1
        assert reading.energy is None or reading.energy > 0


def test_the_energy_grows_by_what_the_power_says() -> None:
    device = whole()[0]
    before = devices.read(device).energy
    if before is None:
        pytest.skip("this GPU counts no energy")
    time.sleep(3)
    after = devices.read(device).energy
    assert after is not None
    assert 3 < after - before < 10_000, "between one watt and more than any GPU draws"


def test_torch_names_the_same_device() -> None:
    torch: Any = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch cannot use the GPU")
    torch.zeros(1, device="cuda:0")
    assert devices.of_torch("cuda:0") == devices.visible(to_this_process=True)[0]
    assert devices.of_torch(torch.device("cuda")) == devices.of_torch("cuda:0")


def test_a_held_gpu_is_reported_with_its_readings(sink: Sink) -> None:
    pennytrace.init(endpoint=sink.url)
    device = devices.visible()[0]
    holding.hold([device])
    sink.wait_for_points(3)
    pennytrace.shutdown()
    names = {one.name for one in sink.points if one.attributes["hw.id"] == device.id}
    assert {semconv.GPU_PROVISIONED_METRIC, semconv.GPU_MEMORY_USAGE_METRIC} <= names


def test_the_agent_reports_it(sink: Sink) -> None:
    state = {"XDG_STATE_HOME": os.environ["XDG_STATE_HOME"], "PENNYTRACE_ENDPOINT": sink.url}
    shown = run([BIN / "pennytrace", "gpu-agent", "--once", "--json"], environment=state)
    assert [one["id"] for one in json.loads(shown.stdout)] == [device.id for device in devices.visible()]
    command = [str(BIN / "pennytrace"), "gpu-agent", "--interval", "1"]
    with subprocess.Popen(command, env=clean_environment(state), stdout=subprocess.DEVNULL) as agent:
        sink.wait_for_points(30)
        agent.terminate()
        assert agent.wait(20) == 0
    first = devices.visible()[0].id
    held = [
        one
        for one in sink.points
        if (one.name, one.attributes["hw.id"]) == (semconv.GPU_PROVISIONED_METRIC, first)
    ]
    held.sort(key=lambda one: one.time_ns)
    assert all(before.time_ns == after.start_ns for before, after in pairwise(held))
