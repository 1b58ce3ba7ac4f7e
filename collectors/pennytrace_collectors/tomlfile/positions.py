"""Where in a TOML text each table, key and array element stands: tomllib reads values, but forgets their lines.

Only for text that tomllib has taken: what it would refuse is not noticed here.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from typing import Final, TypeAlias

Place: TypeAlias = tuple[str | int, ...]
"""As in pydantic's errors: ("discount", 0, "steps", 1, "percent")."""

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
# The four kinds of string; the long ones may end in up to two quotes more.
_STRING: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR: Final = re.compile(r"[^,\]}#\r\n]+")


def lines_of(text: str) -> dict[Place, int]:
    """The line, from 1, on which every key, table and array element of a TOML text begins."""
    return _Scan(text).document()


def closest_line(lines: Mapping[Place, int], place: Place) -> int:
    """The line of a place, or of the closest thing around it that is written."""
    while place not in lines and place:
        place = place[:-1]
    return lines.get(place, 1)


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.ends = [found.start() for found in re.finditer("\n", text)]
        self.lines: dict[Place, int] = {}
        self.last: dict[Place, int] = {}  # the index of an array of tables' newest element

    def document(self) -> dict[Place, int]:
        table: Place = ()
        self.blank()
        while self.at < len(self.text):
            table = self.header() if self.text[self.at] == "[" else self.pair(table, within=table)
            self.blank()
        return self.lines

    def header(self) -> Place:
        """A `[table]` or `[[table]]`; what follows belongs to it."""
        line, many = self.line(), self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        path: Place = ()
        *parents, name = self.key()
        self.at += 2 if many else 1
        for parent in parents:
            path = self.newest((*path, parent))
        path = (*path, name)
        if many:
            self.lines.setdefault(path, line)
            self.last[path] = self.last.get(path, -1) + 1
            path = (*path, self.last[path])
        self.lines[path] = line
        return path

    def newest(self, path: Place) -> Place:
        return (*path, self.last[path]) if path in self.last else path

    def pair(self, table: Place, *, within: Place) -> Place:
        """A `key = value`; returns the table that what follows belongs to."""
        line = self.line()
        path = table
        for part in self.key():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self.blank()
        self.at += 1  # =
        self.value(path)
        return within

    def key(self) -> list[str]:
        parts = []
        while True:
            self.blank()
            quoted = _STRING.match(self.text, self.at)
            found = quoted or _BARE.match(self.text, self.at)
            assert found, f"no key at {self.at}"
            parts.append(found[0][1:-1] if quoted else found[0])
            self.at = found.end()
            self.blank()
            if self.text[self.at] != ".":
                return parts
            self.at += 1

    def value(self, path: Place) -> None:
        self.blank()
        self.lines.setdefault(path, self.line())
        start = self.text[self.at]
        if start == "[":
            self.array(path)
        elif start == "{":
            self.inline_table(path)
        else:
            found = _STRING.match(self.text, self.at) or _SCALAR.match(self.text, self.at)
            self.at = found.end() if found else self.at + 1

    def array(self, path: Place) -> None:
        self.at += 1
        index = 0
        while not self.closed("]"):
            self.value((*path, index))
            index += 1

    def inline_table(self, path: Place) -> None:
        self.at += 1
        while not self.closed("}"):
            self.pair(path, within=path)

    def closed(self, bracket: str) -> bool:
        """Go on to the next element, or past the closing bracket."""
        self.blank()
        if self.text[self.at] == ",":
            self.at += 1
            self.blank()
        if self.text[self.at] != bracket:
            return False
        self.at += 1
        return True

    def blank(self) -> None:
        found = _BLANK.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def line(self) -> int:
        return bisect_left(self.ends, self.at) + 1
