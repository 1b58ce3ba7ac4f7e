"""Heartbeats: what a process holds is reported without gaps, each time once, as long as it lives and no longer."""

from __future__ import annotations

import logging
import os
import platform
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import ScopeMetrics

import pennytrace
from pennytrace import semconv
from pennytrace._capacity import holding
from pennytrace._capacity.devices import Device, cpu
from pennytrace._capacity.timeline import Timeline
from pennytrace._delivery import backoff as _backoff
from pennytrace._delivery import courier as _courier
from pennytrace._delivery import http as _http
from pennytrace._delivery.metrics import Kind, Metric, Point, encode_metric
from pennytrace._setup.lifecycle import heartbeat_for
from pennytrace._setup.settings import resolve
from tests.instrumentation import sink as sinks
from tests.instrumentation.processes import BIN, clean_environment, run
from tests.instrumentation.sink import Measured, Reply, Sink

PROVISIONED, BUSY, IDLE = semconv.GPU_PROVISIONED_METRIC, semconv.GPU_BUSY_METRIC, semconv.GPU_IDLE_METRIC

APP: Final = """
import multiprocessing, os, signal, sys, time
import pennytrace
from pennytrace._capacity import holding
from pennytrace._capacity.devices import Device
from pennytrace._setup.lifecycle import heartbeat_for
from pennytrace._setup.settings import resolve

pennytrace.init(endpoint=os.environ["TEST_ENDPOINT"], service="app")

def beat(interval=0.05):
    previous = holding.use(heartbeat_for(resolve({"endpoint": os.environ["TEST_ENDPOINT"]}), interval=interval))

def hold(name="GPU-a"):
    holding.hold([Device(name, "H100", "NVIDIA")])
"""


@pytest.fixture
def gpu() -> Device:
    """A device of this test's own: what a process held once is remembered for as long as it lives."""
    return Device(f"GPU-{os.urandom(8).hex()}", "NVIDIA H100 80GB HBM3", "NVIDIA")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_backoff, "FIRST", 0.02)
    monkeypatch.setattr(_courier, "_SPOOL_REST", 0.05)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port: int = reserved.getsockname()[1]
    return port


@pytest.fixture
def beating(sink: Sink) -> None:
    """Report often."""
    pennytrace.init(endpoint=sink.url, service="shop", gpu_pool="chat")
    beat(sink.url, gpu_pool="chat")


def beat(url: str, *, interval: float = 0.05, **settings: str) -> None:
    previous = holding.use(
        heartbeat_for(resolve({"endpoint": url, "service": "shop", **settings}), interval=interval)
    )
    assert previous is not None
    previous.close(0)


def of(points: list[Measured], device: Device | str, name: str = PROVISIONED) -> list[Measured]:
    """Return the points of a device, in the order of time; none of them is there twice."""
    device_id = device if isinstance(device, str) else device.id
    found = [one for one in points if one.attributes["hw.id"] == device_id and one.name == name]
    found.sort(key=lambda one: one.time_ns)
    assert len({(one.start_ns, one.time_ns, one.resource["service.instance.id"]) for one in found}) == len(
        found
    )
    return found


def once(points: list[Measured]) -> list[Measured]:
    """Return what is left when a repeated point replaces itself, as in the collector."""
    return list(
        {
            (one.name, one.attributes["hw.id"], one.resource["service.instance.id"], one.time_ns): one
            for one in points
        }.values()
    )


def wait_for(sink: Sink, device: Device | str, beats: int) -> list[Measured]:
    """Wait until that many heartbeats of a device are there."""
    with sink.arrived:
        assert sink.arrived.wait_for(lambda: len(of(sink.points, device)) >= beats, 20)
    return of(sink.points, device)


def assert_without_gaps(points: list[Measured]) -> None:
    assert points
    for before, after in pairwise(points):
        assert after.start_ns == before.time_ns
    for one in points:
        assert one.value == (one.time_ns - one.start_ns) / 1e9 > 0


@contextmanager
def started(program: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Start a program, and wait until it says that it is ready."""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=clean_environment({"XDG_STATE_HOME": os.environ["XDG_STATE_HOME"], **environment}),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def ran(program: str, sink: Sink) -> None:
    result = run(
        [sys.executable, "-c", APP + program],
        environment={"TEST_ENDPOINT": sink.url, "XDG_STATE_HOME": os.environ["XDG_STATE_HOME"]},
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


class TestWhatIsSaid:
    def test_a_held_device_is_reported_with_all_that_names_it(
        self, beating: None, sink: Sink, gpu: Device
    ) -> None:
        part = Device("MIG-" + gpu.id, f"{gpu.model} MIG 1g.10gb", "NVIDIA", parent=gpu.id)
        holding.hold([gpu, part])
        point, of_part = wait_for(sink, gpu, 1)[0], wait_for(sink, part, 1)[0]
        assert (point.unit, point.kind) == ("s", "delta")
        assert point.attributes == {
            "hw.id": gpu.id,
            "hw.type": "gpu",
            "hw.model": gpu.model,
            "hw.vendor": "NVIDIA",
            "pennytrace.gpu.pool": "chat",
        }
        assert of_part.attributes["hw.parent"] == gpu.id
        assert point.resource["service.name"] == "shop"
        assert point.resource["host.name"] == platform.node()
        assert len(point.resource["service.instance.id"]) == 32
        assert sink.metric_requests[0][":path"] == "/v1/metrics"

    def test_a_cpu_is_a_device_too(self, beating: None, sink: Sink) -> None:
        holding.hold([cpu()])
        attributes = wait_for(sink, cpu(), 1)[0].attributes
        assert (attributes["hw.type"], attributes["hw.model"]) == ("cpu", "cpu")

    def test_it_is_held_since_the_process_began_and_no_moment_is_missing(
        self, beating: None, sink: Sink, gpu: Device
    ) -> None:
        import psutil

        holding.hold([gpu])
        points = wait_for(sink, gpu, 4)
        assert_without_gaps(points)
        began = psutil.Process().create_time()
        assert abs(points[0].start_ns / 1e9 - began) < 2

    def test_holding_twice_is_holding_once(self, beating: None, sink: Sink, gpu: Device) -> None:
        for _ in range(3):
            holding.hold([gpu, gpu])
        assert_without_gaps(wait_for(sink, gpu, 3))

    def test_a_device_that_comes_later_is_reported_at_once(self, sink: Sink, gpu: Device) -> None:
        pennytrace.init(endpoint=sink.url)
        beat(sink.url, interval=3600)
        later = Device(gpu.id + "-b", "m")
        holding.hold([gpu])
        wait_for(sink, gpu, 1)
        holding.hold([later])
        wait_for(sink, later, 1)

    def test_readings_are_reported_by_what_they_grew_with_the_first_device(
        self, beating: None, sink: Sink, gpu: Device
    ) -> None:
        second = Device(gpu.id + "-b", "m")
        done = {BUSY: 3.5, IDLE: 1.25}
        readings: Callable[[], Mapping[str, float]] = lambda: dict(done)  # noqa: E731 - the same one twice
        holding.hold([gpu, second], readings)
        holding.hold([gpu, second], readings)
        wait_for(sink, gpu, 2)
        done[BUSY] += 2.0
        wait_for(sink, gpu, len(of(sink.points, gpu)) + 3)
        busy, idle = of(sink.points, gpu, BUSY), of(sink.points, gpu, IDLE)
        assert (sum(one.value for one in busy), sum(one.value for one in idle)) == (5.5, 1.25)
        assert [one.value for one in busy if one.value] == [3.5, 2.0]
        assert {(one.kind, one.unit) for one in busy + idle} == {("delta", "s")}
        assert_intervals_are_those_of(of(sink.points, gpu), busy)
        assert not of(sink.points, second, BUSY)

    def test_two_engines_on_one_device_are_added_up(self, beating: None, sink: Sink, gpu: Device) -> None:
        holding.hold([gpu], lambda: {BUSY: 1.0})
        holding.hold([gpu], lambda: {BUSY: 0.5})
        wait_for(sink, gpu, 4)
        assert sum(one.value for one in of(sink.points, gpu, BUSY)) == 1.5

    def test_readings_that_fail_do_not_stop_the_heartbeat(
        self, beating: None, sink: Sink, gpu: Device, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken() -> Mapping[str, float]:
            raise ZeroDivisionError

        holding.hold([gpu], broken)
        assert_without_gaps(wait_for(sink, gpu, 3))
        assert "the app is not affected" in caplog.text

    def test_no_step_that_fails_reaches_the_app(
        self, beating: None, sink: Sink, gpu: Device, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*args: object) -> Any:
            raise RuntimeError("broken on purpose")

        with monkeypatch.context() as patch:
            patch.setattr(holding, "process_start", broken)
            holding.hold([gpu])
        with monkeypatch.context() as patch:
            patch.setattr(Timeline, "until", broken)
            holding.hold([gpu])
            nap(0.2)
        assert_without_gaps(wait_for(sink, gpu, 2))

    def test_nothing_is_reported_while_nothing_is_recorded(self, sink: Sink, gpu: Device) -> None:
        holding.hold([gpu])
        pennytrace.init(endpoint=sink.url)
        pennytrace.shutdown()
        assert sink.metric_requests == []


def assert_intervals_are_those_of(provisioned: list[Measured], others: list[Measured]) -> None:
    known = {(one.start_ns, one.time_ns) for one in provisioned}
    assert {(one.start_ns, one.time_ns) for one in others} <= known


class TestSettings:
    def test_a_change_of_settings_goes_on_where_the_last_interval_ended(
        self, beating: None, sink: Sink, gpu: Device
    ) -> None:
        holding.hold([gpu])
        wait_for(sink, gpu, 2)
        pennytrace.init(endpoint=sink.url, gpu_pool="other")
        with sink.arrived:
            assert sink.arrived.wait_for(
                lambda: (
                    {"chat", "other"}
                    == {one.attributes["pennytrace.gpu.pool"] for one in of(sink.points, gpu)}
                ),
                20,
            )
        assert_without_gaps(of(sink.points, gpu))

    def test_shutdown_reports_up_to_its_moment_and_a_new_start_goes_on_from_there(
        self, sink: Sink, gpu: Device
    ) -> None:
        pennytrace.init(endpoint=sink.url)
        holding.hold([gpu], lambda: {BUSY: 1.0})
        assert pennytrace.shutdown()
        first = of(sink.points, gpu)
        pennytrace.init(endpoint=sink.url, service="again")
        holding.hold([gpu])
        pennytrace.shutdown()
        assert len(of(sink.points, gpu)) > len(first)
        assert_without_gaps(of(sink.points, gpu))
        assert sum(one.value for one in of(sink.points, gpu, BUSY)) == 1.0

    @pytest.mark.parametrize(
        ("variables", "arguments", "url"),
        [
            ({}, {}, "http://127.0.0.1:4318/v1/metrics"),
            ({}, {"endpoint": "http://a:1/"}, "http://a:1/v1/metrics"),
            ({}, {"endpoint": "http://a:1/v1/traces"}, "http://a:1/v1/metrics"),
            ({"PENNYTRACE_ENDPOINT": "http://a:1/x"}, {}, "http://a:1/x/v1/metrics"),
            ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m:1/y"}, {}, "http://m:1/y"),
            (
                {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m:1/y", "PENNYTRACE_ENDPOINT": "http://a:1"},
                {},
                "http://a:1/v1/metrics",
            ),
            (
                {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m:1/y"},
                {"endpoint": "http://a:1"},
                "http://a:1/v1/metrics",
            ),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://o:1"}, {}, "http://o:1/v1/metrics"),
            ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t:1/v1/traces"}, {}, "http://t:1/v1/metrics"),
        ],
    )
    def test_metrics_go_where_calls_go_unless_a_variable_says_otherwise(
        self, variables: dict[str, str], arguments: dict[str, str], url: str
    ) -> None:
        assert resolve(arguments, variables).metrics_url == url

    def test_a_secret_for_calls_goes_nowhere_else(self) -> None:
        variables = {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t:1/v1/traces",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "a=secret",
        }
        assert resolve({}, variables).metrics_headers == (("a", "secret"),)
        elsewhere = {**variables, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m:1/v1/metrics"}
        assert resolve({}, elsewhere).metrics_headers == ()
        its_own = {**elsewhere, "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "b=other"}
        assert resolve({}, its_own).metrics_headers == (("b", "other"),)
        assert resolve({"headers": {"c": "d"}}, its_own).metrics_headers == (("c", "d"),)


class TestTheEndOfAProcess:
    def test_one_that_ends_reports_up_to_its_end(self, sink: Sink) -> None:
        ran("hold(); time.sleep(0.5)", sink)
        points = of(sink.points, "GPU-a")
        assert_without_gaps(points)
        assert sum(one.value for one in points) > 0.5

    def test_one_that_ends_at_once_too(self, sink: Sink) -> None:
        ran("hold()", sink)
        assert_without_gaps(of(sink.points, "GPU-a"))

    def test_one_that_shuts_down(self, sink: Sink) -> None:
        ran("hold(); pennytrace.shutdown()", sink)
        assert_without_gaps(of(sink.points, "GPU-a"))

    def test_one_that_is_terminated_puts_the_last_on_disk_and_the_next_delivers_it(self, sink: Sink) -> None:
        program = APP + "hold(); time.sleep(1); print('ready', flush=True); time.sleep(60)"
        with started(program, TEST_ENDPOINT=sink.url) as process:
            wait_for(sink, "GPU-a", 1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == -signal.SIGTERM
        ran("hold('GPU-b')", sink)
        sink.points[:] = once(
            sink.points
        )  # one that was just being sent is sent again: the collector keeps one
        points = wait_for(sink, "GPU-a", 2)
        assert_without_gaps(points)
        assert sum(one.value for one in points) > 1

    def test_one_that_is_killed_is_held_up_to_its_last_heartbeat(self, sink: Sink) -> None:
        program = APP + "beat(); hold(); print('ready', flush=True); time.sleep(60)"
        with started(program, TEST_ENDPOINT=sink.url) as process:
            wait_for(sink, "GPU-a", 3)
            process.kill()
            process.wait()
        assert_without_gaps(of(sink.points, "GPU-a"))

    def test_a_child_of_multiprocessing_reports_its_own_end(self, sink: Sink) -> None:
        ran(
            "def work():\n"
            "    hold('GPU-child'); time.sleep(0.3)\n"
            "hold()\n"
            "child = multiprocessing.get_context('fork').Process(target=work)\n"
            "child.start(); child.join(); assert child.exitcode == 0",
            sink,
        )
        parent, child = of(sink.points, "GPU-a"), of(sink.points, "GPU-child")
        assert_without_gaps(parent)
        assert_without_gaps(child)
        assert sum(one.value for one in child) > 0.3
        assert len({one.resource["service.instance.id"] for one in parent + child}) == 2

    def test_a_forked_child_holds_nothing_until_it_says_so(self, sink: Sink) -> None:
        ran(
            "beat(); hold(); time.sleep(0.2)\n"
            "if (child := os.fork()) == 0:\n"
            "    time.sleep(0.3); sys.exit()\n"
            "os.waitpid(child, 0)",
            sink,
        )
        points = of(sink.points, "GPU-a")
        assert_without_gaps(points)
        assert len({one.resource["service.instance.id"] for one in points}) == 1


class TestWhileTheCollectorIsAway:
    def test_every_interval_arrives_once_when_it_is_back(
        self, free_port: int, gpu: Device, tmp_path: Path
    ) -> None:
        url = f"http://127.0.0.1:{free_port}"
        pennytrace.init(endpoint=url, spool=tmp_path / "spool")
        beat(url, spool=str(tmp_path / "spool"))
        holding.hold([gpu])
        eventually(lambda: sum(_calls_in(tmp_path)) >= 3)
        with sinks.running(free_port) as sink:
            assert_without_gaps(wait_for(sink, gpu, 6))
            pennytrace.shutdown()
            assert_without_gaps(of(sink.points, gpu))
        assert not list(tmp_path.glob("spool/*/*.otlp"))

    def test_what_was_lost_is_told_on_this_side_and_never_as_calls(
        self, sink: Sink, gpu: Device, caplog: pytest.LogCaptureFixture
    ) -> None:
        pennytrace.init(endpoint=sink.url)
        sink.metric_replies.append(Reply(400))
        holding.hold([gpu])
        sink.wait_for_points(requests=1)
        pennytrace.shutdown()
        assert "lost 1 GPU readings (refused)" in caplog.text
        assert "calls" not in caplog.text
        assert sink.requests == []
        told = run(
            [BIN / "pennytrace", "doctor"],
            environment={
                "XDG_STATE_HOME": os.environ["XDG_STATE_HOME"],
                "PENNYTRACE_ENDPOINT": sink.url,
            },
        )
        assert "1 GPU readings lost" in told.stdout
        assert "calls lost" not in told.stdout

    def test_a_collector_that_takes_no_metrics_is_left_alone(
        self,
        sink: Sink,
        gpu: Device,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        sink.metric_replies.extend([Reply(404)] * 50)
        pennytrace.init(endpoint=sink.url, spool=tmp_path / "spool")
        beat(sink.url, spool=str(tmp_path / "spool"))
        holding.hold([gpu])
        sink.wait_for_points(requests=1)
        nap(1.5)
        assert len(sink.metric_requests) == 1
        pennytrace.shutdown()
        assert len(sink.metric_requests) == 1
        assert caplog.text.count("cannot deliver GPU readings, and asks again every 10 minutes") == 1
        assert [record for record in caplog.records if record.levelno >= logging.WARNING][1:] == []
        assert not list(tmp_path.glob("spool/*/*.otlp"))

    def test_and_told_everything_when_it_takes_them_at_last(
        self, sink: Sink, gpu: Device, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_http, "_UNTIL_THERE", 0.5)
        sink.metric_replies.extend([Reply(404)] * 2)
        pennytrace.init(endpoint=sink.url)
        beat(sink.url)
        holding.hold([gpu])
        with sink.arrived:
            assert sink.arrived.wait_for(lambda: any(one.value > 0.3 for one in of(sink.points, gpu)[1:]), 20)
        assert_without_gaps(of(sink.points, gpu))

    def test_a_process_that_ends_then_ends_at_once_and_silently(self, sink: Sink) -> None:
        sink.metric_replies.extend([Reply(404)] * 50)
        result = run(
            [sys.executable, "-c", APP + "hold(); time.sleep(1.5)"],
            environment={"TEST_ENDPOINT": sink.url, "XDG_STATE_HOME": os.environ["XDG_STATE_HOME"]},
        )
        assert result.returncode == 0
        assert result.stderr.count("pennytrace") == result.stderr.count("asks again every 10 minutes") == 1


def _calls_in(folder: Path) -> list[int]:
    return [int(path.stem.rpartition("-")[2]) for path in folder.glob("spool/*/*.otlp")]


def eventually(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        nap(0.01)
    raise AssertionError("it never came to hold")


def nap(seconds: float) -> None:
    signal.sigtimedwait([], seconds)


def test_a_metric_is_written_as_the_official_classes_read_it() -> None:
    points = [
        Point({"hw.id": "ä", "n": 3}, time_ns=2**63 + 5, value=0.1, start_ns=7),
        Point({}, time_ns=1, value=-3),
    ]
    for kind, field, temporality in (
        (Kind.GAUGE, "gauge", 0),
        (Kind.DELTA, "sum", 1),
        (Kind.CUMULATIVE, "sum", 2),
    ):
        written = ScopeMetrics.FromString(encode_metric(Metric("a.b", "By", kind, points))).metrics[0]
        data: Any = getattr(written, field)
        assert (written.name, written.unit, written.WhichOneof("data")) == ("a.b", "By", field)
        assert [sinks.values(point.attributes) for point in data.data_points] == [{"hw.id": "ä", "n": 3}, {}]
        first, second = data.data_points
        assert (first.start_time_unix_nano, first.time_unix_nano, first.as_double) == (7, 2**63 + 5, 0.1)
        assert (second.start_time_unix_nano, second.time_unix_nano, second.as_int) == (0, 1, -3)
        if field == "sum":
            assert (data.aggregation_temporality, data.is_monotonic) == (temporality, True)
