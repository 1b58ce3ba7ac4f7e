"""Serves a seeded store on the read-only port, and goes on inserting beside it; the tests run it."""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path

import clickhouse_connect
import uvicorn

from pennytrace_collectors.sqlport import Access, Limits, application

DATABASE = "pennytrace"

SEED = (
    "CREATE DATABASE pennytrace",
    """CREATE TABLE pennytrace.kinds
    (
        id UInt64, text String, fixed FixedString(16), word LowCardinality(String), at DateTime64(9, 'UTC'),
        seconds DateTime('UTC'), day Date, tiny UInt8, small UInt16, middle UInt32, signed Int64,
        ratio Float64, yes Bool, money Decimal(38, 18), level Enum8('low' = 1, 'high' = 2), uid UUID,
        costs Array(Decimal(38, 18)), tags Map(LowCardinality(String), String), pair Tuple(a UInt8, b String),
        maybe Nullable(Int32), labels Array(LowCardinality(String))
    ) ENGINE = MergeTree ORDER BY id""",
    """INSERT INTO pennytrace.kinds SELECT
        number, concat('text ', toString(number)), unhex('000102030405060708090a0b0c0d0e0f'), 'word',
        toDateTime64('2026-10-05 12:13:14.123456789', 9, 'UTC'), toDateTime('2026-10-05 12:13:14', 'UTC'),
        '2026-10-05', 255, 65535, 4294967295, -9223372036854775808, 0.1, true,
        toDecimal128('12345678901234567890.000000000000000001', 18), 'high',
        '61f0c404-5cb3-11e7-907b-a6006ad3dba0', [toDecimal128('0.1', 18), toDecimal128('-0.2', 18)],
        map('k', 'v'), tuple(7, 'b'), if(number = 1, NULL, 5), ['x', 'y']
    FROM numbers(3)""",
    """CREATE TABLE pennytrace.calls (id UInt64, feature String, cost Decimal(38, 18))
    ENGINE = MergeTree ORDER BY id""",
    """INSERT INTO pennytrace.calls
    SELECT number, ['chat', 'search'][number % 2 + 1], 0.001 FROM numbers(100000)""",
    """CREATE VIEW pennytrace.spend AS
    SELECT feature, sum(cost) AS cost FROM pennytrace.calls GROUP BY feature""",
    "CREATE TABLE pennytrace.growing (id UInt64) ENGINE = MergeTree ORDER BY id",
    "CREATE DATABASE private",
    "CREATE TABLE private.notes (note String) ENGINE = MergeTree ORDER BY note",
    "INSERT INTO private.notes VALUES ('S3CRET-IN-ANOTHER-DATABASE')",
)


def main() -> None:
    """Serve the folder in the first argument on a free port, which is printed once the store is seeded."""
    folder = Path(sys.argv[1])
    store = clickhouse_connect.get_client(
        interface="chdb", path=str(folder), chdb_options={"format_schema_path": str(folder / "schemas")}
    )
    for statement in SEED:
        store.command(statement)
    limits = Limits(seconds=3, concurrent=2, waiting=6, result_bytes=16 * 1024 * 1024)
    app = application(
        folder, database=DATABASE, limits=limits, access=Access(hosts=frozenset({"spend.example"}))
    )
    # With its protocol named, asyncio sends small answers at once; without, each waits 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    threading.Thread(target=_write, args=(folder,), daemon=True).start()
    uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)).run([listening])


def _write(folder: Path) -> None:
    # An insert must never wait for a reader, nor a reader see half of one.
    writer = clickhouse_connect.get_client(interface="chdb", path=str(folder))
    pause = threading.Event()
    while not pause.wait(0.2):
        writer.command(f"INSERT INTO {DATABASE}.growing SELECT number FROM numbers(1000)")


if __name__ == "__main__":
    main()
