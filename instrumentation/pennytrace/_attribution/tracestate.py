"""Writes and reads our member of the W3C `tracestate` header.

The standard is https://www.w3.org/TR/trace-context/ (checked 2026-11-23).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote, unquote

from pennytrace import semconv
from pennytrace._attribution.tags import NO_TAGS, Tags
from pennytrace._attribution.text import clean

HEADER: Final = "tracestate"

_KEY: Final = "pennytrace"
_LONGEST: Final = 256  # characters of a value, by the standard
_MOST_MEMBERS: Final = 32
_MOST_CHARACTERS: Final = 512  # of a header; what everybody must hand on
_LONG_MEMBER: Final = 128  # characters; of a header that is too long, the standard lets these go first
_MOST_READ: Final = 1 << 16  # characters; a header may come from anybody
_MOST_TAGS: Final = 40

_NAMES: Final[Mapping[str, str]] = {
    semconv.FEATURE: "feature",
    semconv.TEAM: "team",
    semconv.CUSTOMER: "customer",
    semconv.SESSION_ID: "session",
    semconv.FEATURE_SOURCE: "source",
    semconv.USER_ID: "user",
    semconv.USER_HASH: "user_hash",
}
"""What attributes are called in the header, the most wanted first."""
_ATTRIBUTES: Final = {name: attribute for attribute, name in _NAMES.items()}
_TAG: Final = "tag."
_SOURCES: Final = frozenset(
    {
        semconv.FROM_TAG,
        semconv.FROM_BAGGAGE,
        semconv.FROM_ROUTE,
        semconv.FROM_MESSAGING,
        semconv.FROM_TASK,
        semconv.FROM_INIT,
        semconv.FROM_FUNCTION,
        semconv.FROM_SERVICE,
    }
)
# What may stand for itself, besides letters, digits and _.-~ . By the standard that is everything printable but comma
# and equals sign; blanks, which may not be the last, and our own separators are encoded too.
_AS_IS: Final = "!#$&'()*+/<>?@[]^`{|}"


def write(tags: Tags, *, longest: int | None = _LONGEST) -> str:
    """Return our member of the header, `pennytrace=feature:search;team:shop`, or '' when there is nothing to say.

    What says nothing about who spends is left out, and so is a tag for which there is no room: half a name would be
    another name.

    Args:
        tags: Values by attribute name.
        longest: The characters that the value may have; None for any number, where the member stays in one program.
    """
    said: list[str] = []
    room = longest
    for name, value in _named(tags):
        entry = f"{name}:{_encoded(value)}"
        size = len(entry) + (1 if said else 0)
        if room is None:
            said.append(entry)
        elif size <= room:
            said.append(entry)
            room -= size
    return f"{_KEY}={';'.join(said)}" if said else ""


def merged(header: str, member: str) -> str:
    """Return `header` with our member in front, in the place of one that is there; without any when ours is empty.

    Others' members stay as they are, except where the header would be longer than the 32 members and 512 characters
    that the standard lets everybody count on: then long ones go first, and then the last ones.
    """
    others = [other for key, other in _members(header) if key != _KEY]
    if not member:
        return ",".join(others)
    while others and _is_too_long([member, *others]):
        long = [place for place, other in enumerate(others) if len(other) > _LONG_MEMBER]
        del others[long[-1] if long else -1]
    return ",".join([member, *others])


def read(header: str) -> Tags:
    """Return the tags in a header, as clean text by attribute name.

    The header may come from anybody: what is not well-formed, or is no tag, counts for nothing.
    """
    if len(header) > _MOST_READ or _KEY not in header:
        return NO_TAGS
    value = next((member.partition("=")[2] for key, member in _members(header) if key == _KEY), "")
    found: dict[str, str] = {}
    for entry in value.split(";"):
        attribute, text = _entry(entry)
        if attribute is not None and text is not None and len(found) < _MOST_TAGS:
            found.setdefault(attribute, text)
    if found.get(semconv.FEATURE_SOURCE, semconv.FROM_TAG) not in _SOURCES:
        del found[semconv.FEATURE_SOURCE]
    return found


def _named(tags: Tags) -> Iterator[tuple[str, str]]:
    for attribute, name in _NAMES.items():
        if attribute in tags:
            yield name, tags[attribute]
    for attribute, value in tags.items():
        if attribute.startswith(semconv.TAG_PREFIX):
            yield _TAG + _encoded(attribute.removeprefix(semconv.TAG_PREFIX)), value


@functools.lru_cache(
    maxsize=1024
)  # the same few again and again, and encoding one takes as long as a call's begin
def _encoded(text: str) -> str:
    return quote(text, safe=_AS_IS)


def _entry(entry: str) -> tuple[str | None, str | None]:
    name, _, value = entry.partition(":")
    try:
        return _attribute(unquote(name.strip(), errors="strict")), clean(unquote(value, errors="strict"))
    except UnicodeDecodeError:
        return None, None


def _attribute(name: str) -> str | None:
    if name.startswith(_TAG):
        own = clean(name.removeprefix(_TAG))
        return None if own is None else semconv.TAG_PREFIX + own
    return _ATTRIBUTES.get(name)


def _members(header: str) -> Iterator[tuple[str, str]]:
    for member in header.split(","):
        if member.strip():
            yield member.partition("=")[0].strip(), member.strip()


def _is_too_long(members: list[str]) -> bool:
    return len(members) > _MOST_MEMBERS or len(",".join(members)) > _MOST_CHARACTERS
