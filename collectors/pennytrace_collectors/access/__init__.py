"""Who may write and read: the access file with its tokens, users and certificates, read again when it changes."""

from __future__ import annotations

from pennytrace_collectors.access.entries import Token, User
from pennytrace_collectors.access.gate import Gate
from pennytrace_collectors.access.read import AccessList, read_access_file
from pennytrace_collectors.access.watched import WatchedAccess

__all__ = ["AccessList", "Gate", "Token", "User", "WatchedAccess", "read_access_file"]
