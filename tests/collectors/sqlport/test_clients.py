"""What clickhouse-connect reads through the port is what is in the store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from .asking import Port


@pytest.fixture
def client(port: Port) -> Iterator[Client]:
    with port.client() as client:
        yield client


def test_every_type_that_a_table_has_is_read_as_it_was_written(client: Client) -> None:
    row = dict(next(iter(client.query("SELECT * FROM kinds WHERE id = 1").named_results())))
    at = row.pop("at")
    assert at.replace(tzinfo=UTC) == datetime(2026, 10, 5, 12, 13, 14, 123456, tzinfo=UTC)
    assert row.pop("seconds").replace(tzinfo=UTC) == datetime(2026, 10, 5, 12, 13, 14, tzinfo=UTC)
    assert row == {
        "id": 1,
        "text": "text 1",
        "fixed": bytes(range(16)),
        "word": "word",
        "day": date(2026, 10, 5),
        "tiny": 255,
        "small": 65535,
        "middle": 4294967295,
        "signed": -9223372036854775808,
        "ratio": 0.1,
        "yes": True,
        "money": Decimal("12345678901234567890.000000000000000001"),
        "level": "high",
        "uid": UUID("61f0c404-5cb3-11e7-907b-a6006ad3dba0"),
        "costs": [Decimal("0.1"), Decimal("-0.2")],
        "tags": {"k": "v"},
        "pair": {"a": 7, "b": "b"},
        "maybe": None,
        "labels": ["x", "y"],
    }


def test_parameters_are_bound_by_the_server_whatever_is_in_them(client: Client) -> None:
    text = 'it\'s \\ a "test"\n\twith {braces} and ü and $$'
    found = client.query(
        "SELECT {text:String}, {list:Array(String)}, {money:Decimal(38, 18)}, {none:Nullable(UInt8)}",
        parameters={"text": text, "list": [text, ""], "money": Decimal("1.5"), "none": None},
    )
    assert found.result_rows == [(text, [text, ""], Decimal("1.5"), None)]


def test_parameters_are_bound_by_the_client_too(client: Client) -> None:
    found = client.query("SELECT %(text)s, %(list)s", parameters={"text": "it's \\", "list": [1, 2]})
    assert found.result_rows == [("it's \\", [1, 2])]


def test_parameters_too_long_for_a_url_come_in_a_form(client: Client) -> None:
    text = "'\\\n" * 20_000
    assert client.query("SELECT {text:String}", parameters={"text": text}).result_rows == [(text,)]


def test_a_table_may_be_named_by_a_parameter(client: Client) -> None:
    sql = "SELECT count() FROM {database:Identifier}.{table:Identifier} WHERE {column:Identifier} < 10"
    found = client.query(sql, parameters={"database": "pennytrace", "table": "calls", "column": "id"})
    assert found.result_rows == [(10,)]


def test_settings_of_a_client_and_of_a_statement_take_effect(client: Client) -> None:
    found = client.query(
        "SELECT getSetting('max_threads')", settings={"max_threads": 1, "max_execution_time": 2}
    )
    assert found.result_rows == [(1,)]
    assert client.query("SELECT getSetting('max_block_size') SETTINGS max_block_size = 17").result_rows == [
        (17,)
    ]
    with pytest.raises(DatabaseError) as refused:
        client.query("SELECT * FROM calls", settings={"max_result_rows": 5})
    assert refused.value.code == 396


def test_a_filter_on_a_table_may_be_a_setting(client: Client) -> None:
    filters = {"calls": "id < 4 AND feature = 'chat'"}
    assert client.query(
        "SELECT count() FROM calls", settings={"additional_table_filters": filters}
    ).result_rows == [(2,)]
    sql = "SELECT count() FROM calls SETTINGS additional_table_filters = {'pennytrace.calls': 'id < 6'}"
    assert client.query(sql).result_rows == [(6,)]


def test_settings_beyond_the_limits_are_lowered_when_a_client_asks_and_refused_in_a_statement(
    client: Client,
) -> None:
    sql = "SELECT getSetting('max_execution_time')"
    assert client.query(sql, settings={"max_execution_time": 1000}).result_rows == [(3.0,)]
    assert client.query(sql, settings={"max_execution_time": 0}).result_rows == [(3.0,)]
    with pytest.raises(DatabaseError) as refused:
        client.query(f"{sql} SETTINGS max_execution_time = 1000")
    assert refused.value.code == 452


@pytest.mark.parametrize(
    "name", ["max_partitions_per_insert_block", "allow_ddl", "format_schema", "dialect", "workload"]
)
def test_a_setting_that_no_reader_may_change_is_refused(client: Client, name: str) -> None:
    with pytest.raises(DatabaseError) as refused:
        client.query("SELECT 1", settings={name: "5"})
    assert refused.value.code == 164


def test_an_unknown_setting_is_reported_as_such(client: Client) -> None:
    with pytest.raises(DatabaseError) as refused:
        client.query("SELECT 1", settings={"no_such_setting": 1})
    assert refused.value.code == 115


def test_rows_stream_in_blocks(client: Client) -> None:
    with client.query_rows_stream("SELECT number, toString(number) FROM numbers(2000000)") as rows:
        assert sum(number for number, _ in rows) == 1999999 * 1000000


def test_data_frames_and_arrow_tables_are_read(client: Client) -> None:
    sql = "SELECT feature, cost FROM spend ORDER BY feature"
    frame = client.query_df(sql)
    assert list(frame["feature"]) == ["chat", "search"]
    assert client.query_arrow(sql).to_pydict() == {
        "feature": ["chat", "search"],
        "cost": [Decimal(50), Decimal(50)],
    }


def test_commands_describe_the_tables(client: Client) -> None:
    assert client.command("SELECT count() FROM calls") == 100000
    assert client.command("EXISTS TABLE calls") == 1
    assert client.command("SHOW TABLES LIKE 'ca%'") == "calls"
    assert client.query("DESCRIBE TABLE calls").column_names[:2] == ("name", "type")
    assert "ENGINE = MergeTree" in str(client.command("SHOW CREATE TABLE pennytrace.calls"))
    assert client.query("SELECT * FROM calls LIMIT 0").column_names == ("id", "feature", "cost")


@pytest.mark.parametrize(
    ("format", "start"),
    [
        ("JSON", b"{"),
        ("JSONEachRow", b'{"a":1}\n'),
        ("CSV", b"1\n"),
        ("TSVWithNames", b"a\n1\n"),
        ("Parquet", b"PAR1"),
        ("Native", b"\x01\x01\x01a\x05UInt8\x01"),
        ("ArrowStream", b"\xff\xff\xff\xff"),
    ],
)
def test_raw_answers_come_in_the_format_asked_for(client: Client, format: str, start: bytes) -> None:
    assert client.raw_query("SELECT 1 AS a", fmt=format).startswith(start)


@pytest.mark.parametrize(
    ("sql", "code", "name"),
    [
        ("SELEC 1", 62, "SYNTAX_ERROR"),
        ("SELECT nope", 47, "UNKNOWN_IDENTIFIER"),
        ("SELECT * FROM nope", 60, "UNKNOWN_TABLE"),
        ("SELECT * FROM nope.calls", 81, "UNKNOWN_DATABASE"),
        ("SELECT nope(1)", 46, "UNKNOWN_FUNCTION"),
        ("SELECT {x:UInt8}", 456, "UNKNOWN_QUERY_PARAMETER"),
        ("INSERT INTO calls SELECT 1, 'a', 1", 164, "READONLY"),
        ("SELECT file('x')", 497, "ACCESS_DENIED"),
        ("SELECT throwIf(number = 2) FROM numbers(5)", 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
    ],
)
def test_errors_carry_the_code_and_name_that_clickhouse_gives_them(
    client: Client, sql: str, code: int, name: str
) -> None:
    with pytest.raises(DatabaseError) as failed:
        client.query(sql)
    assert (failed.value.code, failed.value.name) == (code, name)


def test_an_error_after_the_first_rows_is_an_error_of_the_stream(client: Client) -> None:
    sql = "SELECT throwIf(number = 1900000, 'too late') FROM numbers(2000000)"
    with pytest.raises(StreamFailureError, match="too late") as failed, client.query_rows_stream(sql) as rows:
        for _ in rows:
            pass
    assert failed.value.code == 395


def test_queries_are_answered_while_inserts_run(client: Client) -> None:
    counts: list[int] = []
    deadline = time.monotonic() + 60
    while len(counts) < 60 or len(set(counts)) < 3:  # the inserts pause in between
        counts.append(int(str(client.command("SELECT count() FROM growing"))))
        assert time.monotonic() < deadline, counts
    assert counts == sorted(counts)
    assert all(count % 1000 == 0 for count in counts)


async def _read_asynchronously(port: Port) -> list[object]:
    import clickhouse_connect

    client = await clickhouse_connect.get_async_client(host="127.0.0.1", port=port.number)
    try:
        found = await client.query("SELECT sum(id) FROM calls WHERE id < {n:UInt8}", parameters={"n": 4})
        return list(found.result_rows)
    finally:
        await client.close()


def test_the_asynchronous_client_reads_too(port: Port) -> None:
    pytest.importorskip("aiohttp", reason="clickhouse-connect's asynchronous client needs aiohttp")
    import asyncio

    assert asyncio.run(_read_asynchronously(port)) == [(6,)]
