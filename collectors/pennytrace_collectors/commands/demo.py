"""`pennytrace demo`: reads the options and plays the demonstration."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pennytrace.errors import ConfigurationError

_MODEL: Final = "gpt-4o-mini"


@dataclass(frozen=True, slots=True)
class Demo:
    """The sub-command."""

    name: str = "demo"
    help: str = "try everything in a minute: a sample shop, a simulated provider, the report"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        add = parser.add_argument
        add(
            "--out",
            metavar="DIR",
            type=Path,
            default=Path("demo-output"),
            help="the demo's folder; a new run begins afresh in it [%(default)s]",
        )
        add("--calls", metavar="N", type=_calls, help="how many calls to make [300, with --real 7]")
        add("--keep", action="store_true", help="leave everything running until Ctrl-C")
        add(
            "--real",
            action="store_true",
            help="call your own endpoint (OPENAI_API_KEY, OPENAI_BASE_URL) instead of the simulated provider; "
            "these few calls cost money",
        )
        add("--model", metavar="NAME", help=f"the model for --real [{_MODEL}]")

    def run(self, args: argparse.Namespace) -> int:
        """Play the demo; nothing that it has started is left afterwards.

        Raises:
            ConfigurationError: `--real` lacks an endpoint, or `--model` lacks `--real`.
            DemoError: It cannot go on.
        """
        from pennytrace_collectors.demo.needs import check_packages

        check_packages()
        if args.model and not args.real:
            raise ConfigurationError("--model is for --real: the simulated shop has a model for each feature")
        from pennytrace_collectors.demo.course import Wish, play
        from pennytrace_collectors.demo.screen import Screen

        wish = Wish(
            out=args.out.expanduser().absolute(),
            keep=args.keep,
            real=args.real,
            model=args.model or _MODEL,
            calls=args.calls,
        )
        play(wish, Screen())
        return 0


COMMAND: Final = Demo()


def _calls(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text) <= 100_000:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a number of calls from 1 to 100000, got {text!r}")
