"""`pennytrace reprice`: price stored calls again, after showing what that would change."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pennytrace.errors import ConfigurationError
from pennytrace_collectors import storename

if TYPE_CHECKING:
    from pennytrace_collectors.orders import Progress, Selection, Trial

_SAY_EVERY_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Reprice:
    """The sub-command."""

    name: str = "reprice"
    help: str = (
        "price stored calls again by the price list in force, as corrections that keep what was charged"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        add = parser.add_argument
        add("--since", metavar="WHEN", required=True, help="an age (90m, 24h, 7d) or a date, UTC")
        add("--until", metavar="WHEN", help="an age or a date; calls before it [now]")
        add("--model", metavar="NAME", default="", help="as the report shows it; * stands for any characters")
        add("--provider", metavar="NAME", default="", help="likewise")
        add("--feature", metavar="NAME", default="", help="likewise")
        add("--dry-run", action="store_true", help="show the difference and change nothing")
        add("--yes", action="store_true", help="do not ask before correcting")
        add("--note", metavar="TEXT", default="", help="why, for those who read the correction later")
        add("--closed-too", action="store_true", help="correct closed months as well")
        add("--json", action="store_true", help="for machines: every digit; needs --dry-run or --yes")
        add("--state", metavar="DIR", help="the collector's state folder [PENNYTRACE_STATE]")
        storename.declare(add, "the store itself, as for `collect` [PENNYTRACE_STORE]")

    def run(self, args: argparse.Namespace) -> int:
        """Show the difference, ask, correct.

        Raises:
            ConfigurationError: an option cannot be used, or nobody is there to be asked.
            OrderError: it cannot be done: a closed month, another price list, a collector that has stopped.
            NoSpend: there is no store.
        """
        from pennytrace_collectors.orders import RepriceOrder, Terms, TrialOrder, ask, shown
        from pennytrace_collectors.running import state_folder

        if args.json and not (args.dry_run or args.yes):
            raise ConfigurationError("--json needs --dry-run or --yes: nothing can be asked in between")
        selection = _selection(args)
        state, store = state_folder(args.state), storename.given(args)
        found = ask(TrialOrder(selection=selection), state=state, store=store, tell=said("compared"))
        if not args.json:
            shown.write_trial(found, sys.stdout)
        elif args.dry_run:
            shown.write_json(found, sys.stdout)
        if args.dry_run or not (args.json or _is_wanted(found, yes=args.yes, closed_too=args.closed_too)):
            return 0
        terms = Terms(catalog=found.catalog, note=args.note, closed_too=args.closed_too)
        order = RepriceOrder(selection=selection, terms=terms)
        made = ask(order, state=state, store=store, tell=said("corrected"))
        if args.json:
            shown.write_json(made, sys.stdout)
        else:
            shown.write_correction(made, sys.stdout)
        return 0


COMMAND: Final = Reprice()


def said(what: str) -> Callable[[Progress], None]:
    """Tells on standard error how far a long piece of work has come, every few seconds."""
    said_at = time.monotonic()

    def say(progress: Progress) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= _SAY_EVERY_S:
            said_at = time.monotonic()
            done = f"{what} {progress.done:,} of {progress.total:,} calls, up to {progress.at:%Y-%m-%d %H:%M} UTC"
            print(done, file=sys.stderr, flush=True)

    return say


def _selection(args: argparse.Namespace) -> Selection:
    from pennytrace_collectors.orders import Selection
    from pennytrace_collectors.reports.period import read_period

    period = read_period(args.since, args.until, now=datetime.now(UTC))
    return Selection(
        since=period.since,
        until=period.until,
        provider=args.provider,
        model=args.model,
        feature=args.feature,
    )


def _is_wanted(found: Trial, *, yes: bool, closed_too: bool) -> bool:
    """Whether there is anything to correct, and whoever is there wants it corrected."""
    if not found.comparison.changed_calls:
        return False
    # What will be refused need not be asked.
    if yes or (found.closed_months and not closed_too):
        return True
    if not sys.stdin.isatty():
        raise ConfigurationError("nothing was changed: say --yes to correct, where nobody can be asked")
    print("Correct them? [y/N] ", end="", flush=True)
    wanted = sys.stdin.readline().strip().lower() in ("y", "yes")
    if not wanted:
        print("Nothing was changed.")
    return wanted
