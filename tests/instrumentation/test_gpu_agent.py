"""`pennytrace gpu-agent`: reports a machine's GPUs while nothing runs on them; over a driver made for tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

from pennytrace import semconv
from pennytrace._capacity import devices
from tests.instrumentation import fake_drivers
from tests.instrumentation.fake_drivers import DIVIDED, EMPTY, H100, OLD, SLICE, SMALL_SLICE
from tests.instrumentation.processes import BIN, clean_environment, run
from tests.instrumentation.sink import Measured, Sink

AGENT = [BIN / "pennytrace", "gpu-agent"]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(fake_drivers.nvml(tmp_path_factory.mktemp("driver")))


def environment(sink: Sink, driver: str, **more: str) -> dict[str, str]:
    state = {"XDG_STATE_HOME": os.environ["XDG_STATE_HOME"]}
    return {"PENNYTRACE_ENDPOINT": sink.url, "LD_LIBRARY_PATH": driver, **state, **more}


@contextmanager
def agent(sink: Sink, driver: str, *arguments: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """Run the agent until the test is done with it."""
    with subprocess.Popen(
        [*map(str, AGENT), "--interval", "1", *arguments],
        env=clean_environment(environment(sink, driver, **more)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def of(sink: Sink, device: str, name: str = semconv.GPU_PROVISIONED_METRIC) -> list[Measured]:
    found = [one for one in sink.points if (one.attributes["hw.id"], one.name) == (device, name)]
    return sorted(found, key=lambda one: one.time_ns)


def wait_for(
    sink: Sink, device: str, beats: int, name: str = semconv.GPU_PROVISIONED_METRIC
) -> list[Measured]:
    with sink.arrived:
        assert sink.arrived.wait_for(lambda: len(of(sink, device, name)) >= beats, 30)
    return of(sink, device, name)


class TestOnce:
    def test_it_shows_what_it_sees_and_reports_nothing(self, sink: Sink, driver: str) -> None:
        ran = run([*AGENT, "--once", "--json"], environment=environment(sink, driver))
        found: list[dict[str, Any]] = json.loads(ran.stdout)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert [one["id"] for one in found] == [H100, OLD, SLICE, SMALL_SLICE, EMPTY]
        assert found[0] == {
            "id": H100,
            "model": "NVIDIA H100 80GB HBM3",
            "vendor": "NVIDIA",
            "parent": "",
            "kind": "gpu",
            "utilization": 0.37,
            "memory_usage": 2**30,
            "memory_limit": 80 * 2**30,
            "energy": 123456.789,
        }
        assert sink.metric_requests == []

    def test_a_person_gets_a_table(self, sink: Sink, driver: str) -> None:
        heading, first, second, part, *_ = run(
            [*AGENT, "--once"], environment=environment(sink, driver)
        ).stdout.splitlines()
        assert heading.split() == ["id", "model", "utilization", "memory", "part", "of"]
        assert first.startswith(f"{H100}  NVIDIA H100 80GB HBM3")
        assert first.split()[-6:] == ["37%", "1.0", "of", "80.0", "GiB", "-"]
        assert " - " in second
        assert part.endswith(DIVIDED)

    def test_it_sees_all_gpus_whatever_is_left_to_its_process(self, sink: Sink, driver: str) -> None:
        ran = run(
            [*AGENT, "--once", "--json"], environment=environment(sink, driver, CUDA_VISIBLE_DEVICES="1")
        )
        assert len(json.loads(ran.stdout)) == 5


class TestReports:
    def test_every_device_from_its_start_to_its_end(self, sink: Sink, driver: str) -> None:
        with agent(sink, driver, "--pool", "chat") as process:
            wait_for(sink, H100, 3)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert process.stderr is not None
            assert process.stderr.read() == ""
        for device in (H100, OLD, SLICE, SMALL_SLICE, EMPTY):
            points = of(sink, device)
            assert {one.attributes["pennytrace.gpu.pool"] for one in points} == {"chat"}
            assert all(before.time_ns == after.start_ns for before, after in pairwise(points))
        assert of(sink, DIVIDED) == []
        assert of(sink, SLICE)[0].attributes["hw.parent"] == DIVIDED
        assert {one.resource["service.name"] for one in sink.points} == {"pennytrace-gpu-agent"}

    def test_what_the_driver_says_of_them_and_nothing_in_the_place_of_what_it_does_not(
        self, sink: Sink, driver: str
    ) -> None:
        with agent(sink, driver):
            busy = wait_for(sink, H100, 1, semconv.GPU_UTILIZATION_METRIC)[0]
            used = wait_for(sink, SLICE, 1, semconv.GPU_MEMORY_USAGE_METRIC)[0]
            limit = wait_for(sink, OLD, 1, semconv.GPU_MEMORY_LIMIT_METRIC)[0]
            energy = wait_for(sink, H100, 1, semconv.GPU_ENERGY_METRIC)[0]
        assert (busy.value, busy.kind, busy.unit) == (0.37, "gauge", "1")
        assert (used.value, used.kind, used.unit) == (2**30, "gauge", "By")
        assert (limit.value, limit.kind, limit.unit) == (80 * 2**30, "gauge", "By")
        assert (energy.value, energy.kind, energy.unit) == (123456.789, "cumulative", "J")
        for silent in (OLD, SLICE):
            assert of(sink, silent, semconv.GPU_UTILIZATION_METRIC) == []
            assert of(sink, silent, semconv.GPU_ENERGY_METRIC) == []

    def test_it_sees_a_gpu_that_is_divided_while_it_runs(
        self, sink: Sink, driver: str, tmp_path: Any
    ) -> None:
        switch = tmp_path / "whole"
        switch.touch()
        with agent(sink, driver, FAKE_NVML_WHOLE=str(switch)):
            whole = wait_for(sink, DIVIDED, 2)
            switch.unlink()
            part = wait_for(sink, SLICE, 2)
            until = len(part) + 2
            wait_for(sink, SLICE, until)
            after = of(sink, DIVIDED)
        assert after[-1].time_ns <= part[1].time_ns, "it is not reported any more"
        assert part[0].start_ns >= whole[1].start_ns, "its slice is not held since the agent began"

    def test_the_machine_may_be_named(self, sink: Sink, driver: str) -> None:
        with agent(sink, driver, OTEL_RESOURCE_ATTRIBUTES="host.name=node-7", PENNYTRACE_SERVICE="gpus"):
            resource = wait_for(sink, H100, 1)[0].resource
        assert (resource["host.name"], resource["service.name"]) == ("node-7", "gpus")


class TestItSays:
    def test_when_there_is_no_gpu_to_see(self, sink: Sink) -> None:
        if devices.visible():
            pytest.skip("this machine has a GPU")
        ran = run([*AGENT], environment=environment(sink, "/nonexistent"))
        assert ran.returncode == 1
        assert ran.stderr.startswith(
            "pennytrace: error: no GPU is seen on this machine; nvidia-ml-py: NVML Shared Library Not Found; amdsmi: "
        )

    def test_what_an_interval_may_be(self, sink: Sink, driver: str) -> None:
        for wrong in ("0", "nan", "inf", "-5"):
            ran = run([*AGENT, f"--interval={wrong}"], environment=environment(sink, driver))
            assert (ran.returncode, "expected 1 to 3600 seconds" in ran.stderr) == (1, True)

    def test_that_it_is_switched_off(self, sink: Sink, driver: str) -> None:
        ran = run([*AGENT], environment=environment(sink, driver, PENNYTRACE_DISABLED="true"))
        assert (ran.returncode, "unset it to report" in ran.stderr) == (1, True)

    def test_in_doctor_which_gpus_there_are_and_who_reports_them(self, sink: Sink, driver: str) -> None:
        told = run([BIN / "pennytrace", "doctor", "--json"], environment=environment(sink, driver)).stdout
        (finding,) = [one for one in json.loads(told) if one["area"] == "gpus"]
        assert finding["what"].startswith("2 NVIDIA H100 80GB HBM3, 1 NVIDIA A100-SXM4-40GB MIG 3g.20gb,")
        assert "`pennytrace gpu-agent`" in finding["what"]
