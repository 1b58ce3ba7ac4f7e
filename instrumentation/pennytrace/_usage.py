"""Reads token counts out of a response, whatever shape it has: model objects, dicts or parsed JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from . import semconv
from ._provider import Usage

Counts = Mapping[str, Mapping[str, str]]
"""Attribute names by where a provider keeps the count: the part of its usage (`""` for itself), and the field."""

_NOTHING: Final[Mapping[str, Any]] = {}
_CHARACTERS_A_TOKEN: Final = 4
"""The rule for estimates: a token for every four characters that have begun."""


def read_counts(usage: Any, counts: Counts) -> Usage:
    """Return the counts that `usage` has, by attribute name.

    Totals of 0 are kept; details of 0 are left out, as the conventions do. What is not a whole number of at
    least 0 is not a count, and is left out too.
    """
    found: dict[str, int] = {}
    totals = fields(usage)
    for part, names in counts.items():
        held = fields(totals.get(part)) if part else totals
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


def estimated_tokens(characters: int) -> int:
    """Return the tokens that `characters` of text are counted as when nobody counted them: a quarter, up."""
    return math.ceil(characters / _CHARACTERS_A_TOKEN)


def estimate(*, request_characters: int, delivered_characters: int | None) -> Usage:
    """Return a usage made from the texts' lengths; without output when None was delivered."""
    usage = {semconv.INPUT_TOKENS: estimated_tokens(request_characters)}
    if delivered_characters is not None:
        usage[semconv.OUTPUT_TOKENS] = estimated_tokens(delivered_characters)
    return usage


def characters(value: Any, *, skip: frozenset[str] = frozenset()) -> int:
    """Return the number of characters in all texts inside `value`, except under the keys in `skip`."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(characters(item, skip=skip) for key, item in value.items() if key not in skip)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return sum(characters(item, skip=skip) for item in value)
    return characters(fields(value), skip=skip) if hasattr(value, "__dict__") else 0
