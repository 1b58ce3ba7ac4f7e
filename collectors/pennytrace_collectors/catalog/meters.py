"""The meters: disjoint kinds of quantity with a price of their own, and the price-list unit each is billed by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Meter:
    """A kind of quantity. Meters are disjoint: what a call used is counted by exactly one of them."""

    number: int
    """Its value in the store's enumeration; never reused."""
    name: str
    unit: str
    """The narrowest genai-prices unit that this meter's quantity is counted by, or '' when there is none: the meter is
    billed by that unit or by a wider one."""
    of: str = "tokens"
    """What is counted: 'tokens', 'characters', 'seconds', 'images', 'pages', 'requests'."""
    per: int = _MILLION
    """How many of them a price is shown for: a million tokens, 60 seconds of audio, 3600 of a GPU, 1 page."""


TOKEN_METERS: Final = (
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
    Meter(15, "input_video", "input_video_tokens"),
    Meter(16, "cache_video_read", "cache_video_read_tokens"),
    Meter(17, "output_video", "output_video_tokens"),
)
"""What the usage of a text call is split into, in the order in which views/30_normalise.sql computes it."""

DETAIL_METERS: Final = (
    Meter(20, "characters", "input_characters", "characters"),
    Meter(21, "audio_seconds", "input_audio_seconds", "seconds", 60),
    Meter(22, "video_seconds", "", "seconds", 1),
    Meter(23, "images", "", "images", 1),
    Meter(24, "pages", "input_document_pages", "pages", 1),
    Meter(25, "searches", "rerank_searches", "searches", 1),
    Meter(26, "web_searches", "web_searches", "requests", 1),
    Meter(27, "file_searches", "storage_searches", "requests", 1),
    Meter(28, "code_executions", "code_executions", "requests", 1),
    Meter(29, "tool_calls", "", "requests", 1),
    Meter(30, "trained_tokens", ""),
    Meter(31, "gpu_seconds", "", "seconds", 3600),
    Meter(32, "annotated_pages", "input_annotated_document_pages", "pages", 1),
    Meter(33, "citation_tokens", "output_citation_tokens"),
)
"""What is billed apart from the tokens of a text call: each is the entry of its name in a call's `details`."""

REQUESTS: Final = Meter(11, "requests", "requests", "requests", 1)
"""The call itself: pricing counts it as 1 where a request has a price."""

METERS: Final = (*TOKEN_METERS, *DETAIL_METERS, REQUESTS)
