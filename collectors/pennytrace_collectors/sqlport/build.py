"""What this build of ClickHouse has: its functions and settings, and which of them a reader may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from . import rules
from .faults import Code, Fault, denied

_FUNCTIONS = (
    "SELECT name, alias_to, if(origin = 'System', categories, 'Own'), is_aggregate FROM system.functions"
)
_COMBINATORS = "SELECT name FROM system.aggregate_function_combinators"
_SETTINGS = "SELECT name, value FROM system.settings"
_SERVER = "SELECT version(), timezone(), groupArray(name) FROM system.databases"


class Look(Protocol):
    """Runs a query of the port's own and returns its rows."""

    def __call__(self, sql: str, parameters: Mapping[str, str]) -> Sequence[Sequence[Any]]:
        """Return the rows; the parameters are any text."""


@dataclass(frozen=True, slots=True)
class Build:
    """One build of ClickHouse, as it describes itself."""

    version: str
    timezone: str
    databases: frozenset[str]
    allowed: frozenset[str]
    """Functions that a reader may call, in lower case."""
    known: frozenset[str]
    """All its functions, in lower case."""
    aggregates: frozenset[str]
    combinators: tuple[str, ...]
    settings: Mapping[str, str]
    """Its settings and their values at the start."""

    @classmethod
    def read(cls, look: Look) -> Self:
        """Ask the engine once; about 50 ms.

        Raises:
            Fault: It cannot be asked.
        """
        functions = look(_FUNCTIONS, {})
        origins = {name: category for name, alias, category, _ in functions if not alias}
        verdicts = [(name.lower(), _is_safe(alias or name, origins)) for name, alias, _, _ in functions]
        refused = {name for name, safe in verdicts if not safe}
        version, timezone, databases = look(_SERVER, {})[0]
        return cls(
            version=version,
            timezone=timezone,
            databases=frozenset(databases),
            # Two functions may differ in case alone; then both must be safe.
            allowed=frozenset(name for name, _ in verdicts) - refused | rules.UNLISTED_FUNCTIONS,
            known=frozenset(name for name, _ in verdicts),
            aggregates=frozenset(name.lower() for name, _, _, aggregate in functions if aggregate),
            combinators=tuple(name for (name,) in look(_COMBINATORS, {})),
            settings=dict((name, value) for name, value in look(_SETTINGS, {})),
        )

    def require_not_function(self, name: str) -> None:
        """Let the name of a column pass; `arrayMap(file, paths)` calls a function by such a name.

        Raises:
            Fault: It is also the name of a function that reaches further than its arguments.
        """
        if name.lower() in self.known - self.allowed:
            raise denied(f"the name {name}, which is also a function's, is not available here")

    def require_function(self, name: str) -> None:
        """Let a function pass that computes from its arguments alone.

        Raises:
            Fault: It reaches further, or there is none of that name.
        """
        lower = name.lower()
        if lower in self.allowed or self._is_aggregate(name):
            return
        if lower in self.known:
            raise denied(f"the function {name} is not available here")
        raise Fault(Code.UNKNOWN_FUNCTION, f"Function with name `{name}` does not exist")

    def _is_aggregate(self, name: str) -> bool:
        # `sumIf`, `quantilesArrayState`: any aggregate function with any run of combinators behind it.
        while name.lower() not in self.aggregates:
            suffix = next((one for one in self.combinators if name.endswith(one)), None)
            if suffix is None:
                return False
            name = name.removesuffix(suffix)
        return True


def _is_safe(origin: str, categories: Mapping[str, str]) -> bool:
    if origin in rules.NOT_FUNCTIONS:
        return False
    return origin in rules.FUNCTIONS or categories.get(origin) in rules.FUNCTION_CATEGORIES
