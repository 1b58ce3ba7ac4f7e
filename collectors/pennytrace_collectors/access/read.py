"""Read an access file, or say all that is wrong with it: file, line and field, and what to do."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pennytrace_collectors.access.entries import DIGEST, NAME, SAFE, TlsFiles, Token, User
from pennytrace_collectors.errors import AccessFileError
from pennytrace_collectors.tomlfile import Place, closest_line, lines_of, meant, said

PORTS: Final = ("http", "grpc", "sql")
_KEYS: Final = ("token", "user", "tls", "open_to_all")
_EXPECTED: Final = "[[token]], [[user]], [tls], [tls.http], [tls.grpc], [tls.sql], open_to_all"
_PATTERNS: Final = {
    NAME: "should be letters, digits, '.', '_' and '-'",
    DIGEST: "should be the 64 hexadecimal digits that `pennytrace token new` prints, never the secret itself",
    SAFE: "should have no control characters and no backslash",
}
E = TypeVar("E", Token, User)


@dataclass(frozen=True, slots=True)
class AccessList:
    """What an access file says; without one, what holds on loopback."""

    tokens: tuple[Token, ...] = ()
    users: tuple[User, ...] = ()
    tls: Mapping[str, TlsFiles] = field(default_factory=dict)
    """By port; a port that is not there speaks without TLS."""
    open_to_all: bool = False
    """Whether ports that other machines reach may be open to everybody."""


def read_access_file(path: Path) -> AccessList:
    """The tokens, users and certificates of a file.

    Raises:
        AccessFileError: it cannot be read, is not TOML, or something in it is wrong; the message has a line for every
            mistake, with the file, the line and the field, and never what may be a secret.
    """
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise AccessFileError(f"cannot read the access file {str(path)!r}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AccessFileError(f"the access file {str(path)!r} is not valid TOML: {error}") from None
    reading = _Reading(path, document, lines_of(text), [])
    found = reading.access_list()
    if reading.faults:
        raise AccessFileError("\n".join(said for _, said in sorted(set(reading.faults))))
    return found


@dataclass(frozen=True, slots=True)
class _Reading:
    """A file being read, and the mistakes found so far, each with its line."""

    path: Path
    document: Mapping[str, Any]
    lines: Mapping[Place, int]
    faults: list[tuple[int, str]]

    def access_list(self) -> AccessList:
        for name in self.document.keys() - set(_KEYS):
            self.fault((name,), f"unknown {name!r}{meant(name, _KEYS)}; expected {_EXPECTED}")
        open_to_all = self.document.get("open_to_all", False)
        if not isinstance(open_to_all, bool):
            self.fault(("open_to_all",), "open_to_all: should be true or false")
        return AccessList(
            tokens=self.entries(Token),
            users=self.entries(User),
            tls=dict(self.tls()),
            open_to_all=open_to_all is True,
        )

    def entries(self, kind: type[E]) -> tuple[E, ...]:
        tables = self.document.get(kind.table, [])
        if not isinstance(tables, list):
            self.fault((kind.table,), f"[{kind.table}]: a file may have several; write [[{kind.table}]]")
            return ()
        found = [
            (index, entry)
            for index, raw in enumerate(tables)
            if (entry := self.entry(kind, (kind.table, index), raw)) is not None
        ]
        self.require_distinct(kind, found)
        return tuple(entry for _, entry in found)

    def entry(self, kind: type[E] | type[TlsFiles], place: Place, raw: object) -> Any:
        try:
            return kind.model_validate(raw)
        except ValidationError as error:
            self.faults_of(error.errors(), tuple(kind.model_fields), place)
            return None

    def faults_of(self, details: Sequence[ErrorDetails], names: Sequence[str], place: Place) -> None:
        for detail in details:
            name = ".".join(map(str, detail["loc"]))
            words = said(_without_secrets(detail), names, patterns=_PATTERNS)
            self.fault((*place, *detail["loc"]), f"[{place[0]}] {name}{': ' if name else ''}{words}")

    def require_distinct(self, kind: type[E], found: Sequence[tuple[int, E]]) -> None:
        names: dict[str, int] = {}
        digests: dict[str, int] = {}
        for index, entry in found:
            line = closest_line(self.lines, (kind.table, index))
            for known, values, what in ((names, (entry.name,), "name"), (digests, entry.sha256, "sha256")):
                for value in values:
                    if value in known:
                        other = f"has the {what} of the one in line {known[value]}; give each its own"
                        self.fault((kind.table, index), f"[[{kind.table}]] {entry.name}: {other}")
                    known[value] = line

    def tls(self) -> Iterator[tuple[str, TlsFiles]]:
        given = self.document.get("tls", {})
        if not isinstance(given, dict):
            self.fault(("tls",), "tls: should be a table: [tls] with certificate and key")
            return
        common = {name: value for name, value in given.items() if name not in PORTS}
        for port in PORTS:
            if port in given:
                found = self.entry(TlsFiles, ("tls", port), given[port])
            elif common:
                found = self.entry(TlsFiles, ("tls",), common)
            else:
                continue
            if found is not None:
                yield port, found.within(self.path.absolute().parent)

    def fault(self, place: Place, what: str) -> None:
        line = closest_line(self.lines, place)
        self.faults.append((line, f"{self.path}:{line}: {what}"))


class _Hidden:
    def __repr__(self) -> str:
        return "what is not shown here, because it may be a secret"


def _without_secrets(detail: ErrorDetails) -> ErrorDetails:
    """A finding without what was got, where that may be a token in the wrong place."""
    field_name = str(detail["loc"][0]) if detail["loc"] else ""
    if field_name == "sha256" or detail["type"] == "extra_forbidden":
        return {**detail, "input": _Hidden()}
    return detail
