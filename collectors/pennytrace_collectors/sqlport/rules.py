"""What a statement may be made of, as listed and explained in `rules.toml`; what is not listed is refused."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Final

_LISTS: Final[dict[str, list[str] | str]] = tomllib.loads(
    files(__package__).joinpath("rules.toml").read_text(encoding="utf-8")
)


def _words(name: str) -> frozenset[str]:
    listed = _LISTS[name]
    return frozenset(listed.split() if isinstance(listed, str) else listed)


ROOTS: Final = _words("roots")
NODES: Final = ROOTS | _words("nodes")
KEYS: Final = _words("keys")
EXPLAINS: Final = _words("explains")
TABLE_FUNCTIONS: Final = _words("table_functions")
SYSTEM_TABLES: Final = _words("system_tables")
SPEND_TABLES: Final = _words("spend_tables")
FUNCTION_CATEGORIES: Final = _words("function_categories")
FUNCTIONS: Final = _words("functions")
NOT_FUNCTIONS: Final = _words("not_functions")
UNLISTED_FUNCTIONS: Final = _words("unlisted_functions")
FORMATS: Final = _words("formats")
STREAMED_FORMATS: Final = _words("streamed_formats")
SETTINGS: Final = _words("settings")
SETTING_FAMILIES: Final = tuple(sorted(_words("setting_families")))
CAPPED_SETTINGS: Final = _words("capped_settings")
IGNORED_SETTINGS: Final = _words("ignored_settings")
