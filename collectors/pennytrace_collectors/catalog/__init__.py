"""Price lists, compiled to rows, and the rate card that a seen model is priced by."""

from pennytrace_collectors.catalog.compiled import Catalog, compile_catalog
from pennytrace_collectors.catalog.layers import Layer
from pennytrace_collectors.catalog.meters import DETAIL_METERS, METERS, REQUESTS, TOKEN_METERS, Meter
from pennytrace_collectors.catalog.pricefile import PriceFile, read_price_file
from pennytrace_collectors.catalog.prices import ExchangeRate, GpuRate, Price, RateCard
from pennytrace_collectors.catalog.resolve import Resolution, SeenModel, resolve
from pennytrace_collectors.catalog.variants import variant_name

__all__ = [
    "DETAIL_METERS",
    "METERS",
    "REQUESTS",
    "TOKEN_METERS",
    "Catalog",
    "ExchangeRate",
    "GpuRate",
    "Layer",
    "Meter",
    "Price",
    "PriceFile",
    "RateCard",
    "Resolution",
    "SeenModel",
    "compile_catalog",
    "read_price_file",
    "resolve",
    "variant_name",
]
