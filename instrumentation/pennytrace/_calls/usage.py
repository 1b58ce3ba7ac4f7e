"""Reads token counts out of a response, whatever shape it has: model objects, dicts or parsed JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pennytrace._calls.provider import Usage

Counts = Mapping[str, Mapping[str, str]]
"""Attribute names by where a provider keeps the count: the part of its usage, and the field in it.

`""` is the usage itself, and `a.b` the part `b` of its part `a`.
"""

_NOTHING: Final[Mapping[str, Any]] = {}


def read_counts(usage: Any, counts: Counts) -> Usage:
    """Return the counts that `usage` has, by attribute name.

    Totals of 0 are kept; details of 0 are left out, as the conventions do. What is not a whole number of at
    least 0 is not a count, and is left out too.
    """
    found: dict[str, int] = {}
    totals = fields(usage)
    for part, names in counts.items():
        held = totals
        for step in part.split(".") if part else ():
            held = fields(held.get(step))
        for key, name in names.items():
            value = held.get(key)
            if type(value) is int and (value > 0 or (value == 0 and not part)):
                found[name] = value
    return found


def fields(thing: Any) -> Mapping[str, Any]:
    """Return what `thing` has, by name: the items of a dict, or the fields of an object.

    Taken from the object's own dict: where a field is missing, asking a pydantic model for it costs more than
    all the rest of reading a response.
    """
    try:
        held: Mapping[str, Any] = thing.__dict__
    except AttributeError:
        return thing if isinstance(thing, dict) else _NOTHING
    more = getattr(thing, "__pydantic_extra__", None)  # what the library does not know, but the server sent
    return {**held, **more} if more else held


def text(value: Any) -> str | None:
    """Return `value` when it is a text that says something."""
    return value if isinstance(value, str) and value else None


def texts(value: Any, *, skip: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield all texts inside `value`, except those under the keys in `skip`."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key not in skip:
                yield from texts(item, skip=skip)
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        for item in value:
            yield from texts(item, skip=skip)
    elif hasattr(value, "__dict__"):
        yield from texts(fields(value), skip=skip)
