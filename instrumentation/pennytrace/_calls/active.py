"""The recorder that new calls are recorded with: the one piece of state that everything shares."""

from __future__ import annotations

from pennytrace._calls.call import Recorder

recorder: Recorder | None = None
"""The recorder in use, or None while nothing is recorded."""


def use(new: Recorder | None) -> None:
    """Record calls that begin from now on with `new`; None records nothing. Open calls keep theirs."""
    global recorder
    recorder = new
