"""What the provider bills: tokens by model, and money by its own price list; nothing here reads pennytrace."""

from __future__ import annotations

import threading
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from importlib.resources import files
from typing import Final

_PER: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The calls of one model, as billed; of the input, `cached` was read from the cache."""

    calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal | None = None
    """None when the provider has no price for the model."""


class Books:
    """Kept by the provider's thread, read by others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[str, Line] = {}
        self._turned_away: dict[int, int] = {}
        self._prices = _price_list()

    def bill(
        self, requested: str, served: str, *, tokens_in: int, cached: int = 0, tokens_out: int = 0
    ) -> None:
        """Add one call: it was requested as one model name and answered by another."""
        with self._lock:
            line = self._lines.get(served, Line())
            line = replace(
                line,
                calls=line.calls + 1,
                input_tokens=line.input_tokens + tokens_in,
                cached_tokens=line.cached_tokens + cached,
                output_tokens=line.output_tokens + tokens_out,
            )
            self._lines[served] = replace(line, cost=_amount(line, self._prices.get(requested)))

    def turn_away(self, status: int) -> None:
        """Note a request that was answered with an error, and costs nothing."""
        with self._lock:
            self._turned_away[status] = self._turned_away.get(status, 0) + 1

    def lines(self) -> Mapping[str, Line]:
        """Return what has been billed, by the model that answered."""
        with self._lock:
            return dict(self._lines)

    def turned_away(self) -> Mapping[int, int]:
        """Return how many requests got which error."""
        with self._lock:
            return dict(self._turned_away)


def _price_list() -> Mapping[str, Mapping[str, Decimal]]:
    text = files("pennytrace_collectors.demo").joinpath("prices.toml").read_text("utf-8")
    entries = tomllib.loads(text, parse_float=Decimal)["price"]
    keys = ("input_mtok", "cache_read_mtok", "output_mtok")
    return {entry["model"]: {key: Decimal(entry.get(key, 0)) for key in keys} for entry in entries}


def _amount(line: Line, prices: Mapping[str, Decimal] | None) -> Decimal | None:
    if prices is None:
        return None
    fresh = (line.input_tokens - line.cached_tokens) * prices["input_mtok"]
    return (
        fresh + line.cached_tokens * prices["cache_read_mtok"] + line.output_tokens * prices["output_mtok"]
    ) / _PER
