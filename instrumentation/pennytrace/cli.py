"""The `pennytrace` command: finds its sub-commands by entry point and runs one."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from pennytrace._version import __version__
from pennytrace.command import Command
from pennytrace.errors import PennytraceError

GROUP = "pennytrace.commands"
_DESCRIPTION = "Trace every penny an LLM application spends."
_EXTRA_OF_PACKAGE = {"pennytrace_collectors": "collector", "pennytrace_dashboards": "dashboards"}

_FAILED, _USAGE, _INTERRUPTED, _BROKEN_PIPE = 1, 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; `argv` defaults to the process's own arguments."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _dispatch(arguments, _discover())
        sys.stdout.flush()
    except PennytraceError as error:
        return _complain(f"error: {error}", status=_FAILED)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return _BROKEN_PIPE
    return status


@dataclass(frozen=True, slots=True)
class _Unavailable:
    """Stands in for a command that cannot be loaded, so that it is listed and says why."""

    name: str
    help: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare nothing: what its options are is not known."""

    def run(self, args: argparse.Namespace) -> int:
        return _complain(f"'{self.name}' {self.help}", status=_USAGE)


def _discover() -> Mapping[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _dispatch(arguments: Sequence[str], entries: Mapping[str, EntryPoint]) -> int:
    parser = _parser(arguments, entries)
    args, unknown = parser.parse_known_args(arguments)
    command: Command | None = getattr(args, "command", None)
    if unknown and not isinstance(command, _Unavailable):
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if command is None:
        parser.print_help()
        return _USAGE
    try:
        return command.run(args)
    except ModuleNotFoundError as error:
        # A command imports its heavy parts when it runs; that is when a missing extra shows.
        return _stand_in(entries[command.name], error).run(args)


def _parser(arguments: Sequence[str], entries: Mapping[str, EntryPoint]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pennytrace", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"pennytrace {__version__}")
    choices = parser.add_subparsers(metavar="command", title="commands")
    for name in _wanted(arguments, entries):
        command = _load(entries[name])
        child = choices.add_parser(name, help=command.help, description=command.help)
        child.set_defaults(command=command)
        command.add_arguments(child)
    return parser


def _wanted(arguments: Sequence[str], entries: Mapping[str, EntryPoint]) -> Sequence[str]:
    # Only the command that was typed is loaded: `pennytrace run` must not pay for the collector's imports.
    if arguments and arguments[0] in entries:
        return [arguments[0]]
    return sorted(entries)


def _load(entry: EntryPoint) -> Command:
    try:
        command: Command = entry.load()
    except ImportError as error:
        return _stand_in(entry, error)
    return command


def _stand_in(entry: EntryPoint, error: ImportError) -> _Unavailable:
    extra = _EXTRA_OF_PACKAGE.get(_package(entry))
    missing = (error.name or "").partition(".")[0]
    if extra is None or missing in {"pennytrace", *_EXTRA_OF_PACKAGE}:
        return _Unavailable(entry.name, f"cannot be loaded: {error}")
    return _Unavailable(entry.name, f"needs: pip install 'pennytrace[{extra}]'")


def _package(entry: EntryPoint) -> str:
    return entry.module.partition(".")[0]


def _complain(message: str, *, status: int) -> int:
    print(f"pennytrace: {message}", file=sys.stderr)  # noqa: T201 - standard error is where it belongs
    return status


def _silence_stdout() -> None:
    # Python flushes stdout at exit and would complain about the closed pipe once more.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
