"""The Go client in Grafana's ClickHouse plugin, asking as it asks, gets the bytes that it decodes."""

from __future__ import annotations

import gzip
import struct
from io import BytesIO
from zoneinfo import ZoneInfo

from .asking import Port, Reply

USER_AGENT = "grafana/13.0.0 clickhouse-datasource/4.20.0 clickhouse-go/2.47.0 (lv:go/1.25; os:linux)"


def ask(port: Port, sql: str, **more: str) -> Reply:
    headers = {"Accept-Encoding": "gzip", "Authorization": "Basic ZGVmYXVsdDo=", "User-Agent": USER_AGENT}
    parameters = {
        "database": "pennytrace",
        "default_format": "Native",
        "client_protocol_version": "54460",
        **more,
    }
    return port.ask(sql, headers=headers, more=parameters)


def body(reply: Reply) -> BytesIO:
    packed = reply.headers.get("content-encoding") == "gzip"
    return BytesIO(gzip.decompress(reply.body) if packed else reply.body)


def number(stream: BytesIO) -> int:
    value = shift = 0
    while True:
        byte = stream.read(1)[0]
        value |= (byte & 127) << shift
        if byte < 128:
            return value
        shift += 7


def string(stream: BytesIO) -> str:
    return stream.read(number(stream)).decode()


def test_the_handshake_is_framed_at_the_revision_that_the_client_offers(port: Port) -> None:
    stream = body(ask(port, "SELECT displayName(), version(), revision(), timezone()"))
    assert stream.read(8) == b"\x01\x00\x02\xff\xff\xff\xff\x00"
    assert (number(stream), number(stream)) == (4, 1)
    values: dict[str, object] = {}
    for _ in range(4):
        name, kind, flag = string(stream), string(stream), stream.read(1)
        assert flag == b"\x00"
        values[name] = string(stream) if kind == "String" else struct.unpack("<I", stream.read(4))[0]
    assert stream.read() == b""
    assert values["displayName()"] == "pennytrace"
    assert str(values["version()"]).startswith("26.")
    ZoneInfo(str(values["timezone()"]))
    # From here on the client reads at this revision, at which a block is what the engine writes.
    assert values["revision()"] == 0


def test_an_older_client_gets_a_handshake_without_the_byte_that_it_does_not_know(port: Port) -> None:
    stream = body(
        ask(port, "SELECT displayName(), version(), revision(), timezone()", client_protocol_version="54450")
    )
    assert stream.read(10) == b"\x01\x00\x02\xff\xff\xff\xff\x00\x04\x01"
    assert (string(stream), string(stream), string(stream)) == ("displayName()", "String", "pennytrace")


def test_the_same_statement_of_a_client_that_names_no_revision_is_an_ordinary_one(port: Port) -> None:
    reply = port.ask("SELECT displayName(), version(), revision(), timezone() FORMAT Native")
    assert reply.body.startswith(b"\x04\x01\x0ddisplayName()")


def test_the_ping_after_it_is_one_plain_block_with_one_column_named_1(port: Port) -> None:
    assert body(ask(port, "SELECT 1")).read() == b"\x01\x01\x011\x05UInt8\x01"


def test_a_panel_is_answered_in_plain_blocks(port: Port) -> None:
    sql = "SELECT feature, toFloat64(cost) AS spent FROM spend ORDER BY feature"
    stream = body(ask(port, sql, max_execution_time="65"))
    assert (number(stream), number(stream)) == (2, 2)
    assert (string(stream), string(stream), string(stream), string(stream)) == (
        "feature",
        "String",
        "chat",
        "search",
    )
    assert (string(stream), string(stream)) == ("spent", "Float64")
    assert struct.unpack("<2d", stream.read()) == (50.0, 50.0)


def test_a_panel_without_rows_is_an_answer_of_no_length(port: Port) -> None:
    reply = ask(port, "SELECT feature FROM spend WHERE cost > 1000")
    assert (reply.status, reply.headers["content-length"], reply.body) == (200, "0", b"")


def test_a_long_answer_is_gunzipped_to_plain_blocks(port: Port) -> None:
    reply = ask(port, "SELECT number FROM numbers(200000)")
    assert reply.headers["content-encoding"] == "gzip"
    stream = body(reply)
    total = 0
    while stream.tell() < len(stream.getbuffer()):
        assert number(stream) == 1
        rows = number(stream)
        assert (string(stream), string(stream)) == ("number", "UInt64")
        total += sum(struct.unpack(f"<{rows}Q", stream.read(rows * 8)))
    assert total == 199999 * 100000


def test_an_error_is_a_text_that_the_panel_can_show(port: Port) -> None:
    reply = ask(port, "SELECT nope FROM spend")
    assert reply.status == 404
    assert "Unknown expression identifier `nope`" in reply.text


def test_the_editors_lists_are_answered(port: Port) -> None:
    assert "pennytrace" in port.ask("SHOW DATABASES").text
    assert "calls\n" in port.ask('SHOW TABLES FROM "pennytrace"').text
    assert port.ask('DESC TABLE "pennytrace"."calls"').text.startswith("id\tUInt64")
    assert (
        port.ask("SELECT name FROM system.columns WHERE database = 'pennytrace' AND table = 'calls'").text
        == "id\nfeature\ncost\n"
    )
    assert port.ask("SELECT count() > 100 FROM system.functions").text == "1\n"
    assert port.ask("SELECT version()").text.startswith("26.")
    filters = " SETTINGS additional_table_filters={'pennytrace.calls' : ' feature = \\'chat\\' '}"
    assert port.ask(f"SELECT count() FROM pennytrace.calls{filters}").text == "50000\n"
