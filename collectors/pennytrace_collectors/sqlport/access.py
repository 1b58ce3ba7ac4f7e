"""Who is answered: programs that use a listed host name, never a web page in a browser on this machine."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Protocol

from starlette.datastructures import Headers

from .faults import Code, Fault, denied


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who the client says it is."""

    user: str
    password: str = field(repr=False)


class Accounts(Protocol):
    """Knows the users of the port."""

    def admits(self, credentials: Credentials) -> bool:
        """Say whether the user exists and the password is theirs."""

    def sees_all(self, user: str) -> bool:
        """Say whether a user who was admitted may read all tables of the store, not spend alone."""

    def are_asked(self) -> bool:
        """Say whether there are passwords, so that no web page can ask in the name of its reader."""


@dataclass(frozen=True, slots=True)
class OnlyDefault:
    """The user `default` without a password, as on a new ClickHouse server."""

    def admits(self, credentials: Credentials) -> bool:
        """Say whether these are the name and the empty password of that one user."""
        return credentials.user == "default" and not credentials.password

    def sees_all(self, user: str) -> bool:
        """That user reads everything."""
        return True

    def are_asked(self) -> bool:
        """There is no password."""
        return False


@dataclass(frozen=True, slots=True)
class Access:
    """Which requests are answered at all."""

    hosts: frozenset[str] = frozenset()
    """Names besides `localhost` under which clients reach the port, in lower case and without a port."""
    origins: frozenset[str] = frozenset()
    """Web pages that may ask, such as `https://grafana.example`."""
    accounts: Accounts = field(default_factory=OnlyDefault)

    def require(self, headers: Headers) -> None:
        """Let a request pass that no web page has sent behind its reader's back.

        Raises:
            Fault: Its Host is not listed (a name that was made to point here), or a page elsewhere sent it.
        """
        host = _host(headers.get("host", ""))
        # A name that was made to point here serves nobody who lacks a password.
        if not (_is_loopback(host) or host in self.hosts or self.accounts.are_asked()):
            raise denied(f"the Host {host!r} is not one that this port answers to")
        origin = headers.get("origin")
        if origin is not None and origin not in self.origins:
            raise denied(f"the Origin {origin!r} is not one that this port answers to")
        if origin is None and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise denied("requests from other web sites are not answered")

    def require_user(self, credentials: Credentials) -> None:
        """Let a user pass.

        Raises:
            Fault: There is no such user, or the password is another.
        """
        if not self.accounts.admits(credentials):
            raise Fault(
                Code.AUTHENTICATION_FAILED,
                f"{credentials.user}: Authentication failed: password is incorrect, or there is no user with "
                "such name",
            )


def credentials(headers: Headers, query: dict[str, str]) -> Credentials:
    """Read who the client is from its headers or its URL, in the three ways that ClickHouse knows.

    Raises:
        Fault: It uses two of them at once, or the header cannot be read.
    """
    ways = [
        _basic(headers.get("authorization")),
        _given(headers.get("x-clickhouse-user"), headers.get("x-clickhouse-key")),
        _given(query.get("user"), query.get("password")),
    ]
    used = [way for way in ways if way is not None]
    if len(used) > 1:
        raise Fault(
            Code.AUTHENTICATION_FAILED,
            "Invalid authentication: it is not allowed to use more than one way of authentication at once",
        )
    return used[0] if used else Credentials("default", "")


def _basic(header: str | None) -> Credentials | None:
    if header is None:
        return None
    scheme, _, encoded = header.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError(scheme)
        user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise Fault(
            Code.AUTHENTICATION_FAILED, "Invalid authentication: expected an Authorization of Basic"
        ) from None
    return Credentials(user or "default", password if colon else "")


def _given(user: str | None, password: str | None) -> Credentials | None:
    if user is None and password is None:
        return None
    return Credentials(user or "default", password or "")


def _host(header: str) -> str:
    """Return the host of a Host header, in lower case and without its port."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].rstrip(".")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
