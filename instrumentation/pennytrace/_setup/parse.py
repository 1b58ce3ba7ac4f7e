"""Reads the values of settings; each function raises ValueError with what was expected, got, and to do."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from pennytrace._attribution.propagation import KEYS

_TRACES: Final = "/v1/traces"
_METRICS: Final = "/v1/metrics"
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_SERVER_NAME: Final = re.compile(r"(\*\.)?[\w-]+(\.[\w-]+)*|[\da-f:]*:[\da-f:]*")
_SHORTEST_KEY: Final = 16
_SIZE: Final = re.compile(r"(\d{1,15})\s*([kmg]?)", re.IGNORECASE)
_SMALLEST_SPOOL: Final = 1024 * 1024  # bytes; a few full requests
OFF: Final = "off"
_YES: Final = frozenset({"1", "true", "yes", "on"})


def is_yes(value: str) -> bool:
    """Tell whether a switch is on; anything but 1, true, yes and on leaves it off."""
    return value.strip().lower() in _YES


def name(value: object) -> str:
    """Read a name: a text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected a name, got {value!r}; give a text, or leave it out")
    return value.strip()


def exact_url(value: object) -> str:
    """Read the URL that spans are posted to."""
    text = value.strip() if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, or out of range
        valid = False
    if not valid:
        raise ValueError(
            f"expected a URL with http:// or https:// and a host, got {value!r};"
            " give for example 'http://127.0.0.1:4318'"
        )
    return text


def traces_url(value: object) -> str:
    """Read a collector's base URL, as OTEL_EXPORTER_OTLP_ENDPOINT has it, and return where spans go."""
    url = exact_url(value).rstrip("/")
    return url if url.endswith(_TRACES) else url + _TRACES


def metrics_url(value: object) -> str:
    """Read a collector's base URL, as `traces_url` does, and return where metrics go."""
    return base_url(exact_url(value).rstrip("/")).removesuffix(_METRICS) + _METRICS


def base_url(url: str) -> str:
    """Return the collector's base URL for the URL that spans go to."""
    return url.removesuffix(_TRACES)


def host(url: str) -> str:
    """Return the host in a URL."""
    return urlsplit(url).hostname or ""


def pairs(value: object) -> tuple[tuple[str, str], ...]:
    """Read `key=value,key=value`, percent-encoded, as in OTEL_RESOURCE_ATTRIBUTES; or a mapping."""
    if isinstance(value, Mapping):
        return tuple((str(key), str(item)) for key, item in value.items())
    found = []
    for part in str(value).split(","):
        key, equals, item = part.partition("=")
        if part.strip() and (not equals or not key.strip()):
            raise ValueError(f"expected key=value, got {part.strip()!r}; separate several with commas")
        if part.strip():
            found.append((unquote(key.strip()), unquote(item.strip())))
    return tuple(found)


def labels(value: object) -> tuple[tuple[str, str], ...]:
    """Read tags given as a mapping."""
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a mapping, got {value!r}; give for example {{'tier': 'gold'}}")
    return pairs(value)


def headers(value: object) -> tuple[tuple[str, str], ...]:
    """Read HTTP headers, in the form of OTEL_EXPORTER_OTLP_HEADERS or as a mapping."""
    try:
        found = pairs(value)
    except ValueError:
        # Nothing is repeated: a token without its header's name stands there as often as not.
        raise ValueError(
            "expected key=value, such as Authorization=Bearer%20TOKEN; got something else, which may be a secret"
        ) from None
    for key, item in found:
        # The value is not repeated in the message: it is a secret as often as not.
        if not _HEADER_NAME.fullmatch(key):
            shown = repr(key) if isinstance(value, Mapping) else "what stands before the first '='"
            raise ValueError(f"{shown} cannot be a header's name; use letters, digits and dashes")
        if not _HEADER_VALUE.fullmatch(item):
            raise ValueError(f"the value of {key!r} has characters that no header may have; remove them")
    return found


def travelling(value: object) -> tuple[str, ...]:
    """Read which tags travel to other services: their names, or `none`; return their attributes."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, Iterable):
        raise ValueError(f"expected names of tags, got {value!r}; give for example 'feature,team', or 'none'")
    wanted = [str(one).strip() for one in names if str(one).strip() not in ("", "none")]
    unknown = [one for one in wanted if one not in KEYS]
    if unknown:
        raise ValueError(f"expected some of {', '.join(KEYS)}, or 'none', got {unknown[0]!r}")
    return tuple(attribute for one, attribute in KEYS.items() if one in wanted)


def server_names(value: object) -> tuple[str, ...]:
    """Read names of servers, or `*.gpu.example.com` for all below a name; `none` is nothing."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, Iterable):
        raise ValueError(
            f"expected names of servers, got {value!r}; give for example 'llm.example.com,*.gpu.example.com', or 'none'"
        )
    wanted = [str(one).strip().lower() for one in names if str(one).strip() not in ("", "none")]
    wrong = [one for one in wanted if not _SERVER_NAME.fullmatch(one)]
    if wrong:
        raise ValueError(
            f"expected the name of a server, without scheme, port and path, got {wrong[0]!r};"
            " give for example 'llm.example.com', or '*.gpu.example.com' for all below"
        )
    return tuple(wanted)


def hash_key(value: object) -> str:
    """Read the secret that user ids are hashed with."""
    text = value.strip() if isinstance(value, str) else ""
    if len(text) < _SHORTEST_KEY:
        # The value is not repeated in the message: it is nearly a secret.
        raise ValueError(
            f"expected a secret of at least {_SHORTEST_KEY} characters, got {len(text)} characters;"
            " give a longer one: until then no user is named at all"
        )
    return text


def queue_size(value: object) -> int:
    """Read the number of calls that may wait to be sent."""
    try:
        size = int(value) if isinstance(value, str | int) else 0
    except ValueError:
        size = 0
    if size < 1:
        raise ValueError(f"expected a whole number of at least 1, got {value!r}")
    return size


def spool(value: object) -> str:
    """Read the folder for what the collector does not take; `off` is returned as it is."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else ""
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ValueError(f"expected a folder, got {value!r}; give its path, or 'off' to have none")
    text = text.strip()
    # Absolute at once: a process that becomes a service changes its working directory.
    return OFF if text.lower() == OFF else os.path.abspath(os.path.expanduser(text))


def spool_size(value: object) -> int:
    """Read a size in bytes, with k, M or G for the powers of 1024."""
    match = _SIZE.fullmatch(str(value).strip()) if isinstance(value, str | int) else None
    size = int(match[1]) * 1024 ** " kmg".index(match[2].lower() or " ") if match else 0
    if size < _SMALLEST_SPOOL:
        raise ValueError(f"expected a size of at least 1M, got {value!r}; give for example '256M'")
    return size


def seconds(value: object) -> float:
    """Read a time to wait."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError(f"expected seconds as a number of at least 0, got {value!r}")
    return float(value)
