"""The name of a way to call a model that has prices of its own: the one place in Python where it is put together."""

from __future__ import annotations

from typing import Final

STANDARD: Final = ""
"""At once, in the standard service tier, of no stated size."""


def variant_name(
    tier: str = "", processing: str = "", size: str = "", quality: str = "", other: str = ""
) -> str:
    """How prices and calls name a variant: 'batch+flex', 'us', 'hd+1024x1792'; '' is the standard one.

    `other` is any variant that is no service tier, as calls name it: Anthropic's 'fast', 'us'.
    """
    return "+".join(part for part in (processing, tier, other, quality, size) if part)
