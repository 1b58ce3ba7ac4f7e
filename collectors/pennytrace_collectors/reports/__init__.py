"""Spend, read back from a store: exact sums, each beside how much of it is known."""

from pennytrace_collectors.reports.reading import Reader, open_reader
from pennytrace_collectors.reports.spend import (
    Comparison,
    Coverage,
    Loss,
    Period,
    PriceList,
    Row,
    Spend,
    read_spend,
)

__all__ = [
    "Comparison",
    "Coverage",
    "Loss",
    "Period",
    "PriceList",
    "Reader",
    "Row",
    "Spend",
    "open_reader",
    "read_spend",
]
