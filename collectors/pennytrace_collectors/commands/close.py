"""`pennytrace close`: record what a month came to, so that its calls keep their prices; list the closed months."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Final

from pennytrace.errors import ConfigurationError
from pennytrace_collectors import storename


@dataclass(frozen=True, slots=True)
class Close:
    """The sub-command."""

    name: str = "close"
    help: str = "close a month: what it came to is kept, and its calls are priced again only on demand"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        add = parser.add_argument
        add("month", metavar="MONTH", nargs="?", help="such as 2026-10, in UTC")
        add("--list", action="store_true", help="show the closed months, and what has come or changed since")
        add("--note", metavar="TEXT", default="", help="for those who read the list later")
        add("--json", action="store_true", help="for machines: every digit")
        add("--state", metavar="DIR", help="the collector's state folder [PENNYTRACE_STATE]")
        storename.declare(add, "the store itself, as for `collect` [PENNYTRACE_STORE]")

    def run(self, args: argparse.Namespace) -> int:
        """Close a month, or list those that are.

        Raises:
            ConfigurationError: neither a month nor --list is given, or both are.
            OrderError: the month cannot be closed.
            NoSpend: there is no store.
        """
        from pennytrace_collectors.orders import CloseOrder, MonthsOrder, ask, shown
        from pennytrace_collectors.running import state_folder

        if args.list == bool(args.month):
            raise ConfigurationError("give the month to be closed, such as 2026-10, or --list")
        order = MonthsOrder() if args.list else CloseOrder(month=args.month, note=args.note)
        store = storename.given(args)
        months = ask(order, state=state_folder(args.state), store=store)
        if args.json:
            shown.write_json(months, sys.stdout)
        elif args.list:
            shown.write_months(months, sys.stdout)
        else:
            shown.write_closed(months, sys.stdout)
        return 0


COMMAND: Final = Close()
