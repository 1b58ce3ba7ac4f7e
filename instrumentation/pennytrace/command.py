"""What a sub-command of `pennytrace` has to offer."""

from __future__ import annotations

import argparse
from typing import Protocol


class Command(Protocol):
    """A sub-command, found by the entry-point group `pennytrace.commands`.

    Keep its module light: heavy imports belong inside `run`, so that `pennytrace --help` stays quick.
    """

    @property
    def name(self) -> str:
        """The word typed after `pennytrace`; equals the entry point's name."""
        ...

    @property
    def help(self) -> str:
        """One line for `pennytrace --help`."""
        ...

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options of this command on its own parser."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Do the work and return the process's exit status.

        Raises:
            PennytraceError: Anything that the person at the keyboard can put right; its message is shown and
                the exit status is 1.
        """
        ...
