"""What a reader of spend alone may not reach: every table of the store that `rules.toml` does not list for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from . import rules
from .faults import denied
from .tree import Found, Parts

# They take the name of a table or of a dictionary as text.
_BY_NAME = ("dict", "joinget")


def require_spend_only(found: Found, database: str, tables: frozenset[str]) -> None:
    """Let a statement pass that reads nothing of the store but its spend; `tables` are all that the store has.

    Raises:
        Fault: It names another table, also where that might be a column's or an alias's name.
    """
    for name in sorted(set(_named(found, database)) & tables - rules.SPEND_TABLES):
        raise denied(f"it is necessary to have the grant SELECT ON {database}.{name}")
    for name in sorted({*found.functions, *_single(found.identifiers)}):
        if name.lower().startswith(_BY_NAME):
            raise denied(f"{name} is not available to a reader of spend")


def _named(found: Found, database: str) -> Iterator[str]:
    yield from _single(found.tables | found.in_names)
    for parts in found.tables | found.in_names | found.identifiers:
        if len(parts) > 1 and parts[0] == database:
            yield parts[1]


def _single(names: Iterable[Parts]) -> Iterator[str]:
    return (parts[0] for parts in names if len(parts) == 1)
