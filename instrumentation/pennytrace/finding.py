"""What one check of `pennytrace doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "failure"]
"""`failure` makes `pennytrace doctor` exit with 1; `warning` is worth reading; `ok` is as it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of `pennytrace doctor`.

    Checks come from the entry-point group `pennytrace.checks`: callables without arguments that return a
    sequence of findings.
    """

    area: str
    """What was looked at, in one or two words: `collector`, `openai`, `prices`."""
    state: State
    what: str
    """What was seen, as a statement."""
    advice: str = ""
    """What to do about it; empty when there is nothing to do."""
