"""A GPU report for people: pools, the models on them, who used them, and what lacks a rate and what to write for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final, TextIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pennytrace_collectors.reports.amounts import decimals_for, exact, money, one
from pennytrace_collectors.reports.gpu import NONE, Elsewhere, GpuReport, Idle, PerMillion, Pool, Total, Use

_HOUR: Final = Decimal(3600)
_CENT: Final = Decimal("0.01")
_ANYWHERE: Final = "(no pool)"


def write_table(report: GpuReport, out: TextIO) -> None:
    """Write tables for a terminal."""
    console = Console(file=out, highlight=False, width=None if out.isatty() else 160)
    console.print(page(report))


def page(report: GpuReport) -> RenderableType:
    """The report as rich draws it."""
    if not report.pools:
        return Text("No GPUs and no calls on them in this period.")
    return Group(_pools(report), _models(report), _uses(report), *_notes(report))


def idle(of: Idle) -> str:
    """What GPUs idled, in one line of an ordinary report."""
    cost = "no rate for them" if of.cost is None else f"{one(of.cost)} {of.currency}"
    return f"{_hours(of.seconds)} GPU-hours that no call was charged for (idle): {cost}; see `report --gpu`"


def _pools(report: GpuReport) -> Table:
    since, until = (
        moment.strftime("%Y-%m-%d %H:%M") for moment in (report.period.since, report.period.until)
    )
    table = _table(f"GPUs, {since} to {until} UTC, whole hours")
    money_of = _Money(
        amount for pool in report.pools for amount in (pool.bill, pool.direct_cost, pool.idle_cost)
    )
    totals = report.totals
    table.add_column("pool", footer="total", overflow="fold")
    table.add_column("GPU", overflow="fold")
    for name, footer in (
        ("GPUs", ""),
        ("provisioned h", _hours(_sum(pool.provisioned_seconds for pool in report.pools))),
        ("used", ""),
        ("measured", ""),
        ("bill", money_of.lines((total.bill, total.currency) for total in totals)),
        ("direct", money_of.lines((total.direct_cost, total.currency) for total in totals)),
        ("idle", money_of.lines((total.idle_cost, total.currency) for total in totals)),
    ):
        table.add_column(name, footer=footer, justify="right", no_wrap=True)
    for pool in report.pools:
        table.add_row(
            Text(pool.pool or _ANYWHERE),
            Text(pool.gpu_model or "?"),
            str(pool.gpus),
            _hours(pool.provisioned_seconds),
            _percent(pool.used),
            "?" if pool.utilization is None else _percent(Decimal(str(round(pool.utilization, 4)))),
            *(money_of.amount(cost, pool.currency) for cost in (pool.bill, pool.direct_cost, pool.idle_cost)),
        )
    return table


def _models(report: GpuReport) -> Table:
    table = _table(
        "Models on them; money for a million tokens: direct, and with their share of the idle time"
    )
    table.add_column("model", overflow="fold")
    for name in (
        "calls",
        "input tokens",
        "output tokens",
        "GPU h",
        "direct",
        "idle",
        "per M input",
        "per M output",
        "per M all",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("the same tokens elsewhere", overflow="fold")
    money_of = _Money(amount for use in report.models for amount in (use.direct_cost, use.idle_cost))
    for use in report.models:
        table.add_row(
            Text("/".join(part for part in use.key if part) or "(no model)"),
            f"{use.calls:,}",
            f"{use.input_tokens:,}",
            f"{use.output_tokens:,}",
            _hours(use.gpu_seconds),
            money_of.amount(use.direct_cost, use.currency),
            _share_of_idle(report, use, money_of),
            *_per_million(use.without_idle, use.with_idle, shared=report.policy != NONE),
            Text("\n".join(map(_elsewhere, use.elsewhere))),
        )
    return table


def _uses(report: GpuReport) -> Table:
    how = "not shared out" if report.policy == NONE else f"shared out: {report.policy}"
    table = _table(f"GPU spend by {', '.join(report.dimensions)}; idle time {how}")
    money_of = _Money(amount for use in report.uses for amount in (use.direct_cost, use.idle_cost, use.cost))
    for name in report.dimensions:
        table.add_column(name, overflow="fold")
    for name in ("calls", "input tokens", "output tokens", "GPU h", "direct", "idle", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for use in report.uses:
        table.add_row(
            *(Text(part or "(none)") for part in use.key),
            f"{use.calls:,}",
            f"{use.input_tokens:,}",
            f"{use.output_tokens:,}",
            _hours(use.gpu_seconds),
            money_of.amount(use.direct_cost, use.currency),
            _share_of_idle(report, use, money_of),
            money_of.amount(use.cost, use.currency),
        )
    for total in report.unused:
        blank = [""] * (len(report.dimensions) + 3)
        of_nobody = Text("(idle)" if report.policy == NONE else "(idle, nobody used it)")
        cost = money_of.amount(total.idle_cost, total.currency)
        table.add_row(of_nobody, *blank, money_of.amount(Decimal(0), total.currency), cost, cost)
    return table


def _notes(report: GpuReport) -> Iterator[Text]:
    for total in report.totals:
        yield Text(_adds_up(total))
    for pool in report.pools:
        if pool.unreported_seconds:
            yield Text(
                f"  {_hours(pool.unreported_seconds)} GPU-hours of {_named(pool)} were taken by calls, and nobody "
                "reported that the GPUs were there: they are in the bill, but not the idle time around them",
                style="yellow",
            )
        if pool.bill is None:
            yield Text(f"  {_without_rate(pool)}", style="red")


def _adds_up(total: Total) -> str:
    decimals = decimals_for([total.bill])
    bill, direct, rest = (
        money(amount, decimals=decimals) for amount in (total.bill, total.direct_cost, total.idle_cost)
    )
    return f"{bill} {total.currency} in all: {direct} direct and {rest} idle."


def _without_rate(pool: Pool) -> str:
    """What has no price, why, and what would give it one."""
    why = "no rate at that time" if pool.rate_card else "no rate for its GPU"
    which = f"pool = {_quoted(pool.pool)}" if pool.pool else f"gpu = {_quoted(pool.gpu_model or '*')}"
    if not pool.pool and pool.gpu_model == "cpu":
        which = "cpu = true"
    return (
        f"without a price: {_hours(pool.provisioned_seconds)} GPU-hours of {_named(pool)}: {why}; write into the price "
        f'file: [[gpu]] {which}, kind = "on_demand", per_gpu_hour = …'
    )


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'


def _named(pool: Pool) -> str:
    return f"{pool.gpu_model or 'GPUs'} in {pool.pool or _ANYWHERE}"


def _share_of_idle(report: GpuReport, use: Use, money_of: _Money) -> str:
    return "" if report.policy == NONE else money_of.amount(use.idle_cost, use.currency)


def _per_million(without: PerMillion, with_idle: PerMillion, *, shared: bool) -> Iterator[str]:
    for direct, whole in zip(
        (without.input, without.output, without.all),
        (with_idle.input, with_idle.output, with_idle.all),
        strict=True,
    ):
        lines = [direct, whole] if shared else [direct]
        yield "\n".join("?" if price is None else one(price) for price in lines)


def _elsewhere(of: Elsewhere) -> str:
    each = "" if of.per_million is None else f", {one(of.per_million)} per M"
    return f"{of.rate_card}: {one(of.cost)} {of.currency}{each}"


class _Money:
    """A column of money: all of it with the same number of decimals."""

    def __init__(self, amounts: Iterable[Decimal | None]) -> None:
        self._decimals = decimals_for(amounts)

    def amount(self, amount: Decimal | None, currency: str) -> str:
        """One amount with its currency."""
        return f"{money(amount, decimals=self._decimals)} {currency}".rstrip()

    def lines(self, amounts: Iterable[tuple[Decimal, str]]) -> str:
        """One below the other."""
        return "\n".join(self.amount(*amount) for amount in amounts)


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_footer=title.startswith("GPUs,"),
    )


def _sum(seconds: Iterable[Decimal]) -> Decimal:
    return sum(seconds, Decimal(0))


def _hours(seconds: Decimal) -> str:
    hours = seconds / _HOUR
    return f"{hours:,.2f}" if not hours or hours >= _CENT else "< 0.01"


def _percent(share: Decimal) -> str:
    return f"{exact(share * 100)} %"
