"""Price files, the user's and the project's own: read, checked entry by entry, every mistake named at once."""

from pennytrace_collectors.catalog.pricefile.entries import (
    Amounts,
    Correction,
    Deployment,
    Discount,
    Entry,
    Exchange,
    ForModels,
    Gpu,
    OwnPrice,
    Surcharge,
)
from pennytrace_collectors.catalog.pricefile.read import PriceFile, merged, read_price_file

__all__ = [
    "Amounts",
    "Correction",
    "Deployment",
    "Discount",
    "Entry",
    "Exchange",
    "ForModels",
    "Gpu",
    "OwnPrice",
    "PriceFile",
    "Surcharge",
    "merged",
    "read_price_file",
]
