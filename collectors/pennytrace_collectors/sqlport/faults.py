"""Errors as ClickHouse words, numbers and sends them."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Final, Self

from pennytrace_collectors.errors import CollectorError


class Code(IntEnum):
    """The numbers of the errors that the port raises itself; ClickHouse's own pass through as they are."""

    BAD_ARGUMENTS = 36
    NOT_IMPLEMENTED = 48
    UNKNOWN_FUNCTION = 46
    UNKNOWN_TABLE = 60
    SYNTAX_ERROR = 62
    UNKNOWN_FORMAT = 73
    UNKNOWN_DATABASE = 81
    UNKNOWN_COMPRESSION_METHOD = 89
    UNKNOWN_SETTING = 115
    TIMEOUT_EXCEEDED = 159
    READONLY = 164
    TOO_MANY_SIMULTANEOUS_QUERIES = 202
    QUERY_IS_TOO_LARGE = 229
    CANNOT_DECOMPRESS = 271
    TOO_DEEP_RECURSION = 306
    SETTING_CONSTRAINT_VIOLATION = 452
    ACCESS_DENIED = 497
    AUTHENTICATION_FAILED = 516
    UNKNOWN_EXCEPTION = 1002


# As in ClickHouse's server: a code that is not here is 500.
_CANNOT_PARSE: Final = (6, 25, 26, 27, 38, 41, 72, 117, 376, 427, 441, 675, 676)
_WRONG_STATEMENT: Final = (8, 15, 36, 37, 44, 53, 62, 123, 167, 168, 223, 321)
_FORBIDDEN: Final = frozenset((192, 193, 497, 512, 516))
_NOT_FOUND: Final = frozenset((46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511))
_STATUS: Final = {
    **dict.fromkeys(_CANNOT_PARSE, 400),
    **dict.fromkeys(_WRONG_STATEMENT, 400),
    **dict.fromkeys(_FORBIDDEN, 403),
    **dict.fromkeys(_NOT_FOUND, 404),
    **dict.fromkeys((76, 209, 439), 503),
    48: 501,
    159: 408,
    194: 401,
    229: 413,
    381: 411,
    779: 415,
}

_ENGINE_ERROR: Final = re.compile(r"Code: (\d+)\. DB::Exception: (.*?)\s*\((\w+)\)\s*$", re.DOTALL)
_AGAIN: Final = re.compile(r"^Code: \d+\. DB::Exception: ")
_TRAILER: Final = re.compile(r"\.?\s*\(\w+\) \(version [^()]*(?:\([^()]*\))?\)\.?\s*$")
# The statement is read inside a query of the port's own, which is nothing that its author wrote.
_OWN_SCOPE: Final = re.compile(r": In scope WITH parseQueryToJSON\(.*$", re.DOTALL)
# What the engine guesses was meant may be a table that a reader may not know of.
_HINT: Final = re.compile(r"\.? Maybe you meant [^\n]*?(?=\. In scope|$)")


class Fault(CollectorError):
    """A request is refused or failed, told as ClickHouse tells it."""

    def __init__(self, code: int, message: str, *, name: str = "") -> None:
        super().__init__(message)
        self.code = int(code)
        self.name = name or Code(code).name
        self.message = message

    @classmethod
    def of_engine(cls, error: Exception, *, hide: str) -> Self:
        """Read an exception of the engine, leaving the path `hide` out of its text."""
        text = str(error).replace(hide, "store")
        found = _ENGINE_ERROR.search(text)
        if not found:
            return cls(Code.UNKNOWN_EXCEPTION, text.split("\n", 1)[0])
        message = found[2]
        while (shorter := _TRAILER.sub("", _AGAIN.sub("", message))) != message:
            message = shorter
        message = _HINT.sub("", _OWN_SCOPE.sub("", message))
        return cls(int(found[1]), message.rstrip(" ."), name=found[3])

    @property
    def status(self) -> int:
        """The HTTP status by which ClickHouse's server answers such an error."""
        return _STATUS.get(self.code, 500)

    def body(self, version: str) -> bytes:
        """The text that a client reads; it ends with a line feed."""
        text = f"Code: {self.code}. DB::Exception: {self.message}. ({self.name})"
        return f"{text} (version {version} (pennytrace))\n".encode()


def denied(what: str) -> Fault:
    """Return the refusal of something that this port's readers may not use."""
    return Fault(Code.ACCESS_DENIED, f"default: Not enough privileges: {what}")


def writes(what: str) -> Fault:
    """Return the refusal of a statement that is not a read."""
    return Fault(Code.READONLY, f"default: Cannot execute query in readonly mode: {what}")
