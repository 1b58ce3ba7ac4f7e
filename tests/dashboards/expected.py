"""What the board "Spend" should show, worked out in Python from the shop's calls."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from . import shop
from .plugin import ALL, Range, Variables
from .shop import Sold

Record = dict[str, Any]


def selected(span: Range, variables: Variables) -> list[Sold]:
    """The calls in the time range that the variables let through."""
    in_time = [call for call in shop.calls() if span.start <= call.started_at <= span.end]
    return [
        call
        for call in in_time
        if call.currency in ("", variables["currency"])
        and all(
            variables[name] == [ALL] or named(getattr(call, name)) in variables[name]
            for name in ("environment", "team", "feature", "provider", "model")
        )
    ]


def named(name: str) -> str:
    """A name as boards show it."""
    return name or "(none)"


def money(calls: Iterable[Sold]) -> Decimal | None:
    """The cost of the calls whose cost is known; None when that is none of them."""
    costs = [call.cost for call in calls if call.cost is not None]
    return sum(costs, Decimal(0)) if costs else None


def tokens(calls: Iterable[Sold]) -> int:
    """Input and output tokens."""
    return sum(call.input_tokens + call.output_tokens for call in calls)


def spend(calls: Sequence[Sold]) -> Record:
    """The first tile."""
    return {"Spend": money(calls), "Calls priced": _share(len(_with(calls, "priced")), len(calls))}


def behind_it(calls: Sequence[Sold]) -> Record:
    """The other tiles."""
    estimated = [call for call in calls if call.usage == "estimated"]
    return {
        "Calls": len(calls),
        "Unpriced calls": len(_with(calls, "unpriced")),
        "Partly priced calls": len(_with(calls, "partly_priced")),
        "Tokens": tokens(calls),
        "Tokens priced": _share(tokens(_with(calls, "priced")), tokens(calls)),
        "Calls estimated": _share(len(estimated), len(calls)),
        "Spend estimated": _share(money(estimated), money(calls)),
    }


def by(calls: Sequence[Sold], field: str) -> list[Record]:
    """A table by feature or by model."""
    total = money(calls)
    rows = [
        {
            field.capitalize(): name,
            "Calls": len(group),
            "Calls priced": _share(len(_with(group, "priced")), len(group)),
            "Input tokens": sum(call.input_tokens for call in group),
            "Output tokens": sum(call.output_tokens for call in group),
            "Spend": money(group),
            "Spend a priced call": _share(money(group), len(group) - len(_with(group, "unpriced"))),
            "Share of spend": _share(money(group), total),
        }
        for name, group in _grouped(calls, lambda call: named(getattr(call, field))).items()
    ]
    return sorted(
        rows, key=lambda row: (-_or_below(row["Spend"]), -row["Calls"], row[field.capitalize()].encode())
    )


def over_time(calls: Sequence[Sold], field: str, span: Range) -> list[list[Any]]:
    """The bars by feature or by model: time, name, money."""
    known = [call for call in calls if call.cost is not None]
    totals = _grouped(known, lambda call: named(getattr(call, field)))
    ranked = sorted(totals, key=lambda name: (-_or_below(money(totals[name])), name.encode()))
    largest = ranked[:12]

    def bar(call: Sold) -> tuple[str, str]:
        start = int(call.started_at.timestamp()) // span.step_s * span.step_s
        name = named(getattr(call, field))
        moment = datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%d %H:%M:%S")
        return moment, name if name in largest else "(others)"

    bars = [[*key, money(group)] for key, group in _grouped(known, bar).items()]
    return sorted(bars, key=lambda row: (row[0], row[1].encode()))


def unpriced(calls: Sequence[Sold]) -> Mapping[tuple[str, str, str], tuple[int, int, int]]:
    """Calls, input and output tokens by provider, model and state."""
    groups = _grouped(
        [call for call in calls if call.status != "priced"],
        lambda call: (call.provider, call.model, call.status.replace("_", " ")),
    )
    return {
        key: (len(group), sum(c.input_tokens for c in group), sum(c.output_tokens for c in group))
        for key, group in groups.items()
    }


def choices(span: Range, name: str) -> list[str]:
    """What a variable offers."""
    calls = [call for call in shop.calls() if span.start <= call.started_at <= span.end]
    if name == "currency":
        counted = Counter(call.currency for call in calls if call.currency)
        return [currency for currency, _ in counted.most_common()]
    return sorted({named(getattr(call, name)) for call in calls}, key=str.encode)


def _grouped(calls: Iterable[Sold], key: Callable[[Sold], Any]) -> Mapping[Any, list[Sold]]:
    groups: dict[Any, list[Sold]] = defaultdict(list)
    for call in calls:
        groups[key(call)].append(call)
    return groups


def _with(calls: Iterable[Sold], status: str) -> list[Sold]:
    return [call for call in calls if call.status == status]


def _share(part: Decimal | int | None, whole: Decimal | int | None) -> Decimal | None:
    return Decimal(part) / Decimal(whole) if part is not None and whole else None


def _or_below(amount: Decimal | None) -> Decimal:
    return Decimal(-1) if amount is None else amount
