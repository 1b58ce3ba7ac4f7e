"""Carries an order out on an open store: in the collector between two segments, or in the command that gave it."""

from __future__ import annotations

from collections.abc import Generator
from typing import assert_never

from pennytrace_collectors.catalog import Catalog, compile_catalog
from pennytrace_collectors.orders.order import (
    Answer,
    Candidate,
    CloseOrder,
    Months,
    MonthsOrder,
    Order,
    RepriceOrder,
    TrialOrder,
)
from pennytrace_collectors.store.months import close_month, read_closed_months
from pennytrace_collectors.store.reprice import reprice
from pennytrace_collectors.store.selection import Progress
from pennytrace_collectors.store.tables import Tables
from pennytrace_collectors.store.trial import trial


def perform(store: Tables, order: Order, name: str) -> Generator[Progress, None, Answer]:
    """Do what an order says, a portion at a time; the answer is the generator's return value.

    An order that is done twice under one name is as good as done once.

    Raises:
        OrderError: it cannot be done; the message says why.
        PriceFileError: a price file of the candidate cannot be used.
        StoreUnavailable: the store is away.
    """
    match order:
        case TrialOrder():
            return (yield from trial(store, _catalog(order.candidate), order.selection))
        case RepriceOrder():
            return (yield from reprice(store, order.selection, order.terms, correction=name))
        case CloseOrder():
            return Months(months=(close_month(store, order.month, note=order.note),))
        case MonthsOrder():
            return Months(months=read_closed_months(store))
        case _:
            assert_never(order)


def _catalog(candidate: Candidate | None) -> Catalog | None:
    if candidate is None:
        return None
    return compile_catalog(candidate.price_files, genai_data=candidate.genai_data)
