"""The port speaks HTTP as ClickHouse's server does."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import time
import zlib
from base64 import b64encode
from importlib import import_module

import pytest

from .asking import Port


def test_a_ping_and_a_bare_request_are_answered_ok(port: Port) -> None:
    for path in ("/ping", "/", "/replicas_status"):
        assert port.ask(method="GET", path=path).body == b"Ok.\n"


def test_a_statement_comes_in_the_url_in_the_body_or_in_both(port: Port) -> None:
    assert port.ask(method="GET", query="SELECT 1").text == "1\n"
    assert port.ask("SELECT 2").text == "2\n"
    assert port.ask("+ 4 FORMAT CSV", query="SELECT 3").text == "7\n"


def test_the_headers_describe_the_answer(port: Port) -> None:
    reply = port.ask("SELECT number FROM numbers(3) FORMAT JSONEachRow", query_id="my-query")
    assert reply.status == 200
    assert reply.headers["x-clickhouse-query-id"] == "my-query"
    assert reply.headers["x-clickhouse-format"] == "JSONEachRow"
    assert reply.headers["x-clickhouse-server-display-name"] == "pennytrace"
    assert reply.headers["x-clickhouse-timezone"]
    assert reply.headers["content-type"] == "application/x-ndjson; charset=UTF-8"
    summary = json.loads(reply.headers["x-clickhouse-summary"])
    assert (summary["read_rows"], summary["result_rows"], summary["written_rows"]) == ("3", "3", "0")


def test_a_query_id_that_cannot_stand_in_a_header_is_replaced(port: Port) -> None:
    reply = port.ask("SELECT 1", query_id="a\r\nX-Evil: 1")
    assert reply.status == 200
    assert "x-evil" not in reply.headers


def test_a_time_zone_of_the_session_is_named_in_the_answer(port: Port) -> None:
    reply = port.ask("SELECT toDateTime(0)", session_timezone="Asia/Tokyo")
    assert (reply.headers["x-clickhouse-timezone"], reply.text) == ("Asia/Tokyo", "1970-01-01 09:00:00\n")


def test_the_format_is_the_statements_else_the_clients_else_tab_separated(port: Port) -> None:
    assert port.ask("SELECT 'a', 1").text == "a\t1\n"
    assert port.ask("SELECT 'a', 1", default_format="CSV").text == '"a",1\n'
    assert port.ask("SELECT 'a', 1", headers={"X-ClickHouse-Format": "CSV"}).text == '"a",1\n'
    assert port.ask("SELECT 'a', 1 FORMAT TSKV", default_format="CSV").text == "'a'=a\t1=1\n"


def test_the_database_is_the_served_one_by_each_of_its_names(port: Port) -> None:
    for database in ("pennytrace", "default", ""):
        assert port.ask("SELECT currentDatabase()", database=database).text == "pennytrace\n"
    assert (port.ask("SELECT 1", database="private").code, port.ask("SELECT 1", database="system").code) == (
        81,
        81,
    )


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        ("SELEC", 400, 62),
        ("", 400, 62),
        ("SELECT 1; SELECT 2", 400, 62),
        ("SELECT nope", 404, 47),
        ("SELECT * FROM nope", 404, 60),
        ("SELECT 1 FORMAT Nope", 404, 73),
        ("SELECT file('x')", 403, 497),
        ("DROP TABLE calls", 500, 164),
        ("SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(number)", 408, 159),
        ("SELECT " + "1, " * 100000 + "1", 413, 229),
    ],
)
def test_errors_have_clickhouses_status_code_and_shape(port: Port, sql: str, status: int, code: int) -> None:
    reply = port.ask(sql)
    assert (reply.status, reply.code) == (status, code)
    assert reply.text.startswith(f"Code: {code}. DB::Exception: ")
    assert reply.text.rstrip().endswith("(pennytrace))")
    assert str(port.folder) not in reply.text


def test_an_error_does_not_tell_the_names_of_other_databases(port: Port) -> None:
    assert "private" not in port.ask("SELECT * FROM note").text
    assert "private" not in port.ask("SELECT * FROM notes").text


def test_an_empty_answer_in_native_format_has_no_bytes(port: Port) -> None:
    reply = port.ask("SELECT * FROM calls WHERE 0 FORMAT Native")
    assert (reply.status, reply.headers["content-length"], reply.body) == (200, "0", b"")


def test_an_answer_is_compressed_as_the_client_accepts(port: Port) -> None:
    sql = "SELECT number FROM numbers(100000)"
    plain = port.ask(sql).body
    unpack = {
        "gzip": gzip.decompress,
        "deflate": zlib.decompress,
        "lz4": import_module("lz4.frame").decompress,
        "zstd": import_module("backports.zstd").decompress,
    }
    for name, decompress in unpack.items():
        reply = port.ask(sql, headers={"Accept-Encoding": f"br, {name};q=0.5"})
        assert reply.headers["content-encoding"] == name
        assert len(reply.body) < len(plain) * 0.75
        assert decompress(reply.body) == plain
    assert "content-encoding" not in port.ask(sql, headers={"Accept-Encoding": "gzip;q=0"}).headers
    refused = port.ask(sql, headers={"Accept-Encoding": "gzip"}, enable_http_compression="0")
    assert "content-encoding" not in refused.headers


def test_a_long_answer_streams_and_is_compressed_on_its_way(port: Port) -> None:
    sql = "SELECT number FROM numbers(1000000)"
    reply = port.ask(sql, headers={"Accept-Encoding": "gzip"})
    assert reply.headers["transfer-encoding"] == "chunked"
    assert gzip.decompress(reply.body) == b"".join(b"%d\n" % number for number in range(1000000))


def test_a_long_answer_is_held_back_when_the_client_waits_for_the_end(port: Port) -> None:
    late = "SELECT number, throwIf(number = 900000) FROM numbers(1000000)"
    assert port.ask(late, wait_end_of_query="1").code == 395
    too_long = port.ask("SELECT number FROM numbers(3000000)", wait_end_of_query="1")
    assert (too_long.status, too_long.code) == (500, 396)


def test_a_stream_that_fails_has_no_end_and_says_why(port: Port) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port.number, timeout=30)
    connection.request("POST", "/", "SELECT number, throwIf(number = 900000, 'late') FROM numbers(1000000)")
    response = connection.getresponse()
    tag = response.headers["X-ClickHouse-Exception-Tag"]
    with pytest.raises(http.client.IncompleteRead) as cut:
        response.read()
    connection.close()
    assert response.status == 200
    tail = cut.value.partial.rpartition(b"\r\n__exception__\r\n" + tag.encode())
    assert b"Code: 395. DB::Exception: late" in cut.value.partial[-600:], tail


def test_a_body_may_be_compressed(port: Port) -> None:
    packed = gzip.compress(b"SELECT 42")
    assert port.ask(packed, headers={"Content-Encoding": "gzip"}).text == "42\n"
    assert port.ask(packed[:-4], headers={"Content-Encoding": "gzip"}).code == 271
    assert port.ask(b"SELECT 1", headers={"Content-Encoding": "gzip"}).code == 271
    assert port.ask(packed, headers={"Content-Encoding": "br"}).code == 89
    bomb = gzip.compress(b" " * 50_000_000)
    assert port.ask(bomb, headers={"Content-Encoding": "gzip"}).status == 413


@pytest.mark.parametrize("parameter", ["compress", "decompress"])
def test_clickhouses_own_compression_is_refused_clearly(port: Port, parameter: str) -> None:
    reply = port.ask("SELECT 1", more={parameter: "1"})
    assert (reply.status, reply.code) == (501, 48)


def test_a_statement_that_is_not_text_is_refused(port: Port) -> None:
    assert port.ask(b"SELECT '\xff'").code == 36


def test_a_method_or_a_path_that_means_nothing_is_refused(port: Port) -> None:
    assert port.ask(method="DELETE", query="SELECT 1").status == 501
    assert port.ask(method="GET", path="/metrics").status == 404


def test_the_default_user_needs_no_password_and_there_is_no_other(port: Port) -> None:
    def basic(pair: str) -> dict[str, str]:
        return {"Authorization": "Basic " + b64encode(pair.encode()).decode()}

    assert port.ask("SELECT 1", headers=basic("default:")).status == 200
    assert (
        port.ask("SELECT 1", headers={"X-ClickHouse-User": "default", "X-ClickHouse-Key": ""}).status == 200
    )
    assert port.ask("SELECT 1", user="default", password="").status == 200
    refused = (
        port.ask("SELECT 1", headers=basic("default:guess")),
        port.ask("SELECT 1", headers=basic("admin:")),
        port.ask("SELECT 1", headers={"Authorization": "Basic ???"}),
        port.ask("SELECT 1", headers={"Authorization": "Bearer token"}),
        port.ask("SELECT 1", headers={"X-ClickHouse-User": "admin"}),
        port.ask("SELECT 1", user="admin"),
        port.ask("SELECT 1", user="default", headers=basic("default:")),
    )
    assert [(reply.status, reply.code) for reply in refused] == [(403, 516)] * len(refused)
    assert "guess" not in refused[0].text


@pytest.mark.parametrize(
    "host", ["127.0.0.1:1", "localhost", "LOCALHOST.", "[::1]:8123", "127.9.9.9", "spend.example:80"]
)
def test_a_host_that_is_this_machine_or_listed_is_answered(port: Port, host: str) -> None:
    assert port.ask("SELECT 1", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "10.0.0.1", "[::2]"]
)
def test_a_name_that_was_made_to_point_here_is_refused(port: Port, host: str) -> None:
    for method in ("GET", "POST"):
        assert port.ask("SELECT 1", method=method, query="SELECT 1", headers={"Host": host}).status == 403
    assert port.ask(method="GET", path="/ping", headers={"Host": host}).status == 403


def test_a_page_of_another_site_is_refused(port: Port) -> None:
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        reply = port.ask("SELECT 1", headers=headers)
        assert reply.status == 403
        assert "access-control-allow-origin" not in reply.headers
    assert port.ask("SELECT 1", headers={"Sec-Fetch-Site": "none"}).status == 200


def test_more_queries_than_may_wait_are_refused_and_the_others_answered(port: Port) -> None:
    def send() -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", port.number, timeout=30)
        connection.request("POST", "/", "SELECT sum(sipHash64(number)) FROM numbers(20000000)")
        return connection

    connections = [send() for _ in range(16)]
    statuses = []
    for connection in connections:
        response = connection.getresponse()
        statuses.append((response.status, response.headers.get("X-ClickHouse-Exception-Code")))
        response.read()
        connection.close()
    assert statuses.count((200, None)) >= 8
    assert statuses.count((500, "202")) == 16 - statuses.count((200, None)) > 0


def test_a_client_that_goes_away_leaves_its_turn_to_the_next(port: Port) -> None:
    for _ in range(4):
        with socket.create_connection(("127.0.0.1", port.number)) as leaving:
            sql = b"SELECT number FROM numbers(1000000000000)"
            leaving.sendall(
                b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(sql), sql)
            )
            assert leaving.recv(15) == b"HTTP/1.1 200 OK"
    started = time.monotonic()
    assert port.ask("SELECT 1").text == "1\n"
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("format", ["JSON", "Native"])
def test_a_query_that_nobody_waits_for_any_more_is_stopped(port: Port, format: str) -> None:
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", port.number)) as leaving:
            sql = (
                b"SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(number) FORMAT "
                + format.encode()
            )
            leaving.sendall(
                b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(sql), sql)
            )
            time.sleep(0.3)
    # Both turns were taken, and would be until the time limit.
    started = time.monotonic()
    assert port.ask("SELECT 1").text == "1\n"
    assert time.monotonic() - started < 1.5


def test_the_event_loop_is_free_while_a_query_computes(port: Port) -> None:
    slow = http.client.HTTPConnection("127.0.0.1", port.number, timeout=30)
    slow.request("POST", "/", "SELECT sum(sipHash64(number)) FROM numbers(60000000)")
    started = time.monotonic()
    assert port.ask(method="GET", path="/ping").body == b"Ok.\n"
    assert time.monotonic() - started < 0.5
    assert slow.getresponse().read()
    slow.close()
