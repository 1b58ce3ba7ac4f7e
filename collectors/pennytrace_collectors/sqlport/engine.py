"""The only module of the port that touches chdb: handles on the store's engine, opened for one query each."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from .faults import Fault
from .tree import quoted

_MARK: Final = "pennytrace-sqlport "
_ESCAPES: Final = str.maketrans(
    {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0", "\b": "\\b", "\f": "\\f"}
)


class _Piece(Protocol):
    """A block of an answer, as chdb hands it out."""

    def bytes(self) -> bytes: ...
    def storage_rows_read(self) -> int: ...
    def storage_bytes_read(self) -> int: ...
    def rows_read(self) -> int: ...


class _Handle(Protocol):
    """A connection of chdb: a session of its own on the one engine that a process has."""

    def query(self, query: str, format: str, params: Mapping[str, str] | None = None) -> Any: ...
    def send_query(self, query: str, format: str, params: Mapping[str, str] | None = None) -> Any: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Order:
    """A statement that has been found harmless, and how to run it."""

    sql: str
    format: str
    parameters: Mapping[str, str]
    settings: Mapping[str, str]
    streamed: bool
    name: str
    """By which it can be stopped; of letters, digits and '-'."""
    readonly: int = 1
    """1, or 2 where `system.settings` is to say which settings may be changed."""


@dataclass(slots=True)
class Tally:
    """What a query has read and returned so far."""

    read_rows: int = 0
    read_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0

    def add(self, piece: _Piece, size: int) -> None:
        """Count a piece of the answer of `size` bytes."""
        self.read_rows += piece.storage_rows_read()
        self.read_bytes += piece.storage_bytes_read()
        self.result_rows += piece.rows_read()
        self.result_bytes += size


class Answer:
    """The answer of a running query; read and closed from any thread."""

    def __init__(
        self, pieces: Iterator[_Piece], close: Callable[[], None], translate: Callable[[Exception], Fault]
    ) -> None:
        self.tally = Tally()
        self._pieces: Iterator[_Piece] | None = pieces
        self._close = close
        self._translate = translate
        self._lock = threading.Lock()

    def read(self) -> bytes | None:
        """Return the next bytes, or None after the last.

        Raises:
            Fault: The query failed; the answer is closed.
        """
        with self._lock:
            while self._pieces is not None:
                try:
                    piece = next(self._pieces)
                except StopIteration:
                    break
                except RuntimeError as error:
                    self._end()
                    raise self._translate(error) from None
                data = piece.bytes()
                self.tally.add(piece, len(data))
                if data:
                    return data
            self._end()
            return None

    def close(self) -> None:
        """Stop the query, if it still runs, and give its handle back."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._pieces is not None:
            self._pieces = None
            self._close()


class Engine:
    """The engine of one store's folder, which this process has open; each query gets a session of its own."""

    def __init__(self, folder: Path, database: str) -> None:
        # chdb takes two spellings of a folder for two folders, and opens only one.
        self._path = os.path.realpath(folder)
        self._database = database

    def look(self, sql: str, parameters: Mapping[str, str]) -> Sequence[Sequence[Any]]:
        """Return the rows of a query of the port's own; the parameters are any text.

        Raises:
            Fault: It failed.
        """
        escaped = {name: value.translate(_ESCAPES) for name, value in parameters.items()}
        with self._translated():
            # A word that is no statement is an error, as on a server, and not an expression to be selected.
            handle = _connect(f"{self._path}?readonly=1&implicit_select=0")
            try:
                data: bytes = handle.query(sql, "JSONCompactEachRow", escaped).bytes()
            finally:
                handle.close()
        return [json.loads(line) for line in data.splitlines()]

    def run(self, order: Order) -> Answer:
        """Start a query in a session that can only read.

        Raises:
            Fault: It could not be started.
        """
        with self._translated():
            handle = _connect(self._path)
            try:
                handle.query(f"USE {_identifier(self._database)}", "TabSeparated")
                handle.query(_set({**order.settings, **_session(order)}), "TabSeparated")
                return self._start(handle, order)
            except BaseException:
                handle.close()
                raise

    def stop(self, name: str = "") -> None:
        """Stop a running query, or all that were started here; one that has not begun yet is not found.

        Raises:
            Fault: The engine could not be asked.
        """
        with self._translated():
            handle = _connect(self._path)
            try:
                of_port = f"startsWith(Settings['log_comment'], {quoted(_MARK + name)})"
                handle.query(f"KILL QUERY WHERE {of_port} ASYNC", "TabSeparated")
            finally:
                handle.close()

    def _start(self, handle: _Handle, order: Order) -> Answer:
        if order.streamed:
            stream = handle.send_query(order.sql, order.format, order.parameters)

            def close() -> None:
                try:
                    stream.close()
                finally:
                    handle.close()

            return Answer(stream, close, self._fault)
        whole: _Piece = handle.query(order.sql, order.format, order.parameters)
        return Answer(iter((whole,)), handle.close, self._fault)

    def _fault(self, error: Exception) -> Fault:
        return Fault.of_engine(error, hide=self._path)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise self._fault(error) from None


def _connect(target: str) -> _Handle:
    import chdb

    # Two packages install the module `chdb`, one with types and one without: it depends on which came last.
    connect: Callable[[str], Any] = chdb.connect
    handle: _Handle = connect(target)
    return handle


def _session(order: Order) -> Mapping[str, str]:
    # The comment is all that the engine's list of queries can be searched by.
    return {"log_comment": _MARK + order.name, "readonly": str(order.readonly)}


def _identifier(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _set(settings: Mapping[str, str]) -> str:
    return "SET " + ", ".join(f"{name} = {quoted(value)}" for name, value in settings.items())
