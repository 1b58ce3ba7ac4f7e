"""Lets bodies in by their tokens, as the access file in force says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pennytrace_collectors.access.entries import Token, is_over
from pennytrace_collectors.access.read import AccessList
from pennytrace_collectors.access.secret import digest, is_among
from pennytrace_collectors.errors import Unauthenticated
from pennytrace_collectors.receive.bearer import ANYONE, Allowance, Bearer

_NONE: Final = (
    "a token is needed: send the header 'Authorization: Bearer TOKEN', which exporters take from "
    "OTEL_EXPORTER_OTLP_HEADERS='Authorization=Bearer TOKEN' and pennytrace from PENNYTRACE_HEADERS too"
)
_UNREADABLE: Final = "the Authorization is not of the form 'Bearer TOKEN'"
_UNKNOWN: Final = "the token is none that this collector knows; ask whoever runs it for one"


class Gate:
    """The doors of every port that takes telemetry."""

    def __init__(self, in_force: Callable[[], AccessList]) -> None:
        """Let in whom the list says that `in_force` returns."""
        self._in_force = in_force
        self._bearers: dict[Token, Bearer] = {}

    def admit(self, authorization: str) -> Bearer:
        """Return whose request it is.

        Raises:
            Unauthenticated: There are tokens, and it has none of them.
        """
        tokens = self._in_force().tokens
        if not tokens:
            return ANYONE
        token = _of(authorization, tokens)
        if is_over(token.valid_to):
            raise Unauthenticated(
                f"the token {token.name!r} was valid to {token.valid_to}; ask for a new one"
            )
        return self._bearer(token)

    def _bearer(self, token: Token) -> Bearer:
        found = self._bearers.get(token)
        if found is None:
            found = _made(token, self._bearers)
            # One for each name: what a token was before the file changed is forgotten, but for what it has sent.
            self._bearers = {**{t: b for t, b in self._bearers.items() if t.name != token.name}, token: found}
        return found


def _of(authorization: str, tokens: tuple[Token, ...]) -> Token:
    if not authorization:
        raise Unauthenticated(_NONE)
    scheme, _, secret = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthenticated(_UNREADABLE)
    presented = digest(secret.strip())
    # All are looked at, so that the time tells nothing of which it is.
    found = [token for token in tokens if is_among(presented, token.sha256)]
    if not found:
        raise Unauthenticated(_UNKNOWN)
    return found[0]


def _made(token: Token, before: dict[Token, Bearer]) -> Bearer:
    return Bearer(
        name=token.name,
        team=token.team,
        environment=token.environment,
        restricted=token.mode == "restrict",
        spans_per_body=token.spans_per_body,
        allowance=_allowance(token, before),
    )


def _allowance(token: Token, before: dict[Token, Bearer]) -> Allowance | None:
    if token.bytes_per_s is None:
        return None
    for bearer in before.values():
        kept = bearer.allowance
        if bearer.name == token.name and kept is not None and kept.bytes_per_s == token.bytes_per_s:
            return kept
    return Allowance(token.bytes_per_s)
