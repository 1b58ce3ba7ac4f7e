"""The version of this distribution, looked up without loading anything at import."""

from __future__ import annotations

__version__ = "0.1.0"
