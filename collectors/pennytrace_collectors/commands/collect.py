"""`pennytrace collect`: reads the options and runs the collector."""

from __future__ import annotations

import argparse
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pennytrace.errors import ConfigurationError
from pennytrace_collectors import storename

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from pennytrace_collectors.receive.address import Address
    from pennytrace_collectors.service import Settings
    from pennytrace_collectors.sqlport import Accounts
    from pennytrace_collectors.store import Store

_HTTP: Final = "127.0.0.1:4318"
_GRPC: Final = "127.0.0.1:4317"
_SQL: Final = "127.0.0.1:8123"
_SIZE: Final = re.compile(r"(\d+)\s*(|[KMGT]i?)B?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Collect:
    """The sub-command."""

    name: str = "collect"
    help: str = "receive traces, price them and store them, until stopped"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options; each has an environment variable, which the option overrides."""
        add = parser.add_argument
        add(
            "--state",
            metavar="DIR",
            help="where everything is kept [PENNYTRACE_STATE; default: the user's data folder]",
        )
        storename.declare(
            add,
            "chdb:///FOLDER, or http(s)://USER:PASSWORD@HOST:PORT/DATABASE of a ClickHouse server; a "
            "password is better given by the variable [PENNYTRACE_STORE; default: 'store' in the state]",
        )
        add(
            "--http",
            metavar="HOST:PORT",
            help=f"OTLP over HTTP, or 'off' [PENNYTRACE_HTTP; default: {_HTTP}]",
        )
        add(
            "--grpc",
            metavar="HOST:PORT",
            help=f"OTLP over gRPC, or 'off' [PENNYTRACE_GRPC; default: {_GRPC}]",
        )
        add(
            "--sql",
            metavar="HOST:PORT",
            help="the embedded store for reading, in ClickHouse's HTTP protocol, or 'off' "
            f"[PENNYTRACE_SQL; default: {_SQL}, and off when the store is a server]",
        )
        add(
            "--access",
            metavar="FILE",
            help="tokens, users and certificates; read again when it changes "
            "[PENNYTRACE_ACCESS; default: 'access.toml' in the state, if it is there]",
        )
        add(
            "--prices",
            metavar="FILE",
            action="append",
            help=f"prices of your own; may be repeated [PENNYTRACE_PRICES: separated by {os.pathsep!r}]",
        )
        add(
            "--journal-limit",
            metavar="SIZE",
            help="how much may wait for the store, such as 500MiB [PENNYTRACE_JOURNAL_LIMIT; default: 8GiB]",
        )

    def run(self, args: argparse.Namespace) -> int:
        """Collect until SIGTERM or SIGINT.

        Raises:
            ConfigurationError: An option cannot be used.
            CollectorError: The collector cannot start.
        """
        from pennytrace_collectors import orders, service, store

        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        for library in ("clickhouse_connect", "urllib3"):  # what they retry, we report once and in our words
            logging.getLogger(library).setLevel(logging.CRITICAL)
        parts = service.Parts(open_store=store.open_store, sql_port=_sql_port, perform=orders.perform)
        return service.run(settings(args, os.environ), parts, say=_say)


COMMAND: Final = Collect()


def settings(args: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """Return what the options say, where they are silent what the environment says, else the defaults.

    Raises:
        ConfigurationError: A value cannot be used; the message names the option.
    """
    from pennytrace_collectors.journal import Limits
    from pennytrace_collectors.pricelist import sources
    from pennytrace_collectors.running import embedded_store, state_folder
    from pennytrace_collectors.service import Settings

    def given(option: str, default: str) -> str:
        value: str | None = getattr(args, option)
        return value if value is not None else environment.get(f"PENNYTRACE_{option.upper()}") or default

    state = state_folder(given("state", "") or None)
    store = storename.given(args, environment) or embedded_store(state)
    in_use = sources.in_use(sources.price_files(args.prices, environment), state)
    return Settings(
        state=state,
        store=store,
        http=_address(given("http", _HTTP), "--http"),
        grpc=_address(given("grpc", _GRPC), "--grpc"),
        sql=_address(given("sql", _SQL if store.startswith("chdb:") else "off"), "--sql"),
        access=_access(given("access", ""), state),
        prices=in_use.price_files,
        genai_data=in_use.genai_data,
        limits=Limits(total_bytes=_size(given("journal_limit", "8GiB"))),
    )


def _access(given: str, state: Path) -> Path:
    if not given:
        return state / "access.toml"
    path = Path(given).expanduser()
    if not path.is_file():
        raise ConfigurationError(f"--access must name a file that exists; got {given!r}")
    return path


def _sql_port(store: Store, accounts: Accounts) -> ASGIApp:
    from pennytrace_collectors import sqlport

    if store.address.folder is None:
        raise ConfigurationError(
            "--sql serves the embedded store only, and the store is a server, which has a port of its own; "
            "use --sql off"
        )
    access = sqlport.Access(accounts=accounts)
    return sqlport.application(store.address.folder, database=store.address.database, access=access)


def _address(text: str, option: str) -> Address | None:
    from pennytrace_collectors.receive.address import Address

    return None if text == "off" else Address.parse(text, option=option)


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ConfigurationError(f"--journal-limit must be a size such as 500MiB or 8GiB; got {text!r}")
    number, unit = found.groups()
    power = " KMGT".index(unit[:1].upper() or " ")
    size: int = int(number) * (1024 if unit.lower().endswith("i") else 1000) ** power
    return size


def _say(line: str) -> None:
    print(line, flush=True)
