"""The one door to ClickHouse: a clickhouse-connect client for an embedded store or for a server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from clickhouse_connect import common, get_client
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error, OperationalError, ProgrammingError
from clickhouse_connect.driver.httputil import get_pool_manager

from pennytrace_collectors.errors import StoreError, StoreRefused, StoreUnavailable

DEFAULT_DATABASE: Final = "pennytrace"
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
# One worker writes, so nothing is gained by a session, and a session would refuse a second query beside the first.
common.set_setting("autogenerate_session_id", False)

# ClickHouse's codes for content that no repetition makes acceptable: it cannot be parsed or is out of range.
# Its codes for "not now": time-outs, too many queries or parts, memory, disk, a read-only replica, shutting down.
_AWAY: Final = frozenset({159, 202, 209, 210, 236, 241, 242, 243, 252, 319, 999})
_CONTENT_FAULTS: Final = frozenset({6, 26, 27, 32, 33, 38, 41, 69, 70, 117, 131, 321, 407, 434, 436, 444})


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store is: `chdb:///folder`, or `http(s)://user:password@host:port/database`."""

    dsn: str = field(repr=False)
    folder: Path | None
    """The folder of an embedded store; None for a server."""
    database: str
    user: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        """The address without its password, fit for messages."""
        parts = urlsplit(self.dsn)
        if not parts.password:
            return self.dsn
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
        return urlunsplit((parts.scheme, f"{parts.username}:***@{host}{port}", parts.path, "", ""))


def parse_address(dsn: str) -> Address:
    """Read a store's address.

    Raises:
        StoreError: it is neither a chdb nor an http(s) address; the message shows both forms.
    """
    parts = urlsplit(dsn)
    _require_port(dsn)
    if dsn.startswith("chdb:///") and parts.path.strip("/"):
        return Address(dsn, Path(unquote(parts.path)), DEFAULT_DATABASE)
    if parts.scheme in ("http", "https") and parts.hostname:
        database = unquote(parts.path.strip("/")) or DEFAULT_DATABASE
        if not database.isidentifier():
            raise StoreError(
                f"the database name {database!r} is not an identifier: use letters, digits and '_'"
            )
        return Address(dsn, None, database, unquote(parts.username or ""), unquote(parts.password or ""))
    raise StoreError(
        f"not a store's address: {_without_password(dsn)!r}; expected chdb:///path/to/a/folder "
        "or http(s)://user:password@host:port/database"
    )


def _require_port(dsn: str) -> None:
    try:
        urlsplit(dsn).port  # noqa: B018 - it raises
    except ValueError:
        raise StoreError(
            "the port in the store's address is no number; in a password write '/', '#', '?' and '@' percent-encoded"
        ) from None


def _without_password(dsn: str) -> str:
    return re.sub(r"^(\w*:?//)?.*@", r"\1***@", dsn)


def connect(address: Address) -> Client:
    """Open a client whose default database may not exist yet.

    Raises:
        StoreUnavailable: nothing answers there, or the folder is in use by another process.
        StoreError: the store refused the client, for instance its password.
    """
    with translated(address):
        if address.folder is not None:
            return _embedded(address.folder)
        parts = urlsplit(address.dsn)
        return get_client(
            host=parts.hostname or "",
            port=parts.port or (8443 if parts.scheme == "https" else 8123),
            username=address.user or "default",
            password=address.password,
            interface=parts.scheme,
            database="default",
            client_name="pennytrace",
            autogenerate_session_id=False,
            # A proxy in the environment is for elsewhere: it could not reach this machine's loopback.
            pool_mgr=get_pool_manager() if parts.hostname in _LOOPBACK else None,
        )


@contextmanager
def translated(address: Address) -> Iterator[None]:
    """Turn the client's exceptions into the collector's, saying which store it was."""
    try:
        yield
    except StoreError:
        raise
    except OperationalError as error:
        said = _masked(_root(error), address)
        raise StoreUnavailable(f"the store at {address} is not available: {said}") from error
    except Error as error:
        said = _masked(_first_line(error), address)
        raise _kind(error)(f"the store at {address} answered: {said}") from error
    except (OSError, RuntimeError) as error:
        said = _masked(_first_line(error), address)
        raise StoreUnavailable(f"cannot open the store at {address}: {said}") from error


def _masked(said: str, address: Address) -> str:
    """What a store says without the password, which stands in the statements that make dictionaries."""
    return said.replace(address.password, "***") if address.password else said


def literal(text: str) -> str:
    """Return a text as it stands in SQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _kind(error: Error) -> type[StoreError]:
    if error.code in _CONTENT_FAULTS:
        return StoreRefused
    return StoreUnavailable if error.code in _AWAY else StoreError


def _embedded(folder: Path) -> Client:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return get_client(interface="chdb", path=str(folder))
    except ProgrammingError as error:
        raise StoreUnavailable(
            f"cannot open the store in {str(folder)!r}: another process has it open, or it is not a store; "
            "stop that process, or read through the collector that runs on it (--state)"
        ) from error


def _root(error: BaseException) -> str:
    """What the operating system said, if it is to blame; the layers above only repeat it at length."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ConnectionError | TimeoutError):
        cause = cause.__cause__ or cause.__context__
    return str(cause or _first_line(error))


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]
