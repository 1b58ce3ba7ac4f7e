"""The errors that pennytrace raises on purpose.

    PennytraceError             shown by the command line as `pennytrace: error: ...`
    └── ConfigurationError      an argument, option or environment variable that cannot be used

The other packages add their own subclasses beside the code that raises them. Each message says what was
wrong, what was got and what to do.
"""

from __future__ import annotations


class PennytraceError(Exception):
    """The base of every error that pennytrace raises on purpose; its message is meant for people."""


class ConfigurationError(PennytraceError):
    """A setting cannot be used; the message names it, what was got, and what to give instead."""
