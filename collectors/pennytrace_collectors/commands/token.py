"""`pennytrace token`: makes tokens and passwords, and says what the access file makes of one."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pennytrace.errors import ConfigurationError

if TYPE_CHECKING:
    from pennytrace_collectors.access import Token, User

_DEFAULT: Final = "access.toml"


@dataclass(frozen=True, slots=True)
class TokenCommand:
    """The sub-command."""

    name: str = "token"
    help: str = "make tokens for apps and passwords for readers, check one"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the actions and the options of each."""
        actions = parser.add_subparsers(dest="action", metavar="action", required=True)
        make = "make one, print it once, and the lines for the access file, which keep only its hash"
        new = actions.add_parser("new", help=make, description=make)
        new.add_argument("token_name", metavar="NAME", help="whose it is, as logs will name it")
        new.add_argument("--user", action="store_true", help="the password of a reader on the SQL port")
        new.add_argument(
            "--stdin",
            action="store_true",
            help="take it from standard input instead: 32 random characters or more",
        )
        new.add_argument("--team", metavar="TEAM", default="", help="what calls sent with it are of")
        new.add_argument("--environment", metavar="NAME", default="", help="the same of the environment")
        tell = "read a token or password from standard input, and say whose it is and what it may do"
        check = actions.add_parser("check", help=tell, description=tell)
        check.add_argument(
            "--access",
            metavar="FILE",
            help=f"the access file [PENNYTRACE_ACCESS; default: {_DEFAULT!r} in the state]",
        )
        check.add_argument("--state", metavar="DIR", help="the collector's state folder [PENNYTRACE_STATE]")

    def run(self, args: argparse.Namespace) -> int:
        """Carry out one action.

        Raises:
            ConfigurationError: A name or a secret cannot be used.
            AccessFileError: The access file cannot be used.
        """
        return _new(args) if args.action == "new" else _check(args)


COMMAND: Final = TokenCommand()


def _new(args: argparse.Namespace) -> int:
    from pennytrace_collectors.access.secret import digest, new_secret, why_unfit

    secret = _from_stdin() if args.stdin else new_secret()
    if why := why_unfit(secret):
        raise ConfigurationError(f"this secret cannot be used: {why}")
    lines = [f"[[{'user' if args.user else 'token'}]]", f'name = "{args.token_name}"']
    lines += [f'{key} = "{value}"' for key in ("team", "environment") if (value := getattr(args, key))]
    lines.append(f'sha256 = "{digest(secret)}"')
    _require_readable("\n".join(lines))
    if not args.stdin:
        what = "password" if args.user else "token"
        print(f"The {what} of {args.token_name}, shown only now:\n\n    {secret}\n")
    print("Add this to the access file; a running collector takes it within seconds:\n")
    print("\n".join(f"    {line}" for line in lines))
    if not args.user and not args.stdin:
        print("\nIts app sends it with:\n\n    PENNYTRACE_HEADERS='Authorization=Bearer TOKEN'")
    return 0


def _check(args: argparse.Namespace) -> int:
    from pennytrace_collectors.access import read_access_file
    from pennytrace_collectors.access.secret import digest, is_among

    path = access_file(args.access, args.state)
    found = read_access_file(path)
    presented = digest(_from_stdin())
    holders: list[Token | User] = [*found.tokens, *found.users]
    for holder in holders:
        if is_among(presented, holder.sha256):
            print(_described(holder))
            return 0
    print(f"{path} has no token and no user with it")
    return 1


def access_file(given: str | None, state: str | None) -> Path:
    """Return the path of the access file: as given, by its variable, or in the state folder."""
    from pennytrace_collectors.running import state_folder

    chosen = given or os.environ.get("PENNYTRACE_ACCESS")
    return Path(chosen).expanduser() if chosen else state_folder(state) / _DEFAULT


def _described(holder: Token | User) -> str:
    from pennytrace_collectors.access.entries import is_over

    parts = [f"{holder.table} {holder.name}"]
    for key, value in holder:
        if key not in ("name", "sha256") and value not in ("", None):
            parts.append(f"{key} {value}")
    return ", ".join(parts) + (": expired" if is_over(holder.valid_to) else "")


def _require_readable(text: str) -> None:
    """Read the lines as the collector will, so that nothing is printed that it would not take."""
    import tempfile

    from pennytrace_collectors.access import read_access_file
    from pennytrace_collectors.errors import AccessFileError

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / _DEFAULT
        path.write_text(text, "utf-8")
        try:
            read_access_file(path)
        except AccessFileError as error:
            raise ConfigurationError(str(error).replace(f"{path}:", "line ")) from None


def _from_stdin() -> str:
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass("secret: ").strip()
    return sys.stdin.readline().strip()
