"""ClickHouse's HTTP protocol for one writer, in front of the embedded engine, which can be made to misbehave.

Run as `python clickhouse.py FOLDER PORT`. While the file FOLDER/fault exists, an INSERT of OTLP is answered as it says:

    slow    after three seconds
    proxy   by a page of a proxy that does not reach the server
    reset   by closing the connection once everything is stored
"""

from __future__ import annotations

import gzip
import re
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import clickhouse_connect
import lz4.frame  # type: ignore[import-untyped]
from clickhouse_connect.driver.exceptions import Error

FOLDER: Final = Path(sys.argv[1])
ENGINE: Final = clickhouse_connect.get_client(interface="chdb", path=str(FOLDER / "store"))
ONE_AT_A_TIME: Final = Lock()
# Of the protocol, and none of the engine's settings.
OWN: Final = {"query", "database", "session_id", "query_id", "role"}
OF_HTTP: Final = re.compile(
    "client_protocol_version|compress|enable_http_compression|http_|wait_end|send_progress"
)
INSERT: Final = re.compile(rb"INSERT INTO [^\n]+ FORMAT \w+\n")
SLOW_S: Final = 3.0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        given = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = self._body()
        if "query" not in given:
            # A statement, or one whose data follow in the next line.
            inserts = INSERT.match(body)
            statement, _, body = body.partition(b"\n") if inserts else (body, b"", b"")
            given["query"] = statement.decode()
        fault = self._fault(given["query"])
        if fault == "proxy":
            self._answer(502, b"<html>Bad Gateway</html>")
            return
        if fault == "slow":
            time.sleep(SLOW_S)
        try:
            with ONE_AT_A_TIME:
                answer = run(given, body)
        except Error as error:
            code = re.search(r"Code: (\d+)", str(error))
            self._answer(500, str(error).encode(), code[1] if code else "1")
            return
        if fault == "reset":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self._answer(200, answer)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
        match self.headers.get("content-encoding"):
            case "lz4":
                return bytes(lz4.frame.decompress(body))
            case "gzip":
                return gzip.decompress(body)
            case None:
                return body
            case encoding:
                raise ValueError(f"a body comes as {encoding!r}")

    def _fault(self, query: str) -> str:
        file = FOLDER / "fault"
        return file.read_text() if "FORMAT Protobuf" in query and file.exists() else ""

    def _answer(self, status: int, body: bytes, code: str = "") -> None:
        self.send_response(status)
        if code:
            self.send_header("X-ClickHouse-Exception-Code", code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def run(given: dict[str, str], data: bytes) -> bytes:
    """Run a statement with its data, and return what the engine answers."""
    query = given["query"]
    parameters = {name[6:]: value for name, value in given.items() if name.startswith("param_")}
    settings = {
        name: value
        for name, value in given.items()
        if name not in OWN and not name.startswith("param_") and not OF_HTTP.match(name)
    }
    if database := given.get("database"):
        ENGINE.command(f"USE {database}")
    if not data:
        return ENGINE.raw_query(query, parameters=parameters or None, settings=settings)
    file = FOLDER / "data"
    file.write_bytes(data)
    (form,) = re.findall(r"FORMAT (\w+)\s*$", query.strip())
    head = query[: query.rindex("FORMAT")]
    ENGINE.raw_query(f"{head} FROM INFILE '{file}' FORMAT {form}", settings=settings)
    return b""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
