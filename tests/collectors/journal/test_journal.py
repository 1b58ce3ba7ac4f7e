"""What the journal has acknowledged is there, and is handed out once, in order."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pennytrace_collectors.errors import JournalError, JournalFull, JournalInUse, JournalUnwritable
from pennytrace_collectors.journal import Disk, Journal, Limits, Segment
from tests.collectors import otlp
from tests.collectors.waiting import eventually

from .disks import BrokenDisk, CountingDisk, FullDisk

AT_ONCE = Limits(segment_age_s=0.0)


def append(journal: Journal, *bodies: bytes) -> list[BaseException | None]:
    async def together() -> list[BaseException | None]:
        return await asyncio.gather(
            *(journal.append(body, spans=1) for body in bodies), return_exceptions=True
        )

    return asyncio.run(together())


def drained(journal: Journal) -> Iterator[tuple[Segment, bytes]]:
    while (segment := journal.take(0.5)) is not None:
        yield segment, journal.read(segment).messages
        journal.remove(segment)


def left_in(folder: Path, *, disk: Disk | None = None) -> bytes:
    journal = Journal(folder, disk=disk)
    journal.drain()
    try:
        return b"".join(messages for _, messages in drained(journal))
    finally:
        journal.close()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "lock")


def test_an_acknowledged_body_is_on_disk_and_is_handed_out_in_its_original_bytes(tmp_path: Path) -> None:
    journal = Journal(tmp_path, limits=AT_ONCE)
    body = otlp.body(3)
    assert append(journal, body) == [None]
    assert body in b"".join(path.read_bytes() for path in tmp_path.glob("*.segment"))
    segment = journal.take(5)
    assert segment is not None
    content = journal.read(segment)
    assert body in content.messages
    assert content.spans == 1
    journal.remove(segment)
    assert journal.take(0) is None
    assert journal.state().bytes == 0
    journal.close()
    assert files(tmp_path) == []


def test_a_thousand_bodies_that_wait_together_share_a_few_syncs(tmp_path: Path) -> None:
    disk = CountingDisk()
    disk.may_sync.clear()
    journal = Journal(tmp_path, disk=disk)

    async def thousand() -> None:
        waiting = [asyncio.ensure_future(journal.append(otlp.body(), spans=1)) for _ in range(1000)]
        await asyncio.sleep(0)
        disk.may_sync.set()
        await asyncio.gather(*waiting)

    asyncio.run(thousand())
    # The first may be written before the others have come; those then share one.
    assert disk.syncs <= 3
    assert journal.state().syncs == disk.syncs
    assert journal.state().appended_bodies == 1000
    journal.close()
    assert len(otlp.span_ids(left_in(tmp_path))) == 1000


def test_the_name_of_a_new_segment_is_durable_before_anything_in_it_is_acknowledged(tmp_path: Path) -> None:
    disk = CountingDisk()
    journal = Journal(tmp_path, disk=disk)
    append(journal, b"one")
    assert disk.folder_syncs == 1
    append(journal, b"two")
    assert disk.folder_syncs == 1
    journal.close()


def test_nothing_is_acknowledged_before_it_is_durable(tmp_path: Path) -> None:
    disk = CountingDisk()
    disk.may_sync.clear()
    journal = Journal(tmp_path, disk=disk)

    async def hurry() -> None:
        waiting = asyncio.ensure_future(journal.append(b"body", spans=1))
        done, _ = await asyncio.wait({waiting}, timeout=0.05)
        assert not done
        disk.may_sync.set()
        await waiting

    asyncio.run(hurry())
    journal.close()


def test_a_segment_is_sealed_when_it_is_large_and_order_is_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path, limits=Limits(segment_bytes=2000, segment_age_s=3600))
    bodies = [otlp.body() for _ in range(20)]
    for body in bodies:
        append(journal, body)
    assert journal.state().segments > 3
    journal.drain()
    stream = b"".join(messages for _, messages in drained(journal))
    expected = [found.span_id for body in bodies for found in otlp.message_spans(parsed(body))]
    assert otlp.span_ids(stream) == expected
    journal.close()


def parsed(body: bytes) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(body)


def test_what_is_not_loaded_is_handed_out_first_after_a_restart(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    append(first, b"first")
    first.close()
    second = Journal(tmp_path, limits=AT_ONCE)
    assert second.state().bytes > 0
    assert second.state().oldest_at is not None
    append(second, b"second")
    second.drain()
    assert [b"first" in messages for _, messages in drained(second)] == [True, False]
    second.close()


def test_a_second_collector_on_the_same_folder_is_refused_and_told_why(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(JournalInUse, match=rf"pid {os.getpid()}.*--state"):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match=r"file/journal.*--state"):
        Journal(tmp_path / "file" / "journal")


def test_a_full_journal_refuses_and_takes_again_once_something_is_loaded(tmp_path: Path) -> None:
    body = bytes(1000)
    journal = Journal(tmp_path, limits=Limits(total_bytes=1500, segment_age_s=0.0))
    assert append(journal, body) == [None]
    [refused] = append(journal, body)
    assert isinstance(refused, JournalFull)
    assert refused.retry_after_s > 0
    segment = journal.take(5)
    assert segment is not None
    journal.remove(segment)
    assert append(journal, body) == [None]
    journal.close()


def test_a_full_disk_fails_only_what_does_not_fit_and_recovers_by_itself(tmp_path: Path) -> None:
    disk = FullDisk(room=1500)
    journal = Journal(tmp_path, disk=disk)
    assert append(journal, b"a" * 1000) == [None]
    [refused] = append(journal, b"b" * 1000)
    assert isinstance(refused, JournalUnwritable)
    assert "the disk of the journal is full" in str(refused)
    assert "is full" in journal.state().refusing
    disk.room = 10_000
    assert append(journal, b"c" * 1000) == [None]
    assert journal.state().refusing == ""
    journal.close()
    stream = left_in(tmp_path)
    assert (b"a" * 1000 in stream, b"b" in stream, b"c" * 1000 in stream) == (True, False, True)


def test_a_disk_that_is_full_from_the_start_leaves_no_files(tmp_path: Path) -> None:
    journal = Journal(tmp_path, disk=FullDisk(room=0))
    for _ in range(3):
        [refused] = append(journal, b"body")
        assert isinstance(refused, JournalUnwritable)
    assert files(tmp_path) == []
    assert journal.state().bytes == 0
    journal.close()


@pytest.mark.parametrize("also_truncate", [False, True])
def test_after_a_failed_sync_only_acknowledged_bodies_count_on(tmp_path: Path, also_truncate: bool) -> None:
    disk = BrokenDisk(also_truncate=also_truncate)
    disk.broken = False
    journal = Journal(tmp_path, disk=disk)
    assert append(journal, b"before") == [None]
    disk.broken = True
    [refused] = append(journal, b"during")
    assert isinstance(refused, JournalUnwritable)
    assert "Input/output error" in str(refused)
    disk.broken = False
    assert append(journal, b"after") == [None]
    assert journal.state().segments == 2
    journal.close()
    stream = left_in(tmp_path)
    assert b"before" in stream
    assert b"after" in stream


def test_a_real_limit_on_file_size_is_a_full_disk(tmp_path: Path) -> None:
    program = f"""
        import asyncio, resource
        from pathlib import Path
        from pennytrace_collectors.errors import JournalUnwritable
        from pennytrace_collectors.journal import Journal
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        journal = Journal(Path({str(tmp_path)!r}))
        asyncio.run(journal.append(bytes(90_000), spans=1))
        try:
            asyncio.run(journal.append(bytes(90_000), spans=1))
        except JournalUnwritable as error:
            print(error)
        asyncio.run(journal.append(b"after", spans=1))
        journal.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "is full" in done.stdout
    stream = left_in(tmp_path)
    assert b"after" in stream
    assert len(stream) < 91_000


bodies = st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=bodies, data=st.data())
def test_a_segment_cut_anywhere_loses_nothing_before_the_cut_and_hides_nothing_after_it(
    tmp_path_factory: pytest.TempPathFactory, bodies: Sequence[bytes], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder)
    ends = []
    for body in bodies:
        append(journal, body)
        ends.append(journal.state().appended_bytes)
    journal.close()
    [path] = folder.glob("*.segment")
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])

    kept = max((end for end in ends if end <= cut), default=0)
    assert left_in(folder) == whole[:kept]
    torn = folder / f"{path.stem}.torn"
    assert (torn.read_bytes() if torn.exists() else b"") == whole[kept:cut]


def test_a_torn_end_is_logged_counted_and_its_number_is_not_used_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path)
    append(journal, b"good")
    journal.close()
    [path] = tmp_path.glob("*.segment")
    path.write_bytes(path.read_bytes() + b"\x50half a record")
    with caplog.at_level(logging.WARNING):
        journal = Journal(tmp_path, limits=AT_ONCE)
        segment = journal.take(5)
        assert segment is not None
        assert journal.read(segment).torn
    assert "a record is cut off: 67 bytes are missing" in caplog.text
    assert journal.state().torn == 1
    journal.remove(segment)
    journal.close()
    assert files(tmp_path) == [f"{path.stem}.torn"]
    journal = Journal(tmp_path)
    append(journal, b"next")
    assert (tmp_path / f"{int(path.stem) + 1:016d}.segment").exists()
    journal.close()


def test_a_client_that_goes_away_disturbs_nobody_else(tmp_path: Path) -> None:
    disk = CountingDisk()
    disk.may_sync.clear()
    journal = Journal(tmp_path, disk=disk)

    async def one_leaves() -> None:
        leaving = asyncio.ensure_future(journal.append(b"leaving", spans=1))
        staying = asyncio.ensure_future(journal.append(b"staying", spans=1))
        await asyncio.sleep(0)
        leaving.cancel()
        disk.may_sync.set()
        await staying

    asyncio.run(one_leaves())
    journal.close()
    assert b"staying" in left_in(tmp_path)


def test_the_age_of_the_oldest_body_is_known(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.state().oldest_at is None
    append(journal, b"body")
    assert journal.state().oldest_at == pytest.approx(tmp_path.stat().st_mtime, abs=60)
    journal.close()


def test_a_loader_that_waits_is_woken_by_the_first_body(tmp_path: Path) -> None:
    journal = Journal(tmp_path, limits=AT_ONCE)

    async def meet() -> Segment | None:
        taking = asyncio.create_task(asyncio.to_thread(journal.take, 60))
        await asyncio.sleep(0.01)
        await journal.append(b"body", spans=1)
        return await taking

    assert asyncio.run(meet()) is not None
    journal.close()


def test_a_caller_that_never_waits_gets_the_segment_the_next_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path, limits=AT_ONCE)
    append(journal, b"body")
    segment = eventually(lambda: journal.take(0))
    assert b"body" in journal.read(segment).messages
    journal.close()


def test_a_segment_that_somebody_deleted_is_empty_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path, limits=AT_ONCE)
    append(journal, b"body")
    segment = journal.take(5)
    assert segment is not None
    segment.path.unlink()
    assert journal.read(segment).messages == b""
    assert f"{segment.path} is gone" in caplog.text
    journal.remove(segment)
    assert journal.state().bytes == 0
    journal.close()


def test_a_closed_journal_refuses_instead_of_hanging(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.close()
    [refused] = append(journal, b"late")
    assert isinstance(refused, JournalUnwritable)
    assert eventually(lambda: journal.state().refusing) == "the journal is closed"
