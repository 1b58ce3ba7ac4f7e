"""The sub-commands of `pennytrace` that need the collector's dependencies."""

from __future__ import annotations
