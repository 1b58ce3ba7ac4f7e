"""The prices that an entry of a price file can give, and which of them each meter is billed by."""

from __future__ import annotations

from typing import Final

_MILLION: Final = 1_000_000

KEYS: Final = {
    "input_mtok": _MILLION,
    "cache_read_mtok": _MILLION,
    "cache_write_mtok": _MILLION,
    "cache_write_5m_mtok": _MILLION,
    "cache_write_1h_mtok": _MILLION,
    "input_audio_mtok": _MILLION,
    "cache_audio_read_mtok": _MILLION,
    "input_image_mtok": _MILLION,
    "cache_image_read_mtok": _MILLION,
    "input_video_mtok": _MILLION,
    "output_mtok": _MILLION,
    "output_reasoning_mtok": _MILLION,
    "output_audio_mtok": _MILLION,
    "output_image_mtok": _MILLION,
    "output_video_mtok": _MILLION,
    "trained_mtok": _MILLION,
    "mchars": _MILLION,
    "audio_minute": 60,
    "video_second": 1,
    "image": 1,
    "page": 1,
    "annotated_page": 1,
    "search": 1,
    "web_search": 1,
    "file_search": 1,
    "code_execution": 1,
    "tool_call": 1,
    "request": 1,
}
"""Each key, and how many units of its meter (tokens, seconds, ...) its amount is for."""

BILLED_BY: Final = {
    "input": ("input_mtok",),
    "cache_read": ("cache_read_mtok", "input_mtok"),
    "cache_write": ("cache_write_mtok", "input_mtok"),
    "cache_write_5m": ("cache_write_5m_mtok", "cache_write_mtok", "input_mtok"),
    "cache_write_1h": ("cache_write_1h_mtok", "cache_write_mtok", "input_mtok"),
    "input_audio": ("input_audio_mtok", "input_mtok"),
    "cache_audio_read": ("cache_audio_read_mtok", "cache_read_mtok", "input_audio_mtok", "input_mtok"),
    "input_image": ("input_image_mtok", "input_mtok"),
    "cache_image_read": ("cache_image_read_mtok", "cache_read_mtok", "input_image_mtok", "input_mtok"),
    "input_video": ("input_video_mtok", "input_mtok"),
    "cache_video_read": ("cache_read_mtok", "input_video_mtok", "input_mtok"),
    "output": ("output_mtok",),
    "output_reasoning": ("output_reasoning_mtok", "output_mtok"),
    "output_audio": ("output_audio_mtok", "output_mtok"),
    "output_image": ("output_image_mtok", "output_mtok"),
    "output_video": ("output_video_mtok", "output_mtok"),
    "citation_tokens": ("output_mtok",),
    "trained_tokens": ("trained_mtok",),
    "characters": ("mchars",),
    "audio_seconds": ("audio_minute",),
    "video_seconds": ("video_second",),
    "images": ("image",),
    "pages": ("page",),
    "annotated_pages": ("annotated_page", "page"),
    "searches": ("search",),
    "web_searches": ("web_search",),
    "file_searches": ("file_search",),
    "code_executions": ("code_execution",),
    "tool_calls": ("tool_call",),
    "requests": ("request",),
}
"""A meter is billed by the first of these that is given; without any of them it has no price."""
