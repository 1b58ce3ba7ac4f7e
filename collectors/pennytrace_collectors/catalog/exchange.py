"""Exchange rates of price files: each holds until the next one of the same two currencies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date

from pennytrace_collectors.catalog.pricefile import Exchange
from pennytrace_collectors.catalog.prices import ExchangeRate, first_second, periods


def exchange_rates(entries: Iterable[Exchange]) -> tuple[ExchangeRate, ...]:
    """Dated rates; before the first of them there is none. A later file's wins on the same day."""
    by_pair: dict[tuple[str, str], dict[date, Exchange]] = defaultdict(dict)
    for entry in entries:
        by_pair[entry.base, entry.quote][entry.date] = entry
    return tuple(
        ExchangeRate(base, quote, start, end, by_day[start.date()].rate, by_day[start.date()].written)
        for (base, quote), by_day in sorted(by_pair.items())
        for start, end in periods(first_second(day) for day in by_day)
        if start.date() in by_day
    )
