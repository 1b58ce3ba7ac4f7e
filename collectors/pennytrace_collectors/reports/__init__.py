"""Spend, read back from a store: exact sums, each beside how much of it is known."""

from pennytrace_collectors.reports.period import Period
from pennytrace_collectors.reports.reading import Reader, open_reader
from pennytrace_collectors.reports.risk import AtRisk, Candidate, Unpriced
from pennytrace_collectors.reports.spend import Comparison, Loss, PriceList, Spend, Unconverted, read_spend
from pennytrace_collectors.reports.sums import Amount, Coverage, Row

__all__ = [
    "Amount",
    "AtRisk",
    "Candidate",
    "Comparison",
    "Coverage",
    "Loss",
    "Period",
    "PriceList",
    "Reader",
    "Row",
    "Spend",
    "Unconverted",
    "Unpriced",
    "open_reader",
    "read_spend",
]
