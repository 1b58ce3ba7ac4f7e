"""Knows whether the code that runs is inside a model call that is being recorded, and inside which."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pennytrace._calls.call import Call

inside_a_call: Final[ContextVar[Call | None]] = ContextVar("pennytrace.inside_a_call", default=None)
"""The call that a client library's own code is making; what that code calls in turn is a part of it."""
