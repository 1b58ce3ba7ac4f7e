"""Cost telemetry for LLM applications: what every model call uses, by feature, team and customer."""

from __future__ import annotations

from ._lifecycle import flush, init, shutdown
from ._tags import carry, tag
from ._version import __version__

__all__ = ["__version__", "carry", "flush", "init", "shutdown", "tag"]
