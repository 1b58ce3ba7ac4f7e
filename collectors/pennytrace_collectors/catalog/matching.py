"""Which entries of a price file are about a model, and which of them is the most exact."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Generic, TypeAlias, TypeVar

from pennytrace_collectors.catalog.pricefile import ForModels
from pennytrace_collectors.catalog.sellers import counter_of, seller_named

ANY: Final = "*"
Exactness: TypeAlias = tuple[bool, bool, int, int]
"""A name before a wildcard, a provider before any, the better name, the longer pattern: the greater, the more exact."""
E = TypeVar("E", bound=ForModels)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model that prices are looked up for."""

    sellers: tuple[str, ...]
    names: tuple[str, ...]
    """What calls call it, the best first."""


@dataclass(frozen=True, slots=True)
class Match(Generic[E]):
    """An entry that is about a model, and how exactly it says so."""

    entry: E
    pattern: str
    """The entry's name for the model that fits."""
    exactness: Exactness


class Entries(Generic[E]):
    """The entries of one kind, found by model without looking at each."""

    def __init__(self, entries: Iterable[E]) -> None:
        """Index the entries by the names that they give."""
        self._named: dict[str, list[tuple[str, E]]] = {}
        self._wild: list[tuple[str, E]] = []
        for entry in entries:
            for pattern in entry.model:
                if ANY in pattern:
                    self._wild.append((pattern, entry))
                else:
                    self._named.setdefault(pattern.lower(), []).append((pattern, entry))

    def about(self, wanted: Wanted) -> tuple[Match[E], ...]:
        """The entries about a model, each by its best name, the least exact first."""
        best: dict[int, Match[E]] = {}
        for match in self._matches(wanted):
            known = best.get(id(match.entry))
            if known is None or known.exactness < match.exactness:
                best[id(match.entry)] = match
        return tuple(sorted(best.values(), key=lambda match: match.exactness))

    def groups(self) -> list[tuple[Match[E], ...]]:
        """All entries, those that say the same provider and name together."""
        found: dict[tuple[str, str], list[Match[E]]] = {}
        for pattern, entry in (*(one for named in self._named.values() for one in named), *self._wild):
            match = Match(entry, pattern, _exactness(entry, pattern, 0))
            found.setdefault(group_of(match), []).append(match)
        return [tuple(matches) for matches in found.values()]

    def _matches(self, wanted: Wanted) -> Iterator[Match[E]]:
        for rank, name in enumerate(wanted.names):
            fitting = [(pattern, entry) for pattern, entry in self._wild if fits(pattern, name)]
            for pattern, entry in (*self._named.get(name.lower(), ()), *fitting):
                if fits_provider(entry.provider, wanted.sellers):
                    yield Match(entry, pattern, _exactness(entry, pattern, rank))


def group_of(match: Match[E]) -> tuple[str, str]:
    """What entries that are one history of prices have in common, whatever their variant."""
    return match.entry.provider, match.pattern.lower()


def _exactness(entry: ForModels, pattern: str, rank: int) -> Exactness:
    return ANY not in pattern, entry.provider != ANY, -rank, len(pattern.replace(ANY, ""))


def fits_provider(pattern: str, sellers: Iterable[str]) -> bool:
    """Whether an entry's provider, under any of the names it goes by, is one of the sellers."""
    same = counter_of(pattern) or seller_named(pattern)
    return pattern == ANY or any(fits(pattern, seller) or same == seller for seller in sellers)


def fits(pattern: str, text: str) -> bool:
    """Whether a pattern, in which * stands for any text, is the whole of a text; case does not count."""
    return bool(_compiled(pattern).fullmatch(text))


@lru_cache(maxsize=65_536)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split(ANY)), re.IGNORECASE | re.DOTALL)
