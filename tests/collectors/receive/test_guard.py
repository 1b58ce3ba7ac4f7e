"""No body takes many times its size in memory, and a large one of real calls is taken."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pennytrace_collectors.errors import Malformed
from pennytrace_collectors.journal.record import varint
from pennytrace_collectors.receive.guard import LARGE, guard
from tests.collectors import otlp

ROOT = Path(__file__).parents[3]


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def in_span(data: bytes) -> bytes:
    return field(1, field(2, field(2, otlp.span().SerializeToString() + data)))


def hostile(size: int) -> dict[str, bytes]:
    """Bodies of about that many bytes that consist of empty parts."""
    empty = size // 2
    return {
        "resources": b"\x0a\x00" * empty,
        "scopes": field(1, b"\x12\x00" * empty),
        "spans": field(1, field(2, b"\x12\x00" * empty)),
        "attributes": in_span(b"\x4a\x00" * empty),
        "events": in_span(b"\x5a\x00" * empty),
        "values": in_span(field(9, field(2, field(5, b"\x0a\x00" * empty)))),
        "spans with a name": field(1, field(2, b"\x12\x03\x2a\x01x" * (size // 5))),
    }


@pytest.mark.parametrize("body", hostile(2 * LARGE).values(), ids=hostile(0))
def test_a_large_body_of_empty_parts_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed, match="too many empty parts"):
        guard(body, ExportTraceServiceRequest.DESCRIPTOR)


def test_a_large_body_of_short_calls_passes() -> None:
    body = otlp.request([otlp.span({"a": 1, "b": True, "c": 0}) for _ in range(20_000)]).SerializeToString()
    assert len(body) > LARGE
    guard(body, ExportTraceServiceRequest.DESCRIPTOR)


def test_zeros_within_a_value_are_not_empty_parts() -> None:
    span = otlp.span()
    span.attributes.add(key="audio").value.bytes_value = bytes(2 * LARGE)
    guard(otlp.request([span]).SerializeToString(), ExportTraceServiceRequest.DESCRIPTOR)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=64), st.sampled_from([0, 1, 2, 255]))
def test_no_bytes_make_the_guard_fail(start: bytes, filling: int) -> None:
    with suppress(Malformed):
        guard(start + bytes([filling]) * LARGE, ExportTraceServiceRequest.DESCRIPTOR)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel does not limit the memory of a process")
def test_the_largest_hostile_bodies_are_refused_within_a_bounded_memory() -> None:
    # Decoded, the one of spans would take 700 MB.
    program = """
        import resource
        from pennytrace_collectors.errors import Malformed
        from pennytrace_collectors.receive.check import check
        from tests.collectors.receive.test_guard import hostile
        for name, body in hostile(8 * 1024**2).items():
            used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + 150 * 1024**2,) * 2) if name == "resources" else None
            try:
                check(body)
            except Malformed as error:
                print(name, error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("too many empty parts") == len(hostile(0))
