"""A demonstration on the reader's own machine: a real collector and SDK, and a provider that is simulated."""

from __future__ import annotations
