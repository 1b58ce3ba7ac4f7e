"""Posts bodies to an OTLP/HTTP endpoint over one connection that is kept open."""

from __future__ import annotations

import io
import time
import zlib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from pennytrace._delivery.late import in_one_piece
from pennytrace._delivery.post import Answer
from pennytrace._delivery.wire import fields

if TYPE_CHECKING:
    import socket
    import ssl
    from http.client import HTTPConnection, HTTPResponse

TIMEOUT: Final = 10.0
"""Seconds that one attempt may take to connect, and to be answered."""
_REFUSED: Final = frozenset({400, 413, 415, 422})
"""What says that this body is the matter. Everything else is about the way to the collector, and passes: by itself,
or when somebody corrects the URL or the token."""
_ABSENT: Final = frozenset({404, 405, 501})
"""What says that there is nothing at this URL: of something that not every collector has, that it lacks it."""
_UNTIL_THERE: Final = 600.0  # seconds after which to ask again for what a collector lacks
_TOO_LARGE: Final = 413
_ENCODING_UNKNOWN: Final = 415
_BUSY: Final = frozenset({408, 429, 502, 503, 504})  # what says nothing about the body
_MOST_OF_AN_ANSWER: Final = 64 * 1024  # bytes that are read
_MOST_OF_A_REASON: Final = 300  # characters of an error page that are worth logging
_LONGEST_WAIT: Final = 300.0  # seconds; more than that is not a Retry-After but a mistake
_GZIP: Final = 16 + zlib.MAX_WBITS


class Papers(NamedTuple):
    """The files by which a client and a server of TLS know each other, by path; None is what the system has."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None

    def context(self) -> ssl.SSLContext | None:
        """Return what a connection is made with, the files read anew; None where there are none.

        Raises:
            OSError: A file cannot be used.
        """
        if not (self.ca or self.certificate):
            return None
        from ssl import create_default_context

        context = create_default_context(cafile=self.ca)
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key, password=lambda: b"")
        return context


class HttpTransport:
    """Sends to one URL; on failure says what went wrong in words that name the URL."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        compress: bool,
        optional: bool = False,
        papers: Papers | None = None,
    ) -> None:
        """Send to `url`; `optional` is what not every collector takes, and lacks when it says 404."""
        parts = urlsplit(url)
        self._url = url
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port
        self._papers = papers or Papers()
        self._path = parts.path + (f"?{parts.query}" if parts.query else "")
        self._encodings = ["gzip"] if compress else []
        self._may_learn = compress
        self._absent = _ABSENT if optional else frozenset[int]()
        self._headers = {"Content-Type": "application/x-protobuf", **headers}
        self._connection: HTTPConnection | None = None

    def send(self, content: bytes) -> Answer:
        """Post one body, compressed as the other side likes it best."""
        # Here, in the sender's thread: it brings ssl and email. Whoever looks up a host needs the encoding.
        with in_one_piece():
            import encodings.idna  # noqa: F401
            from http.client import HTTPException

        try:
            response = self._post(content)
            while response.status == _ENCODING_UNKNOWN and self._encodings:
                self._encodings.pop()
                self._may_learn = False
                self._drain(response)
                response = self._post(content)
            self._learn(response)
            return self._answer(response)
        except (OSError, HTTPException) as error:
            self.close()
            return self._failure(error)

    def close(self) -> None:
        """Drop the connection; the next body opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _post(self, content: bytes) -> HTTPResponse:
        headers = dict(self._headers)
        if self._encodings:
            content = _COMPRESS[self._encodings[-1]](content)
            headers["Content-Encoding"] = self._encodings[-1]
        reused = self._connection is not None
        try:
            return self._exchange(content, headers)
        except ConnectionError:
            if not reused:
                raise
            # A connection that lay idle may have been closed by the other side: that is no failure.
            self.close()
            return self._exchange(content, headers)

    def _exchange(self, content: bytes, headers: Mapping[str, str]) -> HTTPResponse:
        connection = self._connection = self._connection or self._connect()
        if connection.sock is not None:
            connection.sock.settimeout(TIMEOUT)
        connection.request("POST", self._path, content, headers)
        return connection.getresponse()

    def _connect(self) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPResponse, HTTPSConnection

        def response(sock: socket.socket, *args: Any, **kwargs: Any) -> HTTPResponse:
            return HTTPResponse(_Patient(sock, TIMEOUT), *args, **kwargs)  # type: ignore[arg-type]

        connection = (
            HTTPSConnection(self._host, self._port, timeout=TIMEOUT, context=self._papers.context())
            if self._secure
            else HTTPConnection(self._host, self._port, timeout=TIMEOUT)
        )
        connection.response_class = response  # type: ignore[assignment]
        return connection

    def _learn(self, response: HTTPResponse) -> None:
        # RFC 9110, 12.5.3: in a response it says what requests may be encoded with.
        if self._may_learn and "zstd" in (response.getheader("Accept-Encoding") or "").lower():
            self._may_learn = False
            if _can_zstd():
                self._encodings.append("zstd")

    def _drain(self, response: HTTPResponse) -> bytes:
        said = response.read(_MOST_OF_AN_ANSWER)
        if not response.isclosed():
            self.close()  # there is more than anybody wants to read
        return said

    def _answer(self, response: HTTPResponse) -> Answer:
        said = self._drain(response)
        status = response.status
        if 200 <= status < 300:
            return _accepted(said, self._url)
        again, absent = status not in _REFUSED, status in self._absent
        after = _UNTIL_THERE if absent else _seconds(response.getheader("Retry-After"))
        return Answer(
            accepted=False,
            again=again,
            after=after if again else None,
            absent=absent,
            suspect=status not in _BUSY,
            too_large=status == _TOO_LARGE,
            reason=f"{self._url} answered {status} {response.reason}: {_reason(said)}",
        )

    def _failure(self, error: Exception) -> Answer:
        alone = isinstance(error, ConnectionRefusedError)
        return Answer(
            accepted=False,
            again=True,
            unreachable=alone,
            suspect=not alone,
            reason=f"{self._url}: {str(error) or type(error).__name__}",
        )


class _Patient:
    """A socket as a response reads it: whatever comes bit by bit has to be there in one time."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock = sock
        self._end = time.monotonic() + seconds

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock, self._end))


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, end: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)  # it keeps the socket open for as long as it is read
        self._end = end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _accepted(said: bytes, url: str) -> Answer:
    # ExportTraceServiceResponse.partial_success = 1; in it rejected_spans = 1, error_message = 2.
    rejected, reason = 0, ""
    try:
        for partial in (field for field in fields(said) if field.number == 1):
            for field in fields(partial.content):
                rejected = field.value if field.number == 1 else rejected
                reason = _printable(field.content) if field.number == 2 else reason
    except ValueError:
        return Answer(accepted=True)  # JSON, or nothing that OTLP knows: it said 200
    return Answer(
        accepted=True, rejected=rejected, reason=f"{url} left them out: {reason}" if rejected else ""
    )


def _gzip(content: bytes) -> bytes:
    packer = zlib.compressobj(level=1, wbits=_GZIP)
    return packer.compress(content) + packer.flush()


def _zstd(content: bytes) -> bytes:
    packed: bytes = import_module("compression.zstd").compress(content)
    return packed


def _can_zstd() -> bool:
    try:
        with in_one_piece():
            import_module("compression.zstd")  # in the standard library from Python 3.14 on
    except ImportError:
        return False
    return True


_COMPRESS: Final[Mapping[str, Callable[[bytes], bytes]]] = {"gzip": _gzip, "zstd": _zstd}


def _seconds(retry_after: str | None) -> float | None:
    if retry_after is None:
        return None
    try:
        return min(max(float(retry_after), 0.0), _LONGEST_WAIT)
    except ValueError:
        return _seconds_until(retry_after)


def _seconds_until(date: str) -> float | None:
    from email.utils import mktime_tz, parsedate_tz

    parsed = parsedate_tz(date)
    return None if parsed is None else min(max(mktime_tz(parsed) - time.time(), 0.0), _LONGEST_WAIT)


def _reason(said: bytes) -> str:
    """Return what an error says: OTLP has it as google.rpc.Status, whose message = 2; others send a page."""
    try:
        messages = [field.content for field in fields(said) if field.number == 2]
    except ValueError:
        messages = []
    return _printable(messages[0] if messages else said)


def _printable(body: bytes) -> str:
    text = body[:_MOST_OF_A_REASON].decode("utf-8", "replace")
    return (
        "".join(character if character.isprintable() else " " for character in text).strip() or "(no reason)"
    )
