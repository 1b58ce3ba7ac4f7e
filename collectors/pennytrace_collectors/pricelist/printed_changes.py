"""How differences between price lists look, and what an update did: tables for people, JSON for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from pennytrace_collectors.catalog import Price
from pennytrace_collectors.pricelist import amounts
from pennytrace_collectors.pricelist.amounts import METER, natural
from pennytrace_collectors.pricelist.difference import Change, Differences
from pennytrace_collectors.pricelist.printed import STANDARD, counted, moment_text, price_record, table, words
from pennytrace_collectors.pricelist.update import Update
from pennytrace_collectors.running import RunningCollector

_MOST: Final = 20
"""How many lines of one kind are for people; machines get all."""


def changes(found: Differences, *, most: int = _MOST) -> list[RenderableType | str]:
    """What differs between two lists: counts, and the first of each kind."""
    rows = _rows(found.changed)
    models = len({change.model for change in found.changed})
    parts: list[RenderableType | str] = [
        f"{counted(len(found.added), 'model')} added, {len(found.removed):,} removed, prices of {models:,} changed."
    ]
    for name, listed_models in (("added", found.added), ("removed", found.removed)):
        parts += [f"  {name}: {model}" for model in listed_models[:most]]
        if len(listed_models) > most:
            parts.append(f"  and {len(listed_models) - most:,} more {name}: see --json")
    if rows:
        parts.append(_changed(rows[:most]))
    if len(rows) > most:
        parts.append(f"  and {len(rows) - most:,} more changes: see --json")
    return parts


def changes_record(found: Differences) -> dict[str, Any]:
    """The same for machines, whole."""
    return {
        "added": list(found.added),
        "removed": list(found.removed),
        "changed": [
            {
                "model": change.model,
                "variant": change.variant,
                "meter": change.meter,
                "above_input_tokens": change.above if change.above >= 0 else None,
                "from_second_of_day": change.window_from,
                "valid_from": moment_text(change.valid_from),
                "valid_to": moment_text(change.valid_to),
                "old": change.old and price_record(change.old),
                "new": change.new and price_record(change.new),
            }
            for change in found.changed
        ],
    }


def updated(done: Update, *, running: RunningCollector | None) -> list[RenderableType | str]:
    """What an update did, and what is left to do."""
    parts = changes(done.differences)
    if not done.changed:
        return [*parts, "Nothing to take: the data in use says the same."]
    now = f"{done.in_use.source} of {done.in_use.taken_at}" if done.in_use else "the installed genai-prices"
    verb = "Gone back to" if done.went_back else "Taken:"
    restart = (
        f"process {running.pid} uses it when it is restarted"
        if running
        else "the collector uses it at its next start"
    )
    return [*parts, f"{verb} {now}; {restart}."]


def updated_record(done: Update) -> dict[str, Any]:
    """The same for machines."""
    return {
        "in_use": done.in_use and asdict(done.in_use),
        "went_back": done.went_back,
        **changes_record(done.differences),
    }


def _changed(rows: Sequence[Sequence[Change]]) -> Table:
    made = table(
        "model", "variant", "meter", "from", "until", "was", "becomes", "per", right=("was", "becomes")
    )
    for change, *alike in rows:
        size = f" over {change.above:,}" if change.above >= 0 else ""
        hour = f" from {amounts.clock(change.window_from)}" if change.window_from else ""
        more = f" and {len(alike)} billed alike" if alike else ""
        cells = (
            change.model,
            change.variant or STANDARD,
            words(change.meter) + size + hour + more,
            amounts.day(change.valid_from),
            amounts.day(change.valid_to),
            _amount(change.old),
            _amount(change.new),
            amounts.per(METER[change.meter]),
        )
        made.add_row(*map(Text, cells))
    return made


def _rows(found: Sequence[Change]) -> list[list[Change]]:
    """Changes that differ only by the meter are one row: what is billed as input changes as input does."""
    rows: dict[object, list[Change]] = {}
    for change in found:
        alike = (
            *(change.model, change.variant, change.above, change.window_from),
            *(change.valid_from, change.valid_to, _amount(change.old), _amount(change.new)),
            *(change.old and change.old.price_key, change.new and change.new.price_key),
            amounts.per(METER[change.meter]),
        )
        rows.setdefault(alike, []).append(change)
    return list(rows.values())


def _amount(price: Price | None) -> str:
    if price is None:
        return "no price"
    return f"{amounts.text(natural(price.unit_price, METER[price.meter]))} {price.currency}"
