"""What pydantic finds wrong with an entry, in our words: what is wrong, what was got, what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches

from pydantic_core import ErrorDetails


def said(error: ErrorDetails, names: Sequence[str], *, patterns: Mapping[str, str] | None = None) -> str:
    """One finding about a field of an entry that may have `names`; `patterns` says what each pattern is for."""
    got = error["input"]
    if error["type"] == "extra_forbidden":
        name = str(error["loc"][-1])
        return f"unknown key, got {shown(got)}{meant(name, names) or '; remove it'}"
    if error["type"] == "missing":
        return "is missing; add it"
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if isinstance(got, dict):  # of the whole entry: what is wrong is in the message
        return message
    if patterns and error["type"] == "string_pattern_mismatch":
        message = patterns.get(str(error.get("ctx", {}).get("pattern")), message)
    return f"{message}, got {shown(got)}"


def shown(value: object) -> str:
    """A value as it stands in a message."""
    return str(value) if isinstance(value, Decimal) else repr(value)


def meant(name: str, names: Sequence[str]) -> str:
    """The name that was probably meant, as the end of a sentence; '' when none is close."""
    close = get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
