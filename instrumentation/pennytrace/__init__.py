"""Cost telemetry for LLM applications: what every model call uses, by feature, team and customer."""

from __future__ import annotations

from pennytrace._attribution.propagation import outgoing_headers, received
from pennytrace._attribution.tags import carry, tag
from pennytrace._setup.lifecycle import flush, init, shutdown
from pennytrace._version import __version__

__all__ = ["__version__", "carry", "flush", "init", "outgoing_headers", "received", "shutdown", "tag"]
