"""TOML that people write: where in a file each thing stands, and what is wrong with it in words that help."""

from pennytrace_collectors.tomlfile.positions import Place, closest_line, lines_of
from pennytrace_collectors.tomlfile.wording import meant, said, shown

__all__ = ["Place", "closest_line", "lines_of", "meant", "said", "shown"]
