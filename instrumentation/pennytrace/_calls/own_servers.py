"""Knows which servers run an inference engine of one's own, and what those are told: who spends, and in which trace.

Nobody else's server is told anything. The engine's own record of the call then carries the tags too, and stands for
the call where the client's is missing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from pennytrace import semconv
from pennytrace._attribution import traceparent, tracestate
from pennytrace._attribution.propagation import may_travel
from pennytrace._calls.call import Call

_MAY_BE_OWN: Final = frozenset({semconv.OPENAI_COMPATIBLE})
"""Names of providers that say only which language a server speaks, and not whose it is."""
_PRIVATE: Final = (
    *("localhost", "*.localhost", "*.localdomain", "*.local", "*.internal", "*.private", "*.home.arpa"),
    *("*.lan", "*.home", "*.corp", "*.intranet", "*.svc", "*.cluster.local"),
)
"""Names that nobody can have on the internet."""
_ADDRESS: Final = re.compile(r"[\d.]+|[\da-f:.]*:[\da-f:.]*(%\w+)?", re.IGNORECASE)

_named: tuple[str, ...] | None = ()


def use(named: tuple[str, ...] | None) -> None:
    """Count servers of these names, or patterns of names, as one's own too; None tells no server anything."""
    global _named
    _named = named
    is_own.cache_clear()


@functools.lru_cache(maxsize=1024)
def is_own(provider: str, host: str) -> bool:
    """Tell whether a server is of one's own: none of the known providers', and in a private place, or named as such."""
    if _named is None or provider not in _MAY_BE_OWN:
        return False
    name = host.lower().rstrip(".")
    return _is_private(name) or any(fnmatchcase(name, pattern) for pattern in _named)


def _is_private(host: str) -> bool:
    if _ADDRESS.fullmatch(host):
        return _is_private_address(host)
    return bool(host) and ("." not in host or any(fnmatchcase(host, pattern) for pattern in _PRIVATE))


def _is_private_address(host: str) -> bool:
    import ipaddress  # here, because it takes a while to load, and few servers are called by their address

    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_private or address.is_link_local


def told(call: Call, present: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that tell the call's server who spends and in which trace, if it is one's own.

    A `traceparent` that is present stays, and of a `tracestate` what others say.

    Args:
        call: The call that is about to be made.
        present: The headers that the app has given, in any case; what is no text is one that it has left out.
    """
    if not is_own(call.request.provider, call.request.host):
        return {}
    spelt = {name.lower(): name for name in present}
    name = spelt.get(tracestate.HEADER, tracestate.HEADER)
    state, member = present.get(name, ""), tracestate.write(may_travel(call.who))
    if not member or not isinstance(state, str):
        return {}
    call.tells = member
    headers = {name: tracestate.merged(state, member)}
    if traceparent.HEADER not in spelt:
        headers[traceparent.HEADER] = call.traceparent()
    return headers
