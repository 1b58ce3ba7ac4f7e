"""Makes any value a short, printable text that is safe to send."""

from __future__ import annotations

from typing import Final

LONGEST: Final = 256
"""Characters that a tag's value may have; what is longer is cut."""


def clean(value: object) -> str | None:
    """Return `value` as text without control characters, cut to `LONGEST`; None when nothing is left."""
    if value is None:
        return None
    text = str(value)
    if not text.isprintable():
        text = "".join(filter(str.isprintable, text))
    return text[:LONGEST].strip() or None
