"""An open store whichever price list it was opened with: what trials, corrections and closings work on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from clickhouse_connect.driver.client import Client

from pennytrace_collectors.errors import NoSpend, OrderError
from pennytrace_collectors.store.client import Address, connect, translated
from pennytrace_collectors.store.migrate import is_current


class Tables(Protocol):
    """An open store of this version."""

    @property
    def client(self) -> Client:
        """What it is spoken to through."""
        ...

    @property
    def address(self) -> Address:
        """Where it is."""
        ...


@contextmanager
def opened_tables(address: Address) -> Iterator[Tables]:
    """Open a store as it is: nothing of it is brought up to date, and its price list stays in force.

    Raises:
        NoSpend: there is none.
        OrderError: another version of pennytrace has made it what it is.
        StoreUnavailable: it does not answer, or another process has it open.
    """
    if address.folder is not None and not address.folder.is_dir():
        raise NoSpend(
            f"no store in {str(address.folder)!r}: start `pennytrace collect`, "
            "or name the state folder (--state) or the store (--store) of the collector that runs"
        )
    client = connect(address)
    try:
        with translated(address):
            current = is_current(client, address)
        if not current:
            raise OrderError(
                f"the store at {address} was last opened by another version of pennytrace: start `pennytrace collect` "
                "of this version on it once, which brings it up to date; nothing was changed"
            )
        yield _Opened(client, address)
    finally:
        client.close()


@dataclass(frozen=True, slots=True)
class _Opened:
    client: Client
    address: Address
