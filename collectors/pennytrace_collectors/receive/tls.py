"""TLS of one port: what it proves itself with and whose clients it takes, read again when the files change."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Final, Protocol

import grpc

from pennytrace_collectors.errors import AccessFileError

_log = logging.getLogger(__name__)

# TLS 1.3 chooses its own; of TLS 1.2 only what has forward secrecy and is authenticated.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


class Files(Protocol):
    """Where the certificate, its key and the authorities of clients are."""

    @property
    def certificate(self) -> Path:
        """The chain, as PEM."""

    @property
    def key(self) -> Path:
        """The certificate's key, as PEM without a passphrase."""

    @property
    def client_ca(self) -> Path | None:
        """Whose certificates clients must have; None when they need none."""


class Tls:
    """What new connections to a port begin with."""

    def __init__(self, files: Files) -> None:
        """Read the files.

        Raises:
            AccessFileError: They cannot be used; the message names them, and nothing that is in them.
        """
        self._files = files
        self._seen = _stamps(files)
        self.context = _context(files)
        self._for_grpc = _for_grpc(files)
        self.fault = ""
        """Why the files as they are now are not in use; empty when they are."""

    def refresh(self) -> None:
        """Use the files as they are now, if they have changed and can be used, for connections from now on."""
        if (now := _stamps(self._files)) == self._seen:
            return
        self._seen = now
        try:
            _context(self._files)  # apart first: a context that has refused a key is left without any
            self._for_grpc = _for_grpc(self._files)
            _load(self.context, self._files)
        except AccessFileError as error:
            self.fault = str(error)
            _log.error("certificates have changed and cannot be used, so those before stay in use: %s", error)
            return
        self.fault = ""
        _log.info("certificates have changed: %s is in use", self._files.certificate)

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return what a gRPC server is given; it asks again for every connection."""
        return grpc.dynamic_ssl_server_credentials(
            self._for_grpc,
            lambda: self._for_grpc,
            require_client_authentication=self._files.client_ca is not None,
        )


def _stamps(files: Files) -> tuple[tuple[int, int, int] | None, ...]:
    return tuple(_stamp(path) for path in (files.certificate, files.key, files.client_ca) if path is not None)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _context(files: Files) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    _load(context, files)
    return context


def _load(context: ssl.SSLContext, files: Files) -> None:
    try:
        # A key with a passphrase would otherwise be asked for on a terminal that nobody sits at.
        context.load_cert_chain(files.certificate, files.key, password=lambda: b"")
    except (OSError, ValueError) as error:
        raise _unusable(f"the certificate {files.certificate} with the key {files.key}", error) from None
    if files.client_ca is None:
        return
    try:
        context.load_verify_locations(files.client_ca)
    except (OSError, ValueError) as error:
        raise _unusable(f"the certificates of clients' authorities {files.client_ca}", error) from None
    context.verify_mode = ssl.CERT_REQUIRED


def _for_grpc(files: Files) -> grpc.ServerCertificateConfiguration:
    try:
        pair = files.key.read_bytes(), files.certificate.read_bytes()
        authorities = files.client_ca.read_bytes() if files.client_ca is not None else None
    except OSError as error:
        raise _unusable(f"the files of {files.certificate}", error) from None
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=authorities)


def _unusable(what: str, error: Exception) -> AccessFileError:
    reason = (error.strerror if isinstance(error, OSError) else "") or type(error).__name__
    if isinstance(error, ssl.SSLError):
        reason = {
            "KEY_VALUES_MISMATCH": "the key is of another certificate",
            "NO_CERTIFICATE_OR_CRL_FOUND": "there is no certificate in it",
        }.get(error.reason or "", "it is no PEM, or its key has a passphrase")
    return AccessFileError(f"cannot use {what}: {reason}; give PEM files that this process may read")
