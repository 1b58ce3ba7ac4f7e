"""How the answers of `pennytrace prices` look: tables for people, JSON with every digit for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any, Final, TextIO

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from pennytrace_collectors.catalog import Catalog, GpuRate, Price
from pennytrace_collectors.catalog.pricefile import PriceFile
from pennytrace_collectors.catalog.spans import Span
from pennytrace_collectors.pricelist import amounts
from pennytrace_collectors.pricelist.amounts import METER, Line, natural
from pennytrace_collectors.pricelist.check import Checked
from pennytrace_collectors.pricelist.listing import Listed
from pennytrace_collectors.pricelist.show import Shown
from pennytrace_collectors.pricelist.sources import Sources

_WIDTH: Final = 140
STANDARD: Final = "standard"


def write_json(document: object, out: TextIO) -> None:
    """Write one JSON document."""
    json.dump(document, out, indent=2, ensure_ascii=False)
    out.write("\n")


def write(parts: Iterable[RenderableType | str], out: TextIO) -> None:
    """Write text and tables for a terminal."""
    console = Console(file=out, highlight=False, width=None if out.isatty() else _WIDTH)
    for part in parts:
        console.print(Text(part) if isinstance(part, str) else part, soft_wrap=isinstance(part, str))


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """An empty table; the columns in `right` hold numbers."""
    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", no_wrap=column in right)
    return made


def shown(answer: Shown) -> list[RenderableType | str]:
    """What a model costs, or why that is not known and what comes nearest."""
    found = answer.resolution
    parts: list[RenderableType | str] = [
        _headline(answer),
        *(f"  {sentence}" for sentence in dict.fromkeys(found.why)),
    ]
    if answer.reason:
        parts.append(f"No price: {answer.reason}.")
        parts += _nearest(answer)
    else:
        parts += _prices(answer.prices)
    return [*parts, *_other_ways(answer), *_history(answer.history, answer.at)]


def shown_record(answer: Shown) -> dict[str, Any]:
    """The same for machines."""
    return {
        "model": answer.seen.request_model,
        "provider": answer.seen.provider,
        "host": answer.seen.host,
        "at": answer.at.isoformat(),
        "variant": answer.variant,
        "rate_card": answer.resolution.rate_card,
        "why": list(answer.resolution.why),
        "reason": answer.reason,
        "prices": [price_record(price) for price in answer.prices],
        "variants": list(answer.variants),
        "other_providers": list(answer.sellers),
        "history": [
            {
                "valid_from": moment_text(period.valid_from),
                "valid_to": moment_text(period.valid_to),
                "prices": [price_record(price) for price in period.prices],
            }
            for period in answer.history
        ],
        "candidates": [
            {"rate_card": near.rate_card, "prices": [price_record(price) for price in near.prices]}
            for near in answer.candidates
        ],
    }


def price_record(price: Price) -> dict[str, Any]:
    """One price for machines: `unit_price` for one unit, `price` for what prices of its kind are quoted for."""
    meter = METER[price.meter]
    return {
        "meter": price.meter,
        "price": amounts.text(natural(price.unit_price, meter)).replace(",", ""),
        "list_price": amounts.text(natural(price.list_price, meter)).replace(",", ""),
        "per": amounts.per(meter),
        "unit_price": f"{price.unit_price:f}",
        "currency": price.currency,
        "variant": price.variant,
        "above_input_tokens": price.above if price.above >= 0 else None,
        "from_second_of_day": price.window_from,
        "valid_from": moment_text(price.valid_from),
        "valid_to": moment_text(price.valid_to),
        "layer": price.layer,
        "price_key": price.price_key,
        "source": price.source,
    }


def gpu(rates: Sequence[GpuRate]) -> list[RenderableType | str]:
    """GPU rates with the arithmetic behind them."""
    parts: list[RenderableType | str] = []
    for rate in rates:
        span = _span(rate.valid_from, rate.valid_to)
        parts.append(f"{rate.name.removeprefix('gpu:')}, {rate.kind.replace('_', ' ')}{span} ({rate.source})")
        parts += [f"  {line}" for line in rate.derivation]
    return parts


def gpu_record(rate: GpuRate) -> dict[str, Any]:
    """One GPU rate for machines."""
    return {
        "rate_card": rate.name,
        "pool": rate.pool,
        "gpu": rate.gpu,
        "cpu": rate.cpu,
        "kind": rate.kind,
        "per_gpu_hour": f"{rate.per_gpu_hour:f}",
        "currency": rate.currency,
        "valid_from": moment_text(rate.valid_from),
        "valid_to": moment_text(rate.valid_to),
        "derivation": list(rate.derivation),
    }


def no_gpu(name: str, catalog: Catalog) -> list[RenderableType | str]:
    """What is said of a GPU without a rate."""
    known = ", ".join(dict.fromkeys(rate.name.removeprefix("gpu:") for rate in catalog.gpu_rates))
    return [
        f"No rate for {name!r}: give it a [[gpu]] in a price file. Those that have one: {known or 'none'}."
    ]


def origin(catalog: Catalog, sources: Sources) -> list[RenderableType | str]:
    """What the price list is made from, in one line."""
    files = "".join(f", {path}" for path in sources.price_files)
    note = f" ({sources.note})" if sources.note else ""
    return [
        Text(f"Price list: genai-prices {catalog.genai_prices}{note}, the supplement{files}.", style="dim")
    ]


def listed(found: Sequence[Listed]) -> list[RenderableType | str]:
    """Models with their first prices, one a line."""
    if not found:
        return ["No model with a price is called that: see `pennytrace prices list`."]
    made = table("provider", "model", "price", "from", "layer")
    for one in found:
        first = one.standard[0]
        layers = ", ".join(one.layers)
        cells = (
            one.provider,
            one.model,
            amounts.summary(one.standard),
            amounts.day(first.valid_from),
            layers,
        )
        made.add_row(*map(Text, cells))
    return [made, f"{counted(len(found), 'model')}."]


def listed_record(one: Listed) -> dict[str, Any]:
    """One model for machines."""
    prices = [price_record(price) for price in one.prices]
    return {"provider": one.provider, "model": one.model, "prices": prices}


def checked(found: Checked) -> list[RenderableType | str]:
    """Mistakes; or, without any, what the files say and what is doubtful in it."""
    if found.errors:
        return [
            *found.errors,
            f"{counted(len(found.errors), 'mistake')}: the collector would not start with this.",
        ]
    said = [f"{file.name}: {_contents(file)}" for file in found.files]
    warnings = [f"warning: {warning}" for warning in found.warnings]
    return [*said, *warnings, f"No mistakes. Reports are in {found.currency}."]


def checked_record(found: Checked) -> dict[str, Any]:
    """The same for machines."""
    return {
        "ok": not found.errors,
        "errors": list(found.errors),
        "warnings": list(found.warnings),
        "currency": found.currency or None,
        "files": [
            {"file": file.name, **{table: len(entries) for table, entries in _tables(file).items()}}
            for file in found.files
        ],
    }


def _contents(file: PriceFile) -> str:
    counts = {table.replace("_", " "): len(entries) for table, entries in _tables(file).items()}
    said = [counted(count, name) for name, count in counts.items() if count]
    return ", ".join(said) or "nothing"


def _tables(file: PriceFile) -> dict[str, Sequence[object]]:
    return {
        "price": file.prices,
        "correction": file.corrections,
        "surcharge": file.surcharges,
        "discount": file.discounts,
        "deployment": file.deployments,
        "gpu_rate": file.gpus,
        "exchange_rate": file.exchange_rates,
    }


def counted(number: int, name: str) -> str:
    """'1 model', '2,330 models'."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _headline(answer: Shown) -> str:
    at = answer.at.isoformat(" ", "minutes").removesuffix("+00:00").removesuffix(" 00:00")
    who = (
        f" at {answer.seen.host or answer.seen.provider}" if answer.seen.host or answer.seen.provider else ""
    )
    return f"{answer.seen.request_model}{who}, {answer.variant or STANDARD}, on {at} UTC"


def _prices(prices: Sequence[Price]) -> list[RenderableType | str]:
    """A table of the meters; those that are billed by the price of another one are named below it."""
    by_meter = {
        meter: list(lines) for meter, lines in groupby(amounts.lines(prices), lambda line: line.price.meter)
    }
    first: dict[object, str] = {}
    alike: dict[str, list[str]] = {}
    for meter, lines in by_meter.items():
        own = first.setdefault(tuple(_but_for_its_meter(line) for line in lines), meter)
        alike.setdefault(own, []).append(words(meter))
    shown_lines = [line for meter in alike for line in by_meter[meter]]
    sources = list(dict.fromkeys(line.price.source for line in shown_lines))
    return [
        _table_of(shown_lines, sources),
        *(f"  As {name}: {', '.join(others)}." for name, *others in alike.values() if others),
        *(f"  [{number}] {source}" for number, source in enumerate(sources, 1)),
    ]


def _but_for_its_meter(line: Line) -> Line:
    return replace(line, price=replace(line.price, meter=""))


def _table_of(lines: Sequence[Line], sources: Sequence[str]) -> Table:
    currencies = sorted({line.price.currency for line in lines})
    columns = {
        "meter": [words(line.price.meter) for line in lines],
        f"price, {', '.join(currencies)}": [_money(line.price.unit_price, line) for line in lines],
        "before discount": [
            _money(line.price.list_price, line) if _is_discounted(line) else "" for line in lines
        ],
        "per": [amounts.per(METER[line.price.meter]) for line in lines],
        "currency": [line.price.currency if len(currencies) > 1 else "" for line in lines],
        "input tokens": [line.input_size for line in lines],
        "hours, UTC": [line.hours for line in lines],
        "from": [amounts.day(line.price.valid_from) for line in lines],
        "until": [amounts.day(line.price.valid_to) for line in lines],
        "layer": [line.price.layer for line in lines],
        "source": [f"[{sources.index(line.price.source) + 1}]" for line in lines],
    }
    used = {name: cells for name, cells in columns.items() if any(cells)}
    made = table(*used, right=[name for name in used if name.startswith(("price", "before"))])
    for row in zip(*used.values(), strict=True):
        made.add_row(*map(Text, row))
    return made


def words(name: str) -> str:
    """A meter's name as people read it."""
    return name.replace("_", " ")


def _is_discounted(line: Line) -> bool:
    return line.price.list_price != line.price.unit_price


def _money(unit_price: Decimal, line: Line) -> str:
    return amounts.text(natural(unit_price, METER[line.price.meter]))


def _nearest(answer: Shown) -> list[RenderableType | str]:
    if not answer.candidates:
        return []
    named = [f"  {near.rate_card}: {amounts.summary(near.prices)}" for near in answer.candidates]
    return ["Nearest by name (never charged for it):", *named]


def _other_ways(answer: Shown) -> list[str]:
    others = [name or STANDARD for name in answer.variants if name != answer.variant]
    parts = []
    if others:
        parts.append(
            f"Other variants then: {', '.join(others)} (--tier, --batch, --variant, --quality, --size)."
        )
    if answer.sellers:
        parts.append(f"Others that sell it: {', '.join(answer.sellers)} (--provider).")
    return parts


def _history(periods: Sequence[Span], at: datetime) -> list[RenderableType | str]:
    others = [period for period in periods if not period.valid_from <= at <= period.valid_to]
    if not others:
        return []
    lines = [
        f"  {amounts.day(p.valid_from) or 'always':>10} to {amounts.day(p.valid_to) or 'now on':<10}  "
        f"{amounts.summary(p.prices)}"
        for p in others
    ]
    return ["Other dates (--at):", *lines]


def _span(start: datetime, end: datetime) -> str:
    said = [f"from {amounts.day(start)}" if amounts.day(start) else "", f"until {amounts.day(end)}"]
    return "".join(f", {part}" for part in said if part and part != "until ")


def moment_text(moment: datetime) -> str | None:
    """A moment for machines; None where prices always did hold, or will."""
    return moment.isoformat() if amounts.day(moment) else None
