"""Puts the collector together in one process: listeners, journal, loader, store, from start to clean stop."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from starlette.types import ASGIApp

from pennytrace._version import __version__
from pennytrace_collectors import local, running
from pennytrace_collectors.access.guard import Guard
from pennytrace_collectors.errors import CollectorError, StoreUnavailable
from pennytrace_collectors.health import health
from pennytrace_collectors.journal import Journal, Limits
from pennytrace_collectors.load import Errands, Loader, NoErrands, Several, Store
from pennytrace_collectors.metrics import CONTENT_TYPE, exposition
from pennytrace_collectors.orders import Order, OrderFolder, OrderWork, Steps
from pennytrace_collectors.receive import http, rpc
from pennytrace_collectors.receive.address import Address
from pennytrace_collectors.receive.intake import Intake
from pennytrace_collectors.receive.listen import allowed, listen
from pennytrace_collectors.refused import Refused, waiting
from pennytrace_collectors.replay import Replaying, refused_folder
from pennytrace_collectors.sqlport.access import Accounts

_log = logging.getLogger(__name__)

_GRACE_S: Final = 5
"""How long requests in flight may take to finish when the collector stops."""
_DRAIN_S: Final = 15.0
"""How long loading may go on when the collector stops; what is left is loaded at the next start."""

_TITLES: Final = {"http": "OTLP over HTTP", "grpc": "OTLP over gRPC", "sql": "SQL, read-only"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `pennytrace collect` was told."""

    state: Path
    """The folder of everything that the collector keeps."""
    store: str = field(repr=False)
    """The DSN of the store; it may hold a password, so it is never printed."""
    http: Address | None
    grpc: Address | None
    sql: Address | None
    access: Path | None = None
    """The access file, which need not be there unless it was named; see `pennytrace_collectors.access`."""
    prices: tuple[Path, ...] = ()
    genai_data: Path | None = None
    """A data file of genai-prices that `prices update` has kept; None is the installed one."""
    limits: Limits = field(default_factory=Limits)
    drain_s: float = _DRAIN_S


S = TypeVar("S", bound=Store)
S_co = TypeVar("S_co", bound=Store, covariant=True)


class OpenStore(Protocol[S_co]):
    """Opens a store, as `pennytrace_collectors.store.open_store` does."""

    def __call__(self, dsn: str, *, price_files: Sequence[Path], genai_data: Path | None) -> S_co:
        """Return the store at `dsn`, migrated and with its prices.

        Raises:
            StoreUnavailable: It cannot be reached now.
            StoreError: It cannot be used.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts(Generic[S]):
    """What the service does not make itself."""

    open_store: OpenStore[S]
    sql_port: Callable[[S, Accounts], ASGIApp]
    """Makes the application of the read-only SQL port for its users."""
    perform: Callable[[S, Order, str], Steps]
    """Carries out an order of another command, as `pennytrace_collectors.orders.perform` does."""


def run(settings: Settings, parts: Parts[S], *, say: Callable[[str], None]) -> int:
    """Collect until SIGTERM or SIGINT, stop cleanly, return the exit status; a second signal exits at once.

    `say` gets the lines that tell a person where the collector listens.

    Raises:
        CollectorError: The collector cannot start.
    """
    if not asyncio.run(_collect(settings, parts, say)):
        # A thread is stuck inside the store, and leaving Python normally would pull the ground from under it.
        _log.warning(
            "the store did not finish in time; what it has not confirmed is loaded at the next start"
        )
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)
    return 0


async def _collect(settings: Settings, parts: Parts[S], say: Callable[[str], None]) -> bool:
    stop = _stop_signals()
    _make_folder(settings.state)
    async with AsyncExitStack() as stack:
        journal = Journal(settings.state / "journal", limits=settings.limits)
        stack.callback(journal.close)
        guard = Guard(settings.access, {"http": settings.http, "grpc": settings.grpc, "sql": settings.sql})
        sockets = _bind(settings, guard, stack)
        open_store = functools.partial(
            parts.open_store, settings.store, price_files=settings.prices, genai_data=settings.genai_data
        )
        store = await _open_at_start(settings, open_store)
        loader = Loader(
            journal,
            lambda: store or open_store(),
            refused=refused_folder(settings.state),
            errands=Several(
                Replaying(refused_folder(settings.state), journal.adopt), _orders(settings, store, parts)
            ),
        )
        intake = Intake(journal, doors=guard.gate)
        stack.callback(intake.close)
        pages = _pages(settings, intake, journal, loader, guard)
        apps = {"http": http.application(intake, pages)}
        if store is not None and settings.sql is not None:
            apps["sql"] = parts.sql_port(store, guard.readers)
        apps["local"] = local.application(pages["/health"], apps.get("sql"))
        async with AsyncExitStack() as listeners:
            ports = await _listen(settings, intake, guard, apps, sockets, listeners)
            loader.start()
            _announce(settings, guard, ports, say)
            stack.push_async_callback(_ended, asyncio.create_task(guard.watch()))
            await stop.wait()
            _log.info("stopping: answering the requests in flight, then loading what is left")
        ended = await asyncio.to_thread(loader.finish, settings.drain_s)
        running.withdraw(settings.state)
    return ended


def _stop_signals() -> asyncio.Event:
    stop = asyncio.Event()

    def on_signal(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CollectorError(
            f"cannot create the folder {str(folder)!r}: {error.strerror}; choose another with --state"
        ) from None


def _bind(settings: Settings, guard: Guard, stack: AsyncExitStack) -> Mapping[str, socket.socket]:
    """Bind the ports before the store is opened, so that a port in use is told at once."""
    sockets: dict[str, socket.socket] = {}
    # This user's own commands have no certificate, and need none.
    beside = Address("127.0.0.1", 0, "--http") if guard.tls else None
    for name, address in (("http", settings.http), ("sql", settings.sql), ("local", beside)):
        if address is not None:
            sockets[name] = address.bind()
            stack.callback(sockets[name].close)
    return sockets


async def _open_at_start(settings: Settings, open_store: Callable[[], S]) -> S | None:
    """Open the store; a server that is away is waited for while bodies are already taken."""
    try:
        return await asyncio.to_thread(open_store)
    except StoreUnavailable as error:
        if settings.store.startswith("chdb:") or settings.sql is not None:
            raise
        _log.warning("%s; traces are taken into the journal until the store is there", error)
        return None


def _orders(settings: Settings, store: S | None, parts: Parts[S]) -> Errands:
    """What is done between segments for commands that cannot open the store, because this process has it."""
    if store is None or not settings.store.startswith("chdb:"):
        return NoErrands()
    return OrderWork(OrderFolder(settings.state / "orders"), functools.partial(parts.perform, store))


def _pages(
    settings: Settings, intake: Intake, journal: Journal, loader: Loader, guard: Guard
) -> Mapping[str, http.Page]:
    def refused() -> Sequence[Refused]:
        return waiting(refused_folder(settings.state))

    metrics = exposition(intake.tally, journal.state, loader.state, refused)
    return {
        "/health": lambda: health(journal.state(), loader.state(), len(refused()), guard.warnings()),
        "/metrics": lambda: http.Reply(200, CONTENT_TYPE, metrics()),
    }


async def _listen(
    settings: Settings,
    intake: Intake,
    guard: Guard,
    apps: Mapping[str, ASGIApp],
    sockets: Mapping[str, socket.socket],
    listeners: AsyncExitStack,
) -> Mapping[str, int]:
    """Start every listener that is wanted, return the ports by name; leaving `listeners` closes them all."""
    ports: dict[str, int] = {}
    manners = allowed()
    closing: list[Callable[[], Coroutine[None, None, None]]] = []
    listeners.push_async_callback(_close_all, closing)
    if settings.grpc is not None:
        server, ports["grpc"] = rpc.server(intake, settings.grpc, guard.tls.get("grpc"))
        await server.start()
        closing.append(functools.partial(server.stop, _GRACE_S))
    for name, bound in sockets.items():
        ports[name] = bound.getsockname()[1]
        tls = guard.tls.get(name)
        listener = await listen(
            apps[name], bound, grace_s=_GRACE_S, manners=manners, tls=tls.context if tls else None
        )
        closing.append(listener.close)
    return ports


async def _close_all(closing: Sequence[Callable[[], Coroutine[None, None, None]]]) -> None:
    # Together, so that the time given to requests in flight is spent once.
    await asyncio.gather(*(close() for close in closing))


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _announce(settings: Settings, guard: Guard, ports: Mapping[str, int], say: Callable[[str], None]) -> None:
    addresses = {"http": settings.http, "grpc": settings.grpc, "sql": settings.sql}
    urls = {
        name: place.url(ports[name], scheme="https" if name in guard.tls else "http")
        for name, place in addresses.items()
        if place is not None
    }
    collector = running.RunningCollector(
        pid=os.getpid(),
        version=__version__,
        http=urls.get("http"),
        grpc=urls.get("grpc"),
        sql=urls.get("sql"),
        local=f"http://127.0.0.1:{ports['local']}" if "local" in ports else None,
        prices=tuple(str(path) for path in settings.prices),
    )
    try:
        running.leave_secret(settings.state, guard.local_secret)
        running.announce(settings.state, collector)
    except OSError as error:
        raise CollectorError(f"cannot write into {str(settings.state)!r}: {error.strerror}") from None
    for name, title in _TITLES.items():
        say(f"{title:<22}{urls.get(name, 'off')}")
    say(f"{'kept in':<22}{settings.state}")
    if settings.genai_data is not None:
        say(f"{'price data':<22}{settings.genai_data}")
