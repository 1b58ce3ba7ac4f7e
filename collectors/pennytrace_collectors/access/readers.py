"""The users of the SQL port, as the access file in force has them, and this user's own commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from pennytrace_collectors.access.entries import User, is_over
from pennytrace_collectors.access.read import AccessList
from pennytrace_collectors.access.secret import digest, is_among

LOCAL_USER: Final = "pennytrace_local"
"""Who the commands on this machine are, with a secret that the collector leaves in its state folder."""


class _Credentials(Protocol):
    @property
    def user(self) -> str: ...
    @property
    def password(self) -> str: ...


class Readers:
    """Knows the users of the port; while the file has none, anybody on this machine is `default`."""

    def __init__(self, in_force: Callable[[], AccessList], *, local_secret: str) -> None:
        """Admit whom the list says that `in_force` returns, and who has the local secret."""
        self._in_force = in_force
        self._local = User(name=LOCAL_USER, sha256=(digest(local_secret),), tables="all")

    def admits(self, credentials: _Credentials) -> bool:
        """Say whether the user exists and the password is theirs."""
        access = self._in_force()
        if not access.users and credentials.user == "default":
            return not credentials.password
        presented = digest(credentials.password)
        right = [user for user in (self._local, *access.users) if is_among(presented, user.sha256)]
        return any(user.name == credentials.user and not is_over(user.valid_to) for user in right)

    def sees_all(self, user: str) -> bool:
        """Say whether a user who was admitted may read all tables of the store."""
        users = self._in_force().users
        return (
            user == LOCAL_USER or not users or any(one.name == user and one.tables == "all" for one in users)
        )

    def are_asked(self) -> bool:
        """Say whether the port asks for passwords, or is open to everybody on purpose."""
        access = self._in_force()
        return bool(access.users) or access.open_to_all
