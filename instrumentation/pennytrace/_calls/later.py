"""Remembers who asked for a job whose cost is known only later, when somebody else may read of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

from pennytrace._calls.provider import Identity

_MOST: Final = 10_000  # jobs; the oldest is forgotten, and counted for whoever reads of it
_who: dict[str, Mapping[str, str]] = {}
_changing = threading.Lock()


def who(identity: Identity, reader: Mapping[str, str]) -> Mapping[str, str]:
    """Return who asked for a job in this process; the reader when nobody did."""
    if identity.part_of is not None:  # not remembered: a file of results has more lines than there is room
        return _who.get(identity.part_of, reader)
    names = (identity.id, *identity.known_as)
    asker = next((_who[name] for name in names if name in _who), reader)
    with _changing:
        for name in names:
            _who.setdefault(name, asker)
        while len(_who) > _MOST:
            del _who[next(iter(_who))]
    return asker
