"""Where spend is read from: a running collector's SQL port, a ClickHouse server, or the folder when nothing runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Final
from urllib.parse import urlsplit

from clickhouse_connect.driver.client import Client

from pennytrace_collectors import running
from pennytrace_collectors.access.readers import LOCAL_USER
from pennytrace_collectors.errors import NoSpend
from pennytrace_collectors.store.client import DEFAULT_DATABASE, Address, connect, parse_address, translated


@dataclass(frozen=True, slots=True)
class Reader:
    """Runs the SQL files of reports against one store."""

    client: Client
    address: Address

    def rows(
        self,
        name: str,
        *,
        values: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """The rows of `sql/NAME`, `$values` filled in, with ClickHouse's `{parameters:Type}` bound.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        sql = self.text(name, values)
        with translated(self.address):
            result = self.client.query(sql, parameters=dict(parameters or {}))
        return [
            dict(zip(result.column_names, map(_harmless, row), strict=True)) for row in result.result_rows
        ]

    def text(self, name: str, values: Mapping[str, str] | None = None) -> str:
        """The SQL of `sql/NAME`, `$values` and the database's name filled in."""
        text = files("pennytrace_collectors.reports").joinpath("sql", name).read_text("utf-8")
        return Template(text).substitute(values or {}, database=self.address.database)

    def close(self) -> None:
        """Close the connection."""
        self.client.close()


def open_reader(store: str | None, *, state: Path) -> Reader:
    """Open what a report reads from.

    A collector that runs on the state folder is asked through its SQL port, because an embedded store belongs to one
    process at a time.

    Raises:
        NoSpend: no store is there; the message says what to do.
        StoreUnavailable: it does not answer.
    """
    address = parse_address(store or f"chdb://{state / 'store'}")
    collector = running.find(state)
    if address.folder is not None and collector is not None:
        if collector.sql is None:
            raise NoSpend(
                f"a collector (process {collector.pid}) has the store in {str(state)!r} open and its SQL port is off: "
                "start it without `--sql off`, or stop it"
            )
        address = _port(collector.local or collector.sql, running.local_secret(state))
    elif address.folder is not None and not address.folder.is_dir():
        raise NoSpend(
            f"no store in {str(address.folder)!r}: start `pennytrace collect`, "
            "or name the state folder (--state) or the store (--store) of the collector that runs"
        )
    return Reader(connect(address), address)


# The store's names have no control characters of ASCII. These would still move a terminal's cursor, or turn what
# follows them around; they are rare, and to look for them in every span would cost more than a report does.
_FEINTS: Final = {
    code: "_" for codes in (range(0x80, 0xA0), range(0x2028, 0x202F), range(0x2066, 0x206A)) for code in codes
}


def _harmless(value: Any) -> Any:
    return value.translate(_FEINTS) if isinstance(value, str) else value


def _port(url: str, secret: str) -> Address:
    parts = urlsplit(url)
    dsn = f"{parts.scheme}://{parts.netloc}/{DEFAULT_DATABASE}"
    return Address(dsn, None, DEFAULT_DATABASE, LOCAL_USER if secret else "", secret)
