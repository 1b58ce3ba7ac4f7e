"""Reads a price-data file from a path or a URL, within a size and a time."""

from __future__ import annotations

import time
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from pennytrace._version import __version__
from pennytrace_collectors.errors import PriceDataError

LIMIT_BYTES: Final = 64 * 1024 * 1024
"""Many times what genai-prices publishes (1.5 MB in 2026): more is a mistake."""
_CHUNK: Final = 64 * 1024
_STEP_S: Final = 10.0
"""How long a server may be silent."""
_WHOLE_S: Final = 60.0
"""How long everything may take, so that a server that drips cannot hold the command for ever."""


def read(source: str, *, limit: int = LIMIT_BYTES, within_s: float = _WHOLE_S) -> bytes:
    """The bytes at a path or an http(s) URL.

    Raises:
        PriceDataError: they cannot be had, are more than the limit, or take too long.
    """
    if "://" in source:
        return _download(_url(source), limit, within_s)
    path = Path(source).expanduser()
    try:
        if not path.is_file():
            raise PriceDataError(f"no such file: {str(path)!r}; give a file or an http(s) URL")
        with path.open("rb") as file:
            return _within(file.read(limit + 1), limit, str(path))
    except OSError as error:
        raise PriceDataError(f"cannot read {str(path)!r}: {error.strerror}") from error


def shown(source: str) -> str:
    """A source as it may be kept and printed: an absolute path, or a URL without its user, password and query."""
    if "://" not in source:
        return str(Path(source).expanduser().absolute())
    parts = urlsplit(source)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class _HttpOnly(HTTPRedirectHandler):
    """Follows a redirect to https, or from http to http: never to ftp, and never from https down."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme != "https" and (scheme != "http" or req.type == "https"):
            raise PriceDataError(
                f"{shown(req.full_url)} redirects to {shown(newurl)!r}, which is not followed"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname
    except ValueError:
        usable = None
    if not usable:
        raise PriceDataError(f"cannot read {text.rpartition('@')[2]!r}: give a file or an http(s) URL")
    return text


def _download(url: str, limit: int, within_s: float) -> bytes:
    place = shown(url)
    request = Request(url, headers={"User-Agent": f"pennytrace/{__version__}", "Accept": "application/json"})
    deadline = time.monotonic() + within_s
    try:
        with build_opener(_HttpOnly).open(request, timeout=min(_STEP_S, within_s)) as answer:
            body = bytearray()
            while chunk := answer.read1(_CHUNK):
                body += chunk
                if len(body) > limit:
                    break
                if time.monotonic() > deadline:
                    raise PriceDataError(
                        f"{place} takes longer than {within_s:g} s; download it, and give the file"
                    )
            _complete(answer.headers.get("Content-Length"), len(body), place, limit)
            return _within(bytes(body), limit, place)
    except HTTPError as error:
        with error:
            raise PriceDataError(f"{place} answers {error.code} {error.reason}") from error
    except (URLError, OSError, HTTPException, ValueError) as error:
        cause = error.reason if isinstance(error, URLError) else error
        raise PriceDataError(f"cannot read {place}: {cause or type(cause).__name__}") from error


def _complete(announced: str | None, got: int, place: str, limit: int) -> None:
    # http.client ends a read1 loop without a word when the connection is lost early.
    if announced is not None and announced.isdigit() and got < int(announced) and got <= limit:
        raise PriceDataError(f"{place} broke off after {got:,} of {int(announced):,} bytes; try again")


def _within(body: bytes, limit: int, place: str) -> bytes:
    if len(body) > limit:
        raise PriceDataError(f"{place} is larger than {limit:,} bytes: that is no price data of genai-prices")
    return body
