"""Where a listener listens: an address as people write it, and the socket bound to it."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self

from pennytrace.errors import ConfigurationError
from pennytrace_collectors.errors import ListenError

_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class Address:
    """A host, a port and the option that gave them."""

    host: str
    port: int
    """0 for any free port."""
    option: str
    """As it is typed, for error messages: `--http`."""

    @classmethod
    def parse(cls, text: str, *, option: str) -> Self:
        """Read `HOST:PORT` or `[IPV6]:PORT`.

        Raises:
            ConfigurationError: It is neither.
        """
        host, colon, port = text.rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        if not colon or not bare or (":" in bare and bare == host) or not _is_port(port):
            raise ConfigurationError(
                f"{option} must be HOST:PORT, such as 127.0.0.1:4318 (port 0 takes a free one), or 'off'; "
                f"got {text!r}"
            )
        return cls(bare, int(port), option)

    @property
    def target(self) -> str:
        """The address as `HOST:PORT`, with an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it; a name other than `localhost` may be anything."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def url(self, port: int, *, scheme: str = "http") -> str:
        """Return the URL by which this machine reaches `port` of the listener."""
        host = _ANY_HOST.get(self.host, self.host)
        return f"{scheme}://{Address(host, port, self.option).target}"

    def bind(self) -> socket.socket:
        """Return a socket bound to the address, not listening yet.

        Raises:
            ListenError: The address is in use, is none of this machine's or needs more rights.
        """
        try:
            family, kind, protocol, _, place = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            bound = socket.socket(family, kind, protocol)
        except OSError as error:
            raise ListenError(self.refused(error.strerror or str(error))) from None
        try:
            # A port whose last connections are still closing is free to a restarted collector.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(place)
        except OSError as error:
            bound.close()
            raise ListenError(self._because(error)) from None
        return bound

    def refused(self, reason: str) -> str:
        """Return the message that says why the address cannot be listened on."""
        advice = f"choose another with {self.option} HOST:PORT, or {self.option} off"
        return f"cannot listen on {self.target}: {reason}; {advice}"

    def _because(self, error: OSError) -> str:
        if error.errno == errno.EADDRINUSE:
            return self.refused(f"port {self.port} is in use, perhaps by another collector")
        return self.refused(error.strerror or str(error))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) <= 65535
