"""`pennytrace report`: spend by feature, model or anything else, as a table, JSON or CSV."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final


@dataclass(frozen=True, slots=True)
class Report:
    """The sub-command."""

    name: str = "report"
    help: str = "show spend by feature and model, with its coverage"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        add = parser.add_argument
        add("--by", metavar="NAMES", default="feature,model", help="what to group by [feature,model]")
        add("--since", metavar="WHEN", default="30d", help="an age (90m, 24h, 7d) or a date [30d]")
        add("--until", metavar="WHEN", help="an age or a date [now]")
        add("--original", action="store_true", help="each amount in the currency of its price, not converted")
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="for machines: every digit")
        form.add_argument("--csv", action="store_true", help="for spreadsheets")
        add("--state", metavar="DIR", help="the collector's state folder [PENNYTRACE_STATE]")
        add("--store", metavar="DSN", help="the store itself, as for `collect` [PENNYTRACE_STORE]")

    def run(self, args: argparse.Namespace) -> int:
        """Read the store and print the report.

        Raises:
            ConfigurationError: an option cannot be used.
            NoSpend: there is nothing to read from.
        """
        from pennytrace_collectors.reports import machines, open_reader, read_spend, shown
        from pennytrace_collectors.reports.period import read_period
        from pennytrace_collectors.running import state_folder

        now = datetime.now(UTC)
        period = read_period(args.since, args.until, now=now)
        dimensions = [name.strip() for name in args.by.split(",")]
        reader = open_reader(args.store or os.environ.get("PENNYTRACE_STORE"), state=state_folder(args.state))
        try:
            spend = read_spend(reader, dimensions, period, original=args.original)
        finally:
            reader.close()
        if args.json:
            machines.write_json(spend, sys.stdout)
        elif args.csv:
            machines.write_csv(spend, sys.stdout)
        else:
            shown.write_table(spend, sys.stdout, now=now)
        return 0


COMMAND: Final = Report()
