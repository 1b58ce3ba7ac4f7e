"""A spend report as people and machines want it: a table, JSON, CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TextIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pennytrace_collectors.reports.spend import Comparison, Loss, Row, Spend, Unpriced

_BAR: Final = 12
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_UNPRICED_SHOWN: Final = 5


def write_json(spend: Spend, out: TextIO) -> None:
    """Write the report as one JSON object; money is a decimal string, unknown money null."""
    price_list = spend.price_list
    document = {
        "since": spend.period.since.isoformat(),
        "until": spend.period.until.isoformat(),
        "rows": [_record(row, spend.dimensions) for row in spend.rows],
        "totals": [_record(row, ()) for row in spend.totals],
        "unpriced": [
            {
                "provider": u.provider,
                "model": u.model,
                "reason": u.reason,
                "calls": u.calls,
                "tokens": u.tokens,
            }
            for u in spend.unpriced
        ],
        "lost": [
            {
                "service": loss.service,
                "environment": loss.environment,
                "reason": loss.reason,
                "calls": loss.calls,
            }
            for loss in spend.losses
        ],
        "reported": {
            "calls": spend.compared.calls,
            "reported_cost": exact(spend.compared.reported),
            "computed_cost": exact(spend.compared.computed),
            "currency": "USD",
        },
        "price_list": price_list
        and {"identity": price_list.identity, "newest_price": price_list.newest_price.date().isoformat()},
    }
    json.dump(document, out, indent=2, ensure_ascii=False)
    out.write("\n")


def write_csv(spend: Spend, out: TextIO) -> None:
    """Write one line a row, with a header."""
    fields = [*spend.dimensions, "calls", "input_tokens", "output_tokens", "cost", "currency"]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*fields, "calls_priced", "tokens_priced"])
    for row in spend.rows:
        record = _record(row, spend.dimensions)
        coverage = record["coverage"]
        cells = [record[field] for field in fields] + [coverage["calls"], coverage["tokens"]]
        writer.writerow(["" if cell is None else _no_formula(cell) for cell in cells])


def write_table(spend: Spend, out: TextIO, *, now: datetime) -> None:
    """Write a table for a terminal: bars, totals, and the coverage of what it says."""
    console = Console(file=out, highlight=False, width=None if out.isatty() else 120)
    console.print(page(spend, now=now))


def page(spend: Spend, *, now: datetime) -> RenderableType:
    """The report as rich draws it."""
    return Group(_table(spend), *_notes(spend, now))


def money(amount: Decimal | None, *, decimals: int) -> str:
    """An amount for people: grouped, to a number of decimals; a question mark when it is not known."""
    if amount is None:
        return "?"
    if 0 < amount < Decimal(1).scaleb(-decimals):
        return f"< {Decimal(1).scaleb(-decimals):f}"
    return f"{amount:,.{decimals}f}"


def decimals_for(amounts: Iterable[Decimal | None]) -> int:
    """How many decimals a column of money needs, so that its largest amount shows at least four digits: 2 to 9."""
    largest = max((amount for amount in amounts if amount is not None), default=Decimal(0))
    return max(2, min(9, 3 - largest.adjusted())) if largest else 2


def exact(amount: Decimal | None) -> str | None:
    """An amount for machines: every digit, no exponent, no trailing zeros."""
    if amount is None:
        return None
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def lost(loss: Loss) -> str:
    """What an app says that it could not keep, in one line."""
    calls = "1 call was" if loss.calls == 1 else f"{loss.calls:,} calls were"
    where = f" in {loss.environment}" if loss.environment else ""
    return f"{calls} lost by {loss.service or 'an app'}{where}: {loss.reason or 'no reason given'}"


def _record(row: Row, dimensions: tuple[str, ...]) -> dict[str, Any]:
    coverage = row.coverage
    return {
        **dict(zip(dimensions, row.key, strict=True)),
        "calls": coverage.calls,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cost": exact(row.cost),
        "currency": row.currency,
        "coverage": {
            "calls": exact(coverage.share_of_calls),
            "tokens": exact(coverage.share_of_tokens),
            "partly_priced_calls": coverage.partly_priced_calls,
            "unpriced_calls": coverage.unpriced_calls,
            "estimated_calls": coverage.estimated_calls,
        },
    }


def _table(spend: Spend) -> Table:
    table = Table(
        title=_title(spend),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_footer=True,
    )
    totals, currency = spend.totals, _only_currency(spend)
    decimals = decimals_for(row.cost for row in spend.rows)
    for position, dimension in enumerate(spend.dimensions):
        table.add_column(dimension, footer="total" if position == 0 else "", overflow="fold")
    for name, values in (
        ("calls", [f"{row.coverage.calls:,}" for row in totals]),
        ("input tokens", [f"{row.input_tokens:,}" for row in totals]),
        ("output tokens", [f"{row.output_tokens:,}" for row in totals]),
        (f"cost, {currency}" if currency else "cost", [_amount(row, currency, decimals) for row in totals]),
    ):
        table.add_column(name, footer="\n".join(values), justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, width=_BAR)
    priced = [_percent(row.coverage.share_of_calls) for row in totals]
    table.add_column("priced", footer="\n".join(priced), justify="right", no_wrap=True)
    largest = max((row.cost or Decimal(0) for row in spend.rows), default=Decimal(0))
    for row in spend.rows:
        table.add_row(
            *(Text(part or "(none)") for part in row.key),
            f"{row.coverage.calls:,}",
            f"{row.input_tokens:,}",
            f"{row.output_tokens:,}",
            _amount(row, currency, decimals),
            Text(_bar(row.cost or Decimal(0), largest), style="cyan"),
            _percent(row.coverage.share_of_calls),
        )
    return table


def _only_currency(spend: Spend) -> str | None:
    """The currency of all amounts, to be named once; None when there are several."""
    return spend.totals[0].currency if len(spend.totals) == 1 else None


def _title(spend: Spend) -> str:
    since, until = (moment.strftime("%Y-%m-%d %H:%M") for moment in (spend.period.since, spend.period.until))
    return f"LLM spend by {', '.join(spend.dimensions)}, {since} to {until} UTC"


def _notes(spend: Spend, now: datetime) -> Iterator[Text]:
    for total in spend.totals:
        coverage = total.coverage
        yield Text(
            f"Coverage: {_percent(coverage.share_of_calls)} of {coverage.calls:,} calls and "
            f"{_percent(coverage.share_of_tokens)} of {coverage.tokens:,} tokens are priced; "
            f"usage estimated for {coverage.estimated_calls:,}, partly priced {coverage.partly_priced_calls:,}, "
            f"unpriced {coverage.unpriced_calls:,}."
        )
    for loss in spend.losses:
        yield Text(f"  not in the sums: {lost(loss)}", style="red")
    if spend.compared.reported != spend.compared.computed:
        yield Text(f"  {_difference(spend.compared)}", style="yellow")
    for unpriced in spend.unpriced[:_UNPRICED_SHOWN]:
        yield Text(f"  {_why(unpriced)}", style="yellow")
    if len(spend.unpriced) > _UNPRICED_SHOWN:
        yield Text(f"  and {len(spend.unpriced) - _UNPRICED_SHOWN} more: see --json", style="yellow")
    if not spend.rows:
        yield Text("No calls in this period.")
    if spend.price_list:
        newest = spend.price_list.newest_price.date()
        age = (now.date() - newest).days
        yield Text(
            f"Prices: {spend.price_list.identity}; its newest price is of {newest.isoformat()}, {age} days ago.",
            style="dim",
        )


def _why(unpriced: Unpriced) -> str:
    model = unpriced.model or "(no model)"
    calls = "1 call" if unpriced.calls == 1 else f"{unpriced.calls:,} calls"
    return f"not fully priced: {calls}, {unpriced.tokens:,} tokens of {unpriced.provider}/{model}: {unpriced.reason}"


def _difference(compared: Comparison) -> str:
    decimals = decimals_for([compared.reported, compared.computed])
    calls = "1 call" if compared.calls == 1 else f"{compared.calls:,} calls"
    return (
        f"the provider states {money(compared.reported, decimals=decimals)} USD for {calls} "
        f"that are {money(compared.computed, decimals=decimals)} USD in the sums"
    )


def _amount(row: Row, named: str | None, decimals: int) -> str:
    amount = money(row.cost, decimals=decimals)
    return f"{amount} {row.currency}" if row.currency and not named else amount


def _percent(share: Decimal) -> str:
    return f"{exact(share * 100)} %"


def _bar(part: Decimal, whole: Decimal) -> str:
    eighths = int(part * _BAR * 8 / whole) if whole else 0
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def _no_formula(cell: object) -> object:
    """A text that a spreadsheet would run as a formula is quoted."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@") else cell
