"""How much of the machine one reader, and all readers together, may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of the port; a client may ask for less of each, never for more."""

    seconds: float = 60.0
    """Of one query, from its start to its last row."""
    memory_bytes: int = 512 * _MIB
    """That one query may hold in ClickHouse."""
    result_bytes: int = 128 * _MIB
    """Of an answer that is held whole before it is sent: every format with a head or a foot, and every client
    that asks to wait for the end. Other answers stream and have no such limit."""
    query_bytes: int = 256 * 1024
    """Of a statement, as in ClickHouse."""
    concurrent: int = 4
    """Queries that run at once."""
    waiting: int = 64
    """Queries that wait for their turn; one more is refused."""

    def settings(self) -> Mapping[str, str]:
        """The settings of ClickHouse that hold these limits for a query whose answer streams."""
        return {
            "max_execution_time": _number(self.seconds),
            "max_memory_usage": str(self.memory_bytes),
        }

    def held_whole(self) -> Mapping[str, str]:
        """The settings that are added when the answer is held whole."""
        return {"max_result_bytes": str(self.result_bytes), "result_overflow_mode": "throw"}


def _number(value: float) -> str:
    return f"{value:g}"
