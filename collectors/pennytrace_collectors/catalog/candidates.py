"""The rate cards nearest to a model that has none: what its calls might have cost, never what they are charged."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Final

from genai_prices.data_snapshot import DataSnapshot

from pennytrace_collectors.catalog import genai
from pennytrace_collectors.catalog.listed import listed

_MOST: Final = 3
_WORD: Final = re.compile(r"[a-z]+|\d+")


class Nearby:
    """Where names are looked for that no rate card is for."""

    def __init__(self, snapshot: DataSnapshot, own: Iterable[str]) -> None:
        """Index the price list's models and the price files' own cards by name."""
        self._snapshot = snapshot
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._at: dict[str, list[tuple[str, str, frozenset[str]]]] = defaultdict(list)
        listed = [
            (provider.id, model.id, genai.card_name(provider.id, model.id))
            for provider in snapshot.providers
            for model in provider.models
            if genai.is_priced(model)
        ]
        named = [(*card.partition(":")[2].partition("/")[::2], card) for card in own]
        # The user knows best what is like his own; much of the supplement is history.
        for seller, model_name, card in (
            *(one for one in named if one[2].startswith("file:")),
            *listed,
            *(one for one in named if one[2].startswith("supplement:")),
        ):
            self._add(seller, model_name, card)

    def candidates(
        self, names: Sequence[str], sellers: Sequence[str], *, first: Sequence[str] = ()
    ) -> tuple[str, ...]:
        """At most 3 cards: the same model elsewhere, else the closest names at that seller; `first` before all."""
        near = [card for name in names for card in self._elsewhere(name)] or [
            card for name in names for card in self._alike(name, sellers)
        ]
        return tuple(dict.fromkeys((*first, *near)))[:_MOST]

    def _add(self, seller: str, model: str, card: str) -> None:
        name = model.lower()
        self._at[seller].append((name, card, frozenset(_WORD.findall(name))))
        for key in {name, name.rpartition("/")[2]}:
            self._by_name[key].append(card)

    def _elsewhere(self, name: str) -> list[str]:
        """Cards of the very model, whoever sells it: by its whole name, by the name without the maker's, by rules."""
        whole, short = name.lower(), name.lower().rpartition("/")[2]
        return self._by_name.get(whole) or self._by_name.get(short) or list(self._by_rules(short))

    def _by_rules(self, name: str) -> Iterator[str]:
        for provider in self._snapshot.providers:
            found = listed(provider, name, self._snapshot)
            if found and found.own and found.itself and genai.is_priced(found.model):
                yield found.card

    def _alike(self, name: str, sellers: Sequence[str]) -> list[str]:
        """Cards of the seller's models that have most words of their names in common, and the longest beginning."""
        wanted = frozenset(_WORD.findall(name.lower()))
        scored = [
            (len(words & wanted) / len(words | wanted), _begin_alike(model, name.lower()), card)
            for seller in sellers
            for model, card, words in self._at.get(seller, ())
            if words & wanted
        ]
        return [card for *_, card in sorted(scored, key=lambda score: (-score[0], -score[1], score[2]))]


def _begin_alike(one: str, other: str) -> int:
    """How many characters two names begin with in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
