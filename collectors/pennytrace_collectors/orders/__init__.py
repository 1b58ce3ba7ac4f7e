"""What commands ask of a store that a collector may have open: try prices out, price again, close a month."""

from pennytrace_collectors.orders.asking import ask
from pennytrace_collectors.orders.folder import OrderFolder
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
from pennytrace_collectors.orders.perform import perform
from pennytrace_collectors.orders.work import OrderWork, Steps
from pennytrace_collectors.store.comparison import Comparison, Difference, StatusChange, Total
from pennytrace_collectors.store.months import ClosedMonth, MonthTotals
from pennytrace_collectors.store.reprice import Correction, Terms
from pennytrace_collectors.store.selection import Progress, Selection
from pennytrace_collectors.store.trial import Trial

__all__ = [
    "Answer",
    "Candidate",
    "CloseOrder",
    "ClosedMonth",
    "Comparison",
    "Correction",
    "Difference",
    "MonthTotals",
    "Months",
    "MonthsOrder",
    "Order",
    "OrderFolder",
    "OrderWork",
    "Progress",
    "RepriceOrder",
    "Selection",
    "StatusChange",
    "Steps",
    "Terms",
    "Total",
    "Trial",
    "TrialOrder",
    "ask",
    "perform",
]
