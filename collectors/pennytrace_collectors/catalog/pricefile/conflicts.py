"""Entries of a price file that cannot both hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from datetime import date
from itertools import pairwise

from pennytrace_collectors.catalog.pricefile.entries import (
    Correction,
    Dated,
    Deployment,
    Discount,
    Entry,
    Exchange,
    Gpu,
    OwnPrice,
    Surcharge,
)

_ALWAYS = date(1970, 1, 1)


def between(entries: Sequence[Entry]) -> Iterator[tuple[int, str]]:
    """The line and what is wrong, for each entry that says something of what an earlier one says it of too."""
    seen: dict[Hashable, Entry] = {}
    for entry in entries:
        for key in _keys(entry):
            first = seen.setdefault(key, entry)
            if first is not entry:
                yield entry.line, f"says again what line {first.line} says{_about(key)}; keep one of them"
    yield from _overlaps([entry for entry in entries if isinstance(entry, Dated)])
    yield from _torn_bands([entry for entry in entries if isinstance(entry, OwnPrice)])


def _keys(entry: Entry) -> Iterator[tuple[Hashable, ...]]:
    """What an entry is about, and from when."""
    if isinstance(entry, Exchange):
        yield entry.base, entry.quote, entry.date
    elif isinstance(entry, Deployment):
        yield entry.provider, entry.host.lower(), entry.name.lower()
    elif isinstance(entry, Dated):
        for about in subjects(entry):
            yield *about, entry.valid_from or _ALWAYS


def subjects(entry: Dated) -> Iterator[tuple[Hashable, ...]]:
    """What an entry is about; of two about the same, the later one ends the earlier one."""
    if isinstance(entry, Gpu):
        yield (entry.card,)
        return
    for model in getattr(entry, "model", ()):
        yield (getattr(entry, "provider", ""), model.lower(), *_variants(entry))


def _variants(entry: Dated) -> tuple[Hashable, ...]:
    if isinstance(entry, OwnPrice | Correction):
        return entry.variant, entry.above_input_tokens
    if isinstance(entry, Surcharge):
        return (entry.variant,)
    if isinstance(entry, Discount):
        return entry.tier, entry.processing, entry.meters
    return ()


def _about(key: tuple[Hashable, ...]) -> str:
    parts = (repr(part) if isinstance(part, str) else str(part) for part in key if part not in (None, ""))
    return " of " + " ".join(parts)


def _overlaps(entries: Sequence[Dated]) -> Iterator[tuple[int, str]]:
    """Entries with an end of their own that lies after the start of the next one."""
    by_subject: dict[Hashable, list[Dated]] = defaultdict(list)
    for entry in entries:
        for about in subjects(entry):
            by_subject[about].append(entry)
    for group in by_subject.values():
        group.sort(key=lambda entry: entry.valid_from or _ALWAYS)
        for entry, following in pairwise(group):
            starts = following.valid_from or _ALWAYS
            if entry.valid_to and entry.valid_to >= starts and (entry.valid_from or _ALWAYS) < starts:
                yield following.line, f"begins on {starts}, while line {entry.line} holds to {entry.valid_to}"


def _torn_bands(prices: Sequence[OwnPrice]) -> Iterator[tuple[int, str]]:
    """Bands of input size that are one price, but differ in what they share, or have nothing below them."""
    groups: dict[Hashable, list[OwnPrice]] = defaultdict(list)
    for price in prices:
        for model in price.model:
            groups[price.provider, model.lower(), price.variant, price.valid_from].append(price)
    for whole in groups.values():
        base = min(
            whole, key=lambda price: -1 if price.above_input_tokens is None else price.above_input_tokens
        )
        if base.above_input_tokens is not None:
            above = f"above {base.above_input_tokens} input tokens"
            yield (
                base.line,
                f"says what holds {above}, and no entry what holds below; add one without the limit",
            )
        for field in ("currency", "valid_to"):
            torn = (price for price in whole if getattr(price, field) != getattr(base, field))
            for price in torn:
                yield price.line, f"{field}: must be that of line {base.line}, of which this is a band"
