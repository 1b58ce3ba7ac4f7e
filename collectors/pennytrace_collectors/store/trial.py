"""What a price list would change about the calls that are stored: worked out, and nothing touched."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from pennytrace_collectors.catalog import Catalog
from pennytrace_collectors.store.client import translated
from pennytrace_collectors.store.comparison import Comparison, compare
from pennytrace_collectors.store.months import closed_in
from pennytrace_collectors.store.pricing import PriceList, again, priced
from pennytrace_collectors.store.scripts import reprice_sql
from pennytrace_collectors.store.selection import Progress, Selection, condition, portions
from pennytrace_collectors.store.tables import Tables
from pennytrace_collectors.store.tryout import tried_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a price list would change."""

    catalog: str
    """The identity of the price list."""
    calls: int
    """All calls that were looked at."""
    comparison: Comparison
    closed_months: tuple[str, ...]
    """Months of the selection that are closed, such as `2026-10`."""


def trial(store: Tables, catalog: Catalog | None, selection: Selection) -> Generator[Progress, None, Trial]:
    """Price the selected calls by a price list, None for the one in force, and return how that differs.

    A generator, so that its owner may do other things between two portions; what it returns is the result.

    Raises:
        StoreUnavailable: the store is away.
    """
    with translated(store.address), tried_out(store, catalog) as tried:
        rows: list[Mapping[str, Any]] = []
        calls = 0
        for portion, progress in portions(store, selection):
            rows += figures(store, f"({compared(store, tried.prices, portion)})")
            yield progress
            calls = progress.total
        closed = closed_in(store, selection.since, selection.until)
        return Trial(catalog=tried.identity, calls=calls, comparison=compare(rows), closed_months=closed)


def compared(store: Tables, prices: PriceList, selection: Selection) -> str:
    """A SELECT of the selected calls whose price differs: what they are charged, and what they would be."""
    database = store.address.database
    which = condition(selection, database)
    anew = priced(f"({again(database, which)})", prices)
    return reprice_sql("compared.sql", database=database, which=which, anew=anew)


def figures(store: Tables, changed: str, **values: str) -> list[Mapping[str, Any]]:
    """The rows that `compare` adds up, of a bracketed SELECT with columns as those of `compared`, its values bound."""
    result = store.client.query(reprice_sql("figures.sql", changed=changed), parameters=values)
    return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]
