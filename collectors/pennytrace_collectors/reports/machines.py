"""A spend report for machines: JSON and CSV, money as decimal strings with every digit."""

from __future__ import annotations

import csv
import json
from typing import Any, Final, TextIO

from pennytrace_collectors.reports.amounts import exact
from pennytrace_collectors.reports.gpu import Idle
from pennytrace_collectors.reports.risk import Unpriced
from pennytrace_collectors.reports.spend import Spend
from pennytrace_collectors.reports.sums import Amount, Row
from pennytrace_collectors.store.months import ClosedMonth, MonthTotals

_TOKENS: Final = ("input_tokens", "output_tokens")
_METERED: Final = ("quantity", "unit")


def write_json(spend: Spend, out: TextIO) -> None:
    """Write the report as one JSON object; money is a decimal string, unknown money null."""
    price_list = spend.price_list
    document = {
        "since": spend.period.since.isoformat(),
        "until": spend.period.until.isoformat(),
        "currency": spend.currency,
        "rows": [_record(row, spend.dimensions, spend.by_meter) for row in spend.rows],
        "totals": [_record(row, (), False) for row in spend.totals],
        "not_converted": [
            {
                "currency": unconverted.currency,
                "calls": unconverted.calls,
                "cost": exact(unconverted.cost),
                "since": unconverted.since.isoformat(),
            }
            for unconverted in spend.unconverted
        ],
        "unpriced": [_unpriced(unpriced) for unpriced in spend.unpriced],
        "at_risk": [
            {
                "currency": risk.currency,
                "calls": risk.calls,
                "low": exact(risk.low),
                "high": exact(risk.high),
            }
            for risk in spend.at_risk
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
        "gpu_idle": [_idle(idle) for idle in spend.gpu_idle],
        "closed_months": [_closed(month) for month in spend.closed_months],
        "price_list": price_list
        and {"identity": price_list.identity, "newest_price": price_list.newest_price.date().isoformat()},
    }
    json.dump(document, out, indent=2, ensure_ascii=False)
    out.write("\n")


def write_csv(spend: Spend, out: TextIO) -> None:
    """Write one line a row, with a header."""
    used = _METERED if spend.by_meter else _TOKENS
    fields = [*spend.dimensions, "calls", *used, "cost", "currency"]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*fields, "calls_priced", "tokens_priced", "original_cost", "not_converted"])
    for row in spend.rows:
        record = _record(row, spend.dimensions, spend.by_meter)
        coverage = record["coverage"]
        cells = [record[field] for field in fields] + [
            coverage["calls"],
            coverage["tokens"],
            *_originals(row),
        ]
        writer.writerow(["" if cell is None else no_formula(cell) for cell in cells])


def _record(row: Row, dimensions: tuple[str, ...], by_meter: bool) -> dict[str, Any]:
    coverage = row.coverage
    used = (
        {"quantity": exact(row.quantity), "unit": row.unit}
        if by_meter
        else {"input_tokens": row.input_tokens, "output_tokens": row.output_tokens}
    )
    return {
        **dict(zip(dimensions, row.key, strict=True)),
        "calls": coverage.calls,
        **used,
        "cost": exact(row.cost),
        "currency": row.currency,
        "amounts": [_amount(amount) for amount in row.amounts],
        "coverage": {
            "calls": exact(coverage.share_of_calls),
            "tokens": exact(coverage.share_of_tokens),
            "partly_priced_calls": coverage.partly_priced_calls,
            "unpriced_calls": coverage.unpriced_calls,
            "estimated_calls": coverage.estimated_calls,
        },
    }


def _amount(amount: Amount) -> dict[str, Any]:
    return {
        "currency": amount.currency,
        "cost": exact(amount.cost),
        "billed_cost": exact(amount.billed_cost),
        "not_converted": exact(amount.unconverted_cost),
    }


def _originals(row: Row) -> tuple[str, str]:
    """What a row is in the currencies of its prices, and what of it is in no sum, each in one cell."""
    return (
        "; ".join(f"{exact(amount.cost)} {amount.currency}" for amount in row.amounts),
        "; ".join(
            f"{exact(amount.unconverted_cost)} {amount.currency}"
            for amount in row.amounts
            if amount.unconverted_cost
        ),
    )


def _unpriced(unpriced: Unpriced) -> dict[str, Any]:
    return {
        "provider": unpriced.provider,
        "model": unpriced.model,
        "reason": unpriced.reason,
        "calls": unpriced.calls,
        "tokens": unpriced.tokens,
        "would_have_cost": [
            {
                "as": candidate.rate_card,
                "calls": candidate.calls,
                "cost": exact(candidate.cost),
                "currency": candidate.currency,
            }
            for candidate in unpriced.candidates
        ],
    }


def _idle(idle: Idle) -> dict[str, Any]:
    return {"seconds": exact(idle.seconds), "cost": exact(idle.cost), "currency": idle.currency or None}


def _closed(month: ClosedMonth) -> dict[str, Any]:
    return {
        "month": month.month,
        "closed_at": month.closed_at.isoformat(),
        "at_closing": _month(month.closed),
        "now": _month(month.now),
        "arrived_calls": month.arrived_calls,
        "corrected_calls": month.corrected_calls,
    }


def _month(totals: MonthTotals) -> dict[str, Any]:
    return {
        "calls": totals.calls,
        "billed_costs": {currency: exact(cost) for currency, cost in totals.billed_costs.items()},
        "costs": {currency: exact(cost) for currency, cost in totals.costs.items()},
    }


def no_formula(cell: object) -> object:
    """Quote a text that a spreadsheet would run as a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@") else cell
