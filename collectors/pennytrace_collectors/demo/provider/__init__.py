"""A simulated provider that speaks OpenAI's language over real HTTP, and keeps its own books."""

from pennytrace_collectors.demo.provider.books import Books, Line
from pennytrace_collectors.demo.provider.serving import serving

__all__ = ["Books", "Line", "serving"]
