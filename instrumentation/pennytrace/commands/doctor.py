"""`pennytrace doctor`: looks at everything between an app and its numbers, and says what to do."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from pennytrace._setup import checks
from pennytrace.finding import Finding

GROUP: Final = "pennytrace.checks"
_MARKS: Final = {"ok": "ok", "warning": "warn", "failure": "FAIL"}

Check = Callable[[], Sequence[Finding]]


class Doctor:
    """The command `doctor`."""

    name = "doctor"
    help = "check what is installed, wrapped, reachable and priced, and say what to do"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="print the findings as JSON")

    def run(self, args: argparse.Namespace) -> int:
        """Print the findings; the status is 1 when one of them is a failure."""
        findings = list(_findings())
        if args.json:
            print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
        else:
            print(_table(findings))
        return 1 if any(finding.state == "failure" for finding in findings) else 0


def _findings() -> Iterator[Finding]:
    for check in checks.CHECKS:
        yield from check()
    for entry in sorted(entry_points(group=GROUP)):
        yield from _ask(entry)


def _ask(entry: EntryPoint) -> Sequence[Finding]:
    try:
        check: Check = entry.load()
    except ImportError as error:
        return [Finding(area=entry.name, state="ok", what=f"not installed ({error})")]
    return check()


def _table(findings: Sequence[Finding]) -> str:
    width = max(len(finding.area) for finding in findings)
    return "\n".join(line for finding in findings for line in _lines(finding, width))


def _lines(finding: Finding, width: int) -> Iterator[str]:
    yield f"{_MARKS[finding.state]:<5} {finding.area:<{width}}  {finding.what}"
    if finding.advice:
        yield f"{'':<5} {'':<{width}}  -> {finding.advice}"


COMMAND = Doctor()
