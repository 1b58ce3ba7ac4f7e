"""`pennytrace run`: starts any Python program with pennytrace in it, without a change to its code."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pennytrace
from pennytrace.errors import ConfigurationError, PennytraceError

_BOOTSTRAP: Final = Path(pennytrace.__file__).with_name("_bootstrap")
_OPTIONS: Final = {
    "service": "the app's name",
    "environment": "production, staging, ...",
    "endpoint": "the collector's base URL",
    "feature": "what calls count for that nothing in the code assigns to a feature",
    "team": "who owns the app's calls",
}


class Run:
    """The command `run`."""

    name = "run"
    help = "run a Python program and record what its model calls use"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options; each stands for the variable PENNYTRACE_<OPTION>."""
        for option, meaning in _OPTIONS.items():
            parser.add_argument(f"--{option}", help=meaning)
        parser.add_argument("program", nargs=argparse.REMAINDER, help="-- and the program with its arguments")

    def run(self, args: argparse.Namespace) -> int:
        """Become the program: its signals, output and exit status are its own."""
        program = args.program[1:] if args.program[:1] == ["--"] else args.program
        if not program:
            raise ConfigurationError("no program to run; give one: pennytrace run -- python app.py")
        environment = with_pennytrace(os.environ, {option: getattr(args, option) for option in _OPTIONS})
        try:
            os.execvpe(program[0], program, environment)
        except OSError as error:
            raise PennytraceError(f"cannot run {program[0]!r}: {error.strerror}") from None


def with_pennytrace(environment: Mapping[str, str], options: Mapping[str, str | None]) -> dict[str, str]:
    """Return the environment in which a Python program starts with pennytrace in it."""
    ours = {f"PENNYTRACE_{option.upper()}": value for option, value in options.items() if value is not None}
    path = [str(_BOOTSTRAP), *filter(None, [environment.get("PYTHONPATH")])]
    return {**environment, **ours, "PYTHONPATH": os.pathsep.join(path)}


COMMAND = Run()
