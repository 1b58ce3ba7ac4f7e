"""Which store a command is told to use: by option, variable or file, and what is said of a password in `ps`."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pennytrace.errors import ConfigurationError

_log = logging.getLogger(__name__)

_VARIABLE: Final = "PENNYTRACE_STORE"
_FILE_VARIABLE: Final = "PENNYTRACE_STORE_FILE"


def declare(add: Callable[..., argparse.Action], what: str) -> None:
    """Declare the options; `what` describes `--store`."""
    add("--store", metavar="DSN", help=what)
    add(
        "--store-file",
        metavar="FILE",
        help=f"a file with the DSN in it, for one with a password [{_FILE_VARIABLE}]",
    )


def given(args: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the DSN that a command was told, options before variables; None when it was told none.

    Raises:
        ConfigurationError: The file cannot be read, or there are two DSNs.
    """
    if args.store and args.store_file:
        raise ConfigurationError("--store and --store-file both name a store: leave one of them out")
    if args.store:
        _warn_of_password(args.store)
        return str(args.store)
    if args.store_file:
        return _read(args.store_file, "--store-file")
    if by_variable := environment.get(_VARIABLE):
        return by_variable
    path = environment.get(_FILE_VARIABLE)
    return _read(path, _FILE_VARIABLE) if path else None


def _warn_of_password(dsn: str) -> None:
    if "@" in dsn and ":" in urlsplit(dsn).netloc.rpartition("@")[0]:
        _log.warning(
            "the password in --store can be read by everybody on this machine in the list of processes; "
            "give the DSN by %s or --store-file",
            _VARIABLE,
        )


def _read(path: str, option: str) -> str:
    try:
        dsn = Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ConfigurationError(f"{option} must name a file that can be read; {path!r}: {reason}") from None
    if not dsn or "\n" in dsn:
        raise ConfigurationError(f"{option}: {path!r} must hold one line, the DSN of a store")
    return dsn
