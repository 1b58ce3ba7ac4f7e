"""The embedded store as ClickHouse's HTTP interface, for reading only."""

from __future__ import annotations

from .access import Access, Accounts, OnlyDefault
from .app import application
from .limits import Limits

__all__ = ["Access", "Accounts", "Limits", "OnlyDefault", "application"]
