"""A record is what ClickHouse reads and what a crash cannot fake."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pennytrace_collectors.journal.record import frame, framed_size, scan, varint
from tests.collectors import otlp

bodies = st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 1000)), max_size=6)


def stream(items: list[tuple[bytes, int]]) -> tuple[bytes, list[int]]:
    data = b""
    ends = []
    for body, spans in items:
        framing = frame(body, spans)
        data += framing.prefix + body + framing.trailer
        ends.append(len(data))
    return data, ends


@given(bodies)
def test_every_whole_record_is_found_again(items: list[tuple[bytes, int]]) -> None:
    data, ends = stream(items)
    found = scan(data)
    assert list(found.ends) == ends
    assert found.spans == sum(spans for _, spans in items)
    assert found.fault == ""


@given(bodies, st.data())
def test_a_stream_cut_anywhere_keeps_exactly_the_records_before_the_cut(
    items: list[tuple[bytes, int]], data: st.DataObject
) -> None:
    whole, ends = stream(items)
    cut = data.draw(st.integers(0, len(whole)))
    found = scan(whole[:cut])
    assert list(found.ends) == [end for end in ends if end <= cut]
    assert bool(found.fault) == (found.good_bytes < cut)


@given(bodies.filter(bool), st.data())
def test_a_changed_byte_is_never_taken_for_a_good_record(
    items: list[tuple[bytes, int]], data: st.DataObject
) -> None:
    whole, ends = stream(items)
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= data.draw(st.integers(1, 255))
    found = scan(bytes(changed))
    assert list(found.ends) == [end for end in ends if end <= place]
    assert found.fault


def test_a_file_that_ends_in_zeros_as_after_a_power_failure_keeps_its_records() -> None:
    data, ends = stream([(b"abc", 1), (b"def", 2)])
    found = scan(data + bytes(4096))
    assert list(found.ends) == ends
    assert found.fault == "a record is too short to be one"


@given(st.integers(0, 2**34))
def test_the_size_of_a_record_is_known_before_it_is_made(size: int) -> None:
    small = size % 70_000
    framing = frame(bytes(small), 1)
    assert framed_size(small) == len(framing.prefix) + small + len(framing.trailer)
    assert framed_size(size) == size + len(framing.trailer) + len(varint(size + len(framing.trailer)))


def test_records_are_a_stream_of_otlp_messages() -> None:
    requests = [otlp.request([otlp.span()]), otlp.request([otlp.span(), otlp.span()])]
    data, _ = stream([(request.SerializeToString(), 1) for request in requests])
    assert list(otlp.messages(data)) == requests
