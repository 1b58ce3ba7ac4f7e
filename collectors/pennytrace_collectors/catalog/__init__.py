"""Price lists, compiled to rows, and the rate card that a seen model is priced by."""

from pennytrace_collectors.catalog.compiled import Catalog, compile_catalog
from pennytrace_collectors.catalog.meters import METERS, Meter
from pennytrace_collectors.catalog.prices import Price, RateCard
from pennytrace_collectors.catalog.resolve import Resolution, SeenModel, resolve

__all__ = [
    "METERS",
    "Catalog",
    "Meter",
    "Price",
    "RateCard",
    "Resolution",
    "SeenModel",
    "compile_catalog",
    "resolve",
]
