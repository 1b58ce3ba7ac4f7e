"""Asks the served store over a plain HTTP connection, without any client library."""

from __future__ import annotations

import http.client
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from clickhouse_connect import get_client
from clickhouse_connect.driver.client import Client


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> int:
        """ClickHouse's number of the error; 0 for none."""
        return int(self.headers.get("x-clickhouse-exception-code", "0"))

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(frozen=True, slots=True)
class Port:
    number: int
    folder: Path
    process: subprocess.Popen[bytes]

    def ask(
        self,
        sql: str | bytes = "",
        *,
        method: str = "POST",
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, str] | None = None,
        **named: str,
    ) -> Reply:
        """Ask with the parameters in `named`, and those in `more`, in the URL."""
        parameters = {**named, **(more or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.number, timeout=30)
        try:
            target = f"{path}?{urlencode(parameters)}" if parameters else path
            body = sql.encode() if isinstance(sql, str) else sql
            connection.request(method, target, body if method == "POST" else None, dict(headers or {}))
            response = connection.getresponse()
            data = response.read()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, data)
        finally:
            connection.close()

    def client(self) -> Client:
        # A pool of its own: a connection left in a shared one would be reported as a leak of some other test.
        return get_client(
            host="127.0.0.1", port=self.number, dedicated_pool=True, autogenerate_session_id=False
        )

    def files(self) -> frozenset[str]:
        """Every file beside the store, and in it where ClickHouse keeps what its users make."""
        made = ("user_files", "user_scripts", "user_defined", "access", "schemas")
        places = [*(self.folder / "store" / name for name in made), self.folder / "cwd"]
        beside = {path.name for path in self.folder.iterdir()}
        return frozenset(beside | {str(path) for place in places for path in place.rglob("*")})
