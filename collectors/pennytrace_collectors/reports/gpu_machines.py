"""A GPU report for machines: JSON and CSV, money and seconds as decimal strings with every digit."""

from __future__ import annotations

import csv
import json
from typing import Any, Final, TextIO

from pennytrace_collectors.reports.amounts import exact
from pennytrace_collectors.reports.gpu import Elsewhere, GpuReport, PerMillion, Pool, Total, Use
from pennytrace_collectors.reports.machines import no_formula

_COUNTED: Final = ("calls", "input_tokens", "cache_read_tokens", "output_tokens")
_MONEY: Final = ("gpu_seconds", "direct_cost", "idle_cost", "cost", "currency")


def write_json(report: GpuReport, out: TextIO) -> None:
    """Write the report as one JSON object; what is not known is null."""
    document = {
        "since": report.period.since.isoformat(),
        "until": report.period.until.isoformat(),
        "idle": report.policy,
        "pools": [_pool(pool) for pool in report.pools],
        "models": [
            {
                **_use(use, ("provider", "model")),
                "per_million_tokens": _per_million(use.without_idle),
                "per_million_tokens_with_idle": _per_million(use.with_idle),
                "elsewhere": [_elsewhere(one) for one in use.elsewhere],
            }
            for use in report.models
        ],
        "rows": [_use(use, report.dimensions) for use in report.uses],
        "unused": [_total(total) for total in report.unused],
        "totals": [_total(total) for total in report.totals],
    }
    json.dump(document, out, indent=2, ensure_ascii=False)
    out.write("\n")


def write_csv(report: GpuReport, out: TextIO) -> None:
    """Write one line a row, and one of kind `idle` for what falls to none of them: all costs add up to the bill."""
    writer = csv.writer(out, lineterminator="\n")
    fields = (*_COUNTED, *_MONEY)
    writer.writerow(["kind", *report.dimensions, *fields])
    for use in report.uses:
        record = _use(use, report.dimensions)
        writer.writerow(["call", *_cells(record, report.dimensions), *_cells(record, fields)])
    for total in report.unused:
        idle = exact(total.idle_cost)
        blank = [""] * (len(report.dimensions) + len(_COUNTED))
        writer.writerow(["idle", *blank, "0", exact(total.direct_cost), idle, idle, total.currency])


def _cells(record: dict[str, Any], fields: tuple[str, ...]) -> list[object]:
    """Cells of a line, safe to open in a spreadsheet."""
    return ["" if record[field] is None else no_formula(record[field]) for field in fields]


def _pool(pool: Pool) -> dict[str, Any]:
    return {
        "pool": pool.pool,
        "gpu_model": pool.gpu_model,
        "gpus": pool.gpus,
        "provisioned_seconds": exact(pool.provisioned_seconds),
        "attributed_seconds": exact(pool.attributed_seconds),
        "idle_seconds": exact(pool.idle_seconds),
        "unreported_seconds": exact(pool.unreported_seconds),
        "used": exact(pool.used),
        "utilization": pool.utilization,
        "energy_joules": pool.energy_joules,
        "rate_card": pool.rate_card or None,
        "bill": exact(pool.bill),
        "direct_cost": exact(pool.direct_cost),
        "idle_cost": exact(pool.idle_cost),
        "currency": pool.currency or None,
    }


def _use(use: Use, dimensions: tuple[str, ...]) -> dict[str, Any]:
    return {
        **dict(zip(dimensions, use.key, strict=True)),
        "calls": use.calls,
        "input_tokens": use.input_tokens,
        "cache_read_tokens": use.cache_read_tokens,
        "output_tokens": use.output_tokens,
        "gpu_seconds": exact(use.gpu_seconds),
        "direct_cost": exact(use.direct_cost),
        "idle_cost": exact(use.idle_cost),
        "cost": exact(use.cost),
        "currency": use.currency or None,
    }


def _per_million(price: PerMillion) -> dict[str, Any]:
    return {"input": exact(price.input), "output": exact(price.output), "all": exact(price.all)}


def _elsewhere(one: Elsewhere) -> dict[str, Any]:
    return {
        "as": one.rate_card,
        "calls": one.calls,
        "cost": exact(one.cost),
        "currency": one.currency,
        "per_million_tokens": exact(one.per_million),
    }


def _total(total: Total) -> dict[str, Any]:
    return {
        "currency": total.currency,
        "bill": exact(total.bill),
        "direct_cost": exact(total.direct_cost),
        "idle_cost": exact(total.idle_cost),
    }
