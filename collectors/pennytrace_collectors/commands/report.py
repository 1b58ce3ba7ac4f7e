"""`pennytrace report`: spend by feature, model or anything else, or that of GPUs, as a table, JSON or CSV."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pennytrace.errors import ConfigurationError
from pennytrace_collectors import storename

if TYPE_CHECKING:
    from pennytrace_collectors.reports import Period, Reader

_BY: Final = {False: "feature,model", True: "feature"}
"""What is grouped by when nothing is said, of an ordinary report and of one of GPUs."""


@dataclass(frozen=True, slots=True)
class Report:
    """The sub-command."""

    name: str = "report"
    help: str = "show spend by feature and model, with its coverage"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        add = parser.add_argument
        add("--by", metavar="NAMES", help="what to group by [feature,model; with --gpu: feature]")
        add("--since", metavar="WHEN", default="30d", help="an age (90m, 24h, 7d) or a date [30d]")
        add("--until", metavar="WHEN", help="an age or a date [now]")
        add("--original", action="store_true", help="each amount in the currency of its price, not converted")
        add(
            "--gpu",
            action="store_true",
            help="GPUs: pools, the models on them, utilisation, idle time, prices per token",
        )
        add(
            "--idle",
            choices=("proportional", "even", "none"),
            help="how --gpu shares out idle time [proportional]",
        )
        add(
            "--against",
            metavar="RATE_CARD",
            help="what --gpu compares models with, such as openai/gpt-4o-mini",
        )
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="for machines: every digit")
        form.add_argument("--csv", action="store_true", help="for spreadsheets")
        add("--state", metavar="DIR", help="the collector's state folder [PENNYTRACE_STATE]")
        storename.declare(add, "the store itself, as for `collect` [PENNYTRACE_STORE]")

    def run(self, args: argparse.Namespace) -> int:
        """Read the store and print the report.

        Raises:
            ConfigurationError: an option cannot be used.
            NoSpend: there is nothing to read from.
        """
        from pennytrace_collectors.reports import open_reader
        from pennytrace_collectors.reports.period import read_period
        from pennytrace_collectors.running import state_folder

        _refuse_mixed(args)
        now = datetime.now(UTC)
        period = read_period(args.since, args.until, now=now)
        dimensions = [name.strip() for name in (args.by or _BY[args.gpu]).split(",")]
        reader = open_reader(storename.given(args), state=state_folder(args.state))
        with closing(reader):
            write = _of_gpus if args.gpu else _of_spend
            write(args, reader, dimensions, period)
        return 0


def _refuse_mixed(args: argparse.Namespace) -> None:
    if args.gpu and args.original:
        raise ConfigurationError("--gpu shows every amount in the currency of its rate: leave out --original")
    if not args.gpu and (args.idle or args.against):
        raise ConfigurationError("--idle and --against are for --gpu: add it")


def _of_spend(args: argparse.Namespace, reader: Reader, dimensions: list[str], period: Period) -> None:
    from pennytrace_collectors.reports import machines, read_spend, shown

    spend = read_spend(reader, dimensions, period, original=args.original)
    if args.json:
        machines.write_json(spend, sys.stdout)
    elif args.csv:
        machines.write_csv(spend, sys.stdout)
    else:
        shown.write_table(spend, sys.stdout, now=datetime.now(UTC))


def _of_gpus(args: argparse.Namespace, reader: Reader, dimensions: list[str], period: Period) -> None:
    from pennytrace_collectors.reports import gpu, gpu_machines, gpu_shown

    report = gpu.read_gpu(
        reader, dimensions, period, policy=args.idle or "proportional", against=args.against
    )
    if args.json:
        gpu_machines.write_json(report, sys.stdout)
    elif args.csv:
        gpu_machines.write_csv(report, sys.stdout)
    else:
        gpu_shown.write_table(report, sys.stdout)


COMMAND: Final = Report()
