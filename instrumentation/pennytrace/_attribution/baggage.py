"""Writes and reads the W3C `baggage` header: https://www.w3.org/TR/baggage/ (checked 2026-11-22)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final
from urllib.parse import quote, unquote_plus

from pennytrace._attribution.text import clean

HEADER: Final = "baggage"

_MOST_BYTES: Final = 8192
_MOST_MEMBERS: Final = 64
_MOST_READ: Final = 180  # members; what OpenTelemetry reads
_AS_IS: Final = "!#$&'()*/:<>?@[]^`{|}~"  # what a value may have besides letters, digits and _.-~
"""Without `+`, though the standard lets it stand for itself: OpenTelemetry reads it as a space."""


def encode(entries: Mapping[str, str]) -> str:
    """Return `entries` as the value of the header; the names must be tokens. Empty for none."""
    return merged("", entries)


def merged(header: str, entries: Mapping[str, str]) -> str:
    """Return `header` with `entries` in the place of members of these names, or after the others.

    What `header` has besides stays as it is. Entries for which the standard's limits leave no room, of
    8192 bytes and 64 members, are left out.
    """
    members = [member for name, member in _members(header) if name not in entries]
    size = len(",".join(members).encode())
    for name, value in entries.items():
        member = f"{name}={quote(value, safe=_AS_IS)}"
        grown = size + len(member) + (1 if members else 0)
        if grown <= _MOST_BYTES and len(members) < _MOST_MEMBERS:
            members.append(member)
            size = grown
    return ",".join(members)


def without(header: str, names: Collection[str]) -> str:
    """Return `header` without the members of these names."""
    return ",".join(member for name, member in _members(header) if name not in names)


def decode(header: str, names: Collection[str]) -> dict[str, str]:
    """Return the values of these names, as text that is safe to send; of several of a name the last one.

    The header may come from anybody: one that is too long counts for nothing, and so does a member that is
    not well-formed.
    """
    if len(header) > _MOST_BYTES:
        return {}
    found = {}
    for _, (name, member) in zip(range(_MOST_READ), _members(header), strict=False):
        value = _value(member) if name in names else None
        if value is not None:
            found[name] = value
    return found


def _members(header: str) -> Iterator[tuple[str, str]]:
    for member in header.split(","):
        if member.strip():
            yield member.partition("=")[0].strip(), member.strip()


def _value(member: str) -> str | None:
    encoded = member.partition("=")[2].partition(";")[0]  # after a semicolon come properties
    try:
        return clean(unquote_plus(encoded.strip(), errors="strict"))
    except UnicodeDecodeError:
        return None
