"""A spend report for people: a table with bars and totals, and below it what is not in it and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, TextIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pennytrace_collectors.reports import gpu_shown
from pennytrace_collectors.reports.amounts import counted, decimals_for, exact, grouped, money, one
from pennytrace_collectors.reports.risk import AtRisk, Candidate, Unpriced
from pennytrace_collectors.reports.spend import Comparison, Loss, Spend, Unconverted
from pennytrace_collectors.reports.sums import Row
from pennytrace_collectors.store.months import ClosedMonth, MonthTotals

_BAR: Final = 12
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_UNPRICED_SHOWN: Final = 5


def write_table(spend: Spend, out: TextIO, *, now: datetime) -> None:
    """Write a table for a terminal: bars, totals, and the coverage of what it says."""
    console = Console(file=out, highlight=False, width=None if out.isatty() else 120)
    console.print(page(spend, now=now))


def page(spend: Spend, *, now: datetime) -> RenderableType:
    """The report as rich draws it."""
    return Group(_table(spend), *_notes(spend, now))


def lost(loss: Loss) -> str:
    """What an app says that it could not keep, in one line."""
    were = "was" if loss.calls == 1 else "were"
    where = f" in {loss.environment}" if loss.environment else ""
    return f"{counted(loss.calls)} {were} lost by {loss.service or 'an app'}{where}: {loss.reason or 'no reason given'}"


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
        *_used(spend),
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
            *_used_by(row, spend.by_meter),
            _amount(row, currency, decimals),
            Text(_bar(row.cost or Decimal(0), largest), style="cyan"),
            _percent(row.coverage.share_of_calls),
        )
    return table


def _used(spend: Spend) -> Sequence[tuple[str, list[str]]]:
    """The columns that say what was used, with their totals: quantities of several meters have none."""
    if spend.by_meter:
        return (("quantity", []), ("unit", []))
    return (
        ("input tokens", [f"{row.input_tokens:,}" for row in spend.totals]),
        ("output tokens", [f"{row.output_tokens:,}" for row in spend.totals]),
    )


def _used_by(row: Row, by_meter: bool) -> tuple[str, str]:
    if by_meter:
        return (grouped(row.quantity or Decimal(0)), row.unit)
    return (f"{row.input_tokens:,}", f"{row.output_tokens:,}")


def _only_currency(spend: Spend) -> str | None:
    """The currency of all amounts, to be named once; None when there are several."""
    if not spend.original:
        return spend.currency
    return spend.totals[0].currency if len(spend.totals) == 1 else None


def _title(spend: Spend) -> str:
    since, until = (moment.strftime("%Y-%m-%d %H:%M") for moment in (spend.period.since, spend.period.until))
    return f"LLM spend by {', '.join(spend.dimensions)}, {since} to {until} UTC"


def _notes(spend: Spend, now: datetime) -> Iterator[Text]:
    for total in spend.totals:
        yield Text(_coverage(total))
        if len(total.amounts) > 1:
            yield Text(f"  in the currencies of their prices: {_originals(total)}")
    yield from _left_out(spend)
    for month in spend.closed_months:
        yield Text(_closed(month))
    if not spend.rows:
        yield Text("No calls in this period.")
    if spend.price_list:
        newest = spend.price_list.newest_price.date()
        age = (now.date() - newest).days
        yield Text(
            f"Prices: {spend.price_list.identity}; its newest price is of {newest.isoformat()}, {age} days ago.",
            style="dim",
        )


def _left_out(spend: Spend) -> Iterator[Text]:
    """What the sums do not hold, or hold otherwise than somebody else says."""
    for unconverted in spend.unconverted:
        yield Text(f"  not in the sums: {_not_converted(unconverted, spend.currency)}", style="red")
    for loss in spend.losses:
        yield Text(f"  not in the sums: {lost(loss)}", style="red")
    for idle in spend.gpu_idle:
        yield Text(f"  not in the sums: {gpu_shown.idle(idle)}", style="yellow")
    if spend.compared.reported != spend.compared.computed:
        yield Text(f"  {_difference(spend.compared)}", style="yellow")
    for unpriced in spend.unpriced[:_UNPRICED_SHOWN]:
        yield Text(f"  {_why(unpriced)}", style="yellow")
    if len(spend.unpriced) > _UNPRICED_SHOWN:
        yield Text(f"  and {len(spend.unpriced) - _UNPRICED_SHOWN} more: see --json", style="yellow")
    for risk in spend.at_risk:
        yield Text(f"  {_in_all(risk)}", style="yellow")


def _coverage(total: Row) -> str:
    coverage = total.coverage
    return (
        f"Coverage: {_percent(coverage.share_of_calls)} of {coverage.calls:,} calls and "
        f"{_percent(coverage.share_of_tokens)} of {coverage.tokens:,} tokens are priced; "
        f"usage estimated for {coverage.estimated_calls:,}, partly priced {coverage.partly_priced_calls:,}, "
        f"unpriced {coverage.unpriced_calls:,}."
    )


def _originals(total: Row) -> str:
    return ", ".join(f"{one(amount.cost)} {amount.currency}" for amount in total.amounts)


def _not_converted(unconverted: Unconverted, currency: str) -> str:
    own, since = unconverted.currency, unconverted.since.isoformat()
    return (
        f"{counted(unconverted.calls)}, {one(unconverted.cost)} {own}, from {since} on: no exchange rate from {own} to "
        f"{currency} on their days; add an [[exchange_rate]] to the price file (--original shows them)"
    )


def _why(unpriced: Unpriced) -> str:
    model = unpriced.model or "(no model)"
    what = (
        f"not fully priced: {counted(unpriced.calls)}, {unpriced.tokens:,} tokens of {unpriced.provider}/{model}: "
        f"{unpriced.reason}"
    )
    return "; ".join((what, *_at_risk(unpriced)))


def _at_risk(unpriced: Unpriced) -> Iterator[str]:
    """What the calls would have cost: between which bounds, as which models."""
    by_currency: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in unpriced.candidates:
        by_currency[candidate.currency].append(candidate)
    for same in by_currency.values():
        calls = max(candidate.calls for candidate in same)
        # Money at risk is known by day, and the period may begin or end within one.
        of_days = "" if calls == unpriced.calls else f"{counted(calls)} of those whole days "
        yield of_days + _bounds(same)


def _bounds(candidates: Sequence[Candidate]) -> str:
    """The bounds of candidates of one currency, cheapest first."""
    low, high = candidates[0], candidates[-1]
    as_models = " … ".join(dict.fromkeys((low.rate_card, high.rate_card)))
    return f"would have cost {_between(low.cost, high.cost)} {low.currency} (as {as_models})"


def _between(low: Decimal, high: Decimal) -> str:
    decimals = decimals_for([high])
    amounts = dict.fromkeys(money(cost, decimals=decimals) for cost in (low, high))
    return f"between {' and '.join(amounts)}" if len(amounts) > 1 else next(iter(amounts))


def _in_all(risk: AtRisk) -> str:
    return f"money at risk in all: {_between(risk.low, risk.high)} {risk.currency} for {counted(risk.calls)}"


def _closed(month: ClosedMonth) -> str:
    """When a month was closed, and what has come or changed in it since."""
    closed = f"{month.month} was closed on {month.closed_at:%Y-%m-%d} with {_came_to(month.closed)}"
    if not month.arrived_calls and not month.corrected_calls and month.now == month.closed:
        return f"{closed}; nothing has changed since."
    return (
        f"{closed}; since then {counted(month.arrived_calls)} arrived and {month.corrected_calls:,} were priced again: "
        f"now {_came_to(month.now)}."
    )


def _came_to(totals: MonthTotals) -> str:
    amounts = [f"{one(cost)} {currency}" for currency, cost in sorted(totals.billed_costs.items())]
    return ", ".join([counted(totals.calls), *amounts])


def _difference(compared: Comparison) -> str:
    decimals = decimals_for([compared.reported, compared.computed])
    return (
        f"the provider states {money(compared.reported, decimals=decimals)} USD for {counted(compared.calls)} "
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
