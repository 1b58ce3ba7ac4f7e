"""Posts batches of spans to an OTLP/HTTP endpoint over one connection that is kept open."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ._delivery import Answer
from ._otlp import encode_request

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

TIMEOUT: Final = 10.0
"""Seconds that one attempt may take to connect, and to be answered."""
_TRY_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
_MOST_OF_A_REASON: Final = 300  # characters of an error page that are worth logging
_LONGEST_WAIT: Final = 300.0  # seconds; more than that is not a Retry-After but a mistake
_GZIP: Final = 16 + zlib.MAX_WBITS


class HttpTransport:
    """Sends to one URL; on failure says what went wrong in words that name the URL."""

    def __init__(
        self, url: str, *, headers: Mapping[str, str], resource: bytes, scope: bytes, compress: bool
    ) -> None:
        parts = urlsplit(url)
        self._url = url
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port
        self._path = parts.path + (f"?{parts.query}" if parts.query else "")
        self._resource = resource
        self._scope = scope
        self._compress = compress
        self._headers = {"Content-Type": "application/x-protobuf", **headers}
        if compress:
            self._headers["Content-Encoding"] = "gzip"
        self._connection: HTTPConnection | None = None

    def send(self, spans: Sequence[bytes]) -> Answer:
        """Post one batch."""
        from http.client import HTTPException  # here, in the sender's thread: it brings ssl and email

        body = encode_request(self._resource, self._scope, spans)
        if self._compress:
            body = _gzip(body)
        try:
            return self._answer(self._post(body))
        except (OSError, HTTPException) as error:
            self.close()
            return Answer(
                accepted=False,
                again=True,
                unreachable=isinstance(error, ConnectionRefusedError),
                reason=f"{self._url}: {str(error) or type(error).__name__}",
            )

    def close(self) -> None:
        """Drop the connection; the next batch opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _post(self, body: bytes) -> HTTPResponse:
        reused = self._connection is not None
        try:
            return self._exchange(body)
        except ConnectionError:
            if not reused:
                raise
            # A connection that lay idle may have been closed by the other side: that is no failure.
            self.close()
            return self._exchange(body)

    def _exchange(self, body: bytes) -> HTTPResponse:
        connection = self._connection = self._connection or self._connect()
        connection.request("POST", self._path, body, self._headers)
        return connection.getresponse()

    def _connect(self) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection

        kind = HTTPSConnection if self._secure else HTTPConnection
        return kind(self._host, self._port, timeout=TIMEOUT)

    def _answer(self, response: HTTPResponse) -> Answer:
        said = response.read()
        if 200 <= response.status < 300:
            return Answer(accepted=True)
        again = response.status in _TRY_AGAIN
        return Answer(
            accepted=False,
            again=again,
            after=_seconds(response.getheader("Retry-After")) if again else None,
            reason=f"{self._url} answered {response.status} {response.reason}: {_printable(said)}",
        )


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(level=1, wbits=_GZIP)
    return packer.compress(body) + packer.flush()


def _seconds(retry_after: str | None) -> float | None:
    if retry_after is None:
        return None
    try:
        return min(max(float(retry_after), 0.0), _LONGEST_WAIT)
    except ValueError:
        return _seconds_until(retry_after)


def _seconds_until(date: str) -> float | None:
    import time
    from email.utils import mktime_tz, parsedate_tz

    parsed = parsedate_tz(date)
    return None if parsed is None else min(max(mktime_tz(parsed) - time.time(), 0.0), _LONGEST_WAIT)


def _printable(body: bytes) -> str:
    text = body[:_MOST_OF_A_REASON].decode("utf-8", "replace")
    return (
        "".join(character if character.isprintable() else " " for character in text).strip() or "(no reason)"
    )
