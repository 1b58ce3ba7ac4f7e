"""What guards the ports of one collector: tokens, users and certificates, looked at again every second."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pennytrace_collectors.access.gate import Gate
from pennytrace_collectors.access.read import AccessList
from pennytrace_collectors.access.readers import Readers
from pennytrace_collectors.access.secret import new_secret
from pennytrace_collectors.access.watched import WatchedAccess
from pennytrace_collectors.errors import AccessFileError
from pennytrace_collectors.receive.address import Address
from pennytrace_collectors.receive.tls import Tls

_log = logging.getLogger(__name__)

_LOOK_EVERY_S: Final = 1.0
_FILE: Final = "the access file"


class Guard:
    """Lets in whom the access file in force says; used on one event loop."""

    def __init__(self, path: Path | None, ports: Mapping[str, Address | None]) -> None:
        """Read the file at `path`, and the certificates of the ports that are wanted.

        Raises:
            AccessFileError: Something cannot be used, or a port would be open to other machines.
        """
        wanted = {name: address for name, address in ports.items() if address is not None}
        self._watched = WatchedAccess(path, require=functools.partial(_require_closed, wanted, path))
        self._tls_at_start = self._watched.in_force.tls
        self.tls = {name: Tls(files) for name, files in self._tls_at_start.items() if name in wanted}
        """By port; one that is not there speaks without TLS."""
        self.local_secret = new_secret()
        """What this user's own commands read with."""
        self.gate = Gate(lambda: self._watched.in_force)
        self.readers = Readers(lambda: self._watched.in_force, local_secret=self.local_secret)
        for port in _unencrypted(wanted, self._watched.in_force):
            _log.warning(
                "tokens and spend cross the network unencrypted on port %r: give it [tls.%s]", port, port
            )

    def warnings(self) -> list[str]:
        """Return what is not as the files say."""
        found = [
            f"the access file is not in force as it is: {fault}" for fault in [self._watched.fault] if fault
        ]
        found += dict.fromkeys(
            f"certificates are not in use: {tls.fault}" for tls in self.tls.values() if tls.fault
        )
        if self._watched.in_force.tls != self._tls_at_start:
            found.append("[tls] of the access file has changed, which takes a restart of the collector")
        return found

    async def watch(self) -> None:
        """Take what has changed, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            self._watched.refresh()
            for tls in self.tls.values():
                tls.refresh()


def _require_closed(ports: Mapping[str, Address], path: Path | None, access: AccessList) -> None:
    if access.open_to_all:
        return
    for name, address in ports.items():
        asks = access.users if name == "sql" else access.tokens
        if address.is_loopback or asks or (name in access.tls and access.tls[name].client_ca):
            continue
        whom = "read all spend" if name == "sql" else "write what counts as spend"
        raise AccessFileError(
            f"{address.option} {address.target}: other machines reach it, and everybody there could {whom}; "
            f"put what `pennytrace token new{' --user' if name == 'sql' else ''} NAME` prints into "
            f"{path or _FILE}, or listen on 127.0.0.1; where the network itself keeps others out, write "
            "open_to_all = true"
        )


def _unencrypted(ports: Mapping[str, Address], access: AccessList) -> list[str]:
    return [name for name, address in ports.items() if not address.is_loopback and name not in access.tls]
