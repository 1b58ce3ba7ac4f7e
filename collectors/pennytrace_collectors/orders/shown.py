"""Answers to orders as people and machines want them: tables and sentences, or JSON with every digit."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any, Final, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pennytrace_collectors.orders.order import Answer, Months
from pennytrace_collectors.reports.amounts import counted, decimals_for, exact, money
from pennytrace_collectors.store.comparison import Comparison, StatusChange, Total
from pennytrace_collectors.store.months import ClosedMonth, MonthTotals
from pennytrace_collectors.store.reprice import Correction
from pennytrace_collectors.store.trial import Trial

_PRECISION: Final = 76  # of the store's widest decimal
_UNKNOWN: Final = "?"  # what has no price is not free


def write_json(answer: Answer, out: TextIO) -> None:
    """Write an answer as one JSON object; money is a decimal string."""
    json.dump(record(answer), out, indent=2, ensure_ascii=False)
    out.write("\n")


def record(answer: Answer) -> Any:
    """An answer as it is written in JSON, to be put into a larger document."""
    return _plain(answer)


def write_trial(found: Trial, out: TextIO) -> None:
    """Write what a price list would change."""
    console = _console(out)
    if found.comparison.changed_calls:
        console.print(_differences(found.comparison, would="would be"))
    for line in _summary(found):
        console.print(line)


def write_correction(made: Correction, out: TextIO) -> None:
    """Write what was corrected."""
    console = _console(out)
    comparison = made.comparison
    console.print(
        Text(f"Corrected {counted(comparison.changed_calls)} of {made.calls:,} as {made.correction}.")
    )
    for line in _amounts(comparison, would="is"):
        console.print(line)
    console.print(
        Text(
            "Both prices stay: view `corrections_made` has them side by side, `charged` what was charged first."
        )
    )


def write_closed(months: Months, out: TextIO) -> None:
    """Write what a month came to that has just been closed."""
    console = _console(out)
    for month in months.months:
        console.print(Text(f"Closed {month.month}: {_totals(month.closed)}."))
        for warning in _warnings(month.closed):
            console.print(Text(f"  {warning}", style="yellow"))


def write_months(months: Months, out: TextIO) -> None:
    """Write all closed months, with what has come or changed since."""
    console = _console(out)
    if not months.months:
        console.print("No month is closed.")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading, side in (
        ("month", "left"),
        ("closed at, UTC", "left"),
        ("came to", "left"),
        ("since then", "left"),
    ):
        table.add_column(heading, justify=side, overflow="fold")  # type: ignore[arg-type]
    for month in months.months:
        note = f" ({month.note})" if month.note else ""
        closed_at = f"{month.closed_at:%Y-%m-%d %H:%M}"
        table.add_row(month.month, closed_at, Text(_totals(month.closed) + note), Text(_since(month)))
    console.print(table)


def _console(out: TextIO) -> Console:
    return Console(file=out, highlight=False, width=None if out.isatty() else 120)


def _differences(comparison: Comparison, *, would: str) -> Table:
    several = len(comparison.totals) > 1
    named = "" if several or not comparison.totals else f", {comparison.totals[0].currency}"
    amounts = [abs(one.difference) for one in comparison.differences]
    decimals = decimals_for(amounts)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=True)
    table.add_column("feature", footer="total", overflow="fold")
    table.add_column("model", overflow="fold")
    if several:
        table.add_column("", footer="\n".join(total.currency for total in comparison.totals))
    table.add_column("calls", footer=f"{comparison.changed_calls:,}", justify="right", no_wrap=True)
    for heading, values in (
        (f"was{named}", [money(total.was, decimals=decimals) for total in comparison.totals]),
        (would, [money(total.would_be, decimals=decimals) for total in comparison.totals]),
        ("difference", [_signed(total.difference, decimals) for total in comparison.totals]),
    ):
        table.add_column(heading, footer="\n".join(values), justify="right", no_wrap=True)
    for one in comparison.differences:
        table.add_row(
            Text(one.feature or "(none)"),
            Text(f"{one.provider}/{one.model}"),
            *([one.currency] if several else []),
            f"{one.calls:,}",
            _UNKNOWN if one.newly_priced == one.calls else money(one.was, decimals=decimals),
            _UNKNOWN if one.no_longer_priced == one.calls else money(one.would_be, decimals=decimals),
            _signed(one.difference, decimals),
        )
    return table


def _summary(found: Trial) -> Iterator[Text]:
    comparison = found.comparison
    if not comparison.changed_calls:
        yield Text(f"Nothing differs: the price list would change nothing about {counted(found.calls)}.")
    else:
        yield Text(f"{counted(comparison.changed_calls)} of {found.calls:,} would change.")
    yield from _amounts(comparison, would="would be")
    if found.closed_months and comparison.changed_calls:
        yield Text(
            f"  closed: {', '.join(found.closed_months)}; applying this needs --closed-too", style="yellow"
        )
    yield Text(f"Prices: {found.catalog}.", style="dim")


def _amounts(comparison: Comparison, *, would: str) -> Iterator[Text]:
    converted = comparison.billed if _are_converted(comparison) else ()
    for total in (*comparison.totals, *converted):
        yield Text(f"  {total.currency}: {_change(total, would)}")
    for change in comparison.status_changes:
        yield Text(f"  {_status(change)}", style="yellow" if change.would_be == "unpriced" else "")


def _are_converted(comparison: Comparison) -> bool:
    return {total.currency for total in comparison.billed} - {
        total.currency for total in comparison.totals
    } != set()


def _change(total: Total, would: str) -> str:
    decimals = decimals_for([abs(total.difference)])
    return (
        f"was {money(total.was, decimals=decimals)}, {would} {money(total.would_be, decimals=decimals)}, "
        f"a difference of {_signed(total.difference, decimals)}"
    )


def _status(change: StatusChange) -> str:
    reason = f" ({change.reason})" if change.reason else ""
    return f"{counted(change.calls)}: {_words(change.was)} to {_words(change.would_be)}{reason}"


def _words(status: str) -> str:
    return status.replace("_", " ")


def _signed(amount: Decimal, decimals: int) -> str:
    if 0 < abs(amount) < Decimal(1).scaleb(-decimals):
        return f"{'-' if amount < 0 else '+'}{money(abs(amount), decimals=decimals)}"
    return f"{amount:+,.{decimals}f}"


def _totals(totals: MonthTotals) -> str:
    amounts = _money(totals.costs)
    if set(totals.billed_costs) != set(totals.costs):
        amounts += f" (in the reports {_money(totals.billed_costs)})"
    priced = totals.calls - totals.unpriced_calls - totals.partly_priced_calls
    share = f", {priced * 10_000 // totals.calls / 100:g} % of them priced" if totals.calls else ""
    return f"{counted(totals.calls)}{share}, {amounts}"


def _money(costs: Mapping[str, Decimal]) -> str:
    return (
        " + ".join(
            f"{money(cost, decimals=decimals_for([cost]))} {name}" for name, cost in sorted(costs.items())
        )
        or "no cost"
    )


def _warnings(totals: MonthTotals) -> Iterator[str]:
    for calls, what in (
        (totals.unpriced_calls, "without a price, so not in the cost: `pennytrace report` says which"),
        (totals.partly_priced_calls, "priced only in part"),
        (totals.estimated_calls, "with estimated usage"),
        (totals.unconverted_calls, "without an exchange rate to the currency of the reports"),
    ):
        if calls:
            yield f"{counted(calls)} {what}"


def _since(month: ClosedMonth) -> str:
    parts = []
    if month.arrived_calls:
        parts.append(f"{counted(month.arrived_calls)} arrived")
    if month.corrected_calls:
        parts.append(f"{counted(month.corrected_calls)} corrected")
    differences = _difference(month.closed.costs, month.now.costs)
    if differences:
        parts.append(f"now {_totals(month.now)} ({', '.join(differences)})")
    return "; ".join(parts) or "nothing"


def _difference(then: Mapping[str, Decimal], now: Mapping[str, Decimal]) -> list[str]:
    with localcontext(prec=_PRECISION):
        changes = {
            name: now.get(name, Decimal(0)) - then.get(name, Decimal(0)) for name in sorted({*then, *now})
        }
    return [
        f"{_signed(change, decimals_for([abs(change)]))} {name}" for name, change in changes.items() if change
    ]


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return exact(value)
        case datetime():
            return value.isoformat()
        case Path():
            return str(value)
        case Mapping():
            return {name: _plain(part) for name, part in value.items()}
        case str() | int() | None:
            return value
        case _ if dataclasses.is_dataclass(value):
            return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        case Iterable():
            return [_plain(part) for part in value]
        case _:
            raise TypeError(f"no JSON for {type(value).__name__}")
