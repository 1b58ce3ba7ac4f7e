"""The errors of the demo.

CollectorError
└── DemoError                   the demo cannot go on; the message says what to do
    ├── MissingExtra            a package is not installed that only the demo needs
    ├── FolderInUse             the folder is somebody else's, or another demo's
    ├── ChildFailed             the collector, the shop or another command of the demo has failed
    └── BooksDiffer             the report and the provider's books do not say the same
"""

from __future__ import annotations

from pennytrace_collectors.errors import CollectorError


class DemoError(CollectorError):
    """The demo cannot go on."""


class MissingExtra(DemoError):
    """A package is not installed that the demo needs."""


class FolderInUse(DemoError):
    """The demo's folder cannot be used: it is not the demo's, or a demo is running in it."""


class ChildFailed(DemoError):
    """A process that the demo has started has failed; the message holds what it said last."""


class BooksDiffer(DemoError):
    """The report and the provider's books do not say the same."""
