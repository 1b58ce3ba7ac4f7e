"""The meters: disjoint kinds of quantity with a price of their own, and the price-list unit each is billed by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Meter:
    """A kind of quantity. Meters are disjoint: a token of a call is counted by exactly one of them."""

    number: int
    """Its value in the store's enumeration; never reused."""
    name: str
    unit: str
    """The genai-prices unit that holds exactly this meter's quantity when it is priced on its own."""


# In the order in which views/30_normalise.sql computes their quantities; its last one is counted by views/40_price.sql.
METERS: Final = (
    Meter(1, "input", "input_tokens"),
    Meter(2, "cache_read", "cache_read_tokens"),
    Meter(3, "cache_write", "cache_write_tokens"),
    Meter(12, "cache_write_5m", "cache_write_5m_tokens"),
    Meter(13, "cache_write_1h", "cache_write_1h_tokens"),
    Meter(4, "input_audio", "input_audio_tokens"),
    Meter(5, "cache_audio_read", "cache_audio_read_tokens"),
    Meter(6, "input_image", "input_image_tokens"),
    Meter(14, "cache_image_read", "cache_image_read_tokens"),
    Meter(7, "output", "output_tokens"),
    Meter(8, "output_reasoning", "output_reasoning_tokens"),
    Meter(9, "output_audio", "output_audio_tokens"),
    Meter(10, "output_image", "output_image_tokens"),
    Meter(11, "requests", "requests"),
)

REQUESTS: Final = METERS[-1]
TOKEN_METERS: Final = METERS[:-1]
