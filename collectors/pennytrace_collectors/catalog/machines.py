"""What an hour of a GPU costs, rented or owned, worked out in lines that people can follow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Final

from pennytrace_collectors.catalog.pricefile import Gpu
from pennytrace_collectors.catalog.prices import (
    ALWAYS,
    PRICE_FILE,
    SECOND,
    GpuRate,
    Price,
    RateCard,
    card_of,
    first_second,
    last_second,
    per_unit,
)
from pennytrace_collectors.catalog.variants import STANDARD

_METER: Final = "gpu_seconds"
_HOURS_A_YEAR: Final = (
    8760  # 365 days; a leap year's day more is within what anyone knows of a machine's life
)
_SECONDS_AN_HOUR: Final = 3600
_WATTS: Final = 1000


def gpu_rates(entries: Iterable[Gpu]) -> tuple[GpuRate, ...]:
    """The rates of price files, each until the next one of the same name; a later file's wins on the same day."""
    by_card: dict[str, dict[object, Gpu]] = defaultdict(dict)
    for entry in entries:
        by_card[entry.card][first_second(entry.valid_from)] = entry
    return tuple(
        rate for card in sorted(by_card) for rate in _history(sorted(by_card[card].values(), key=_start))
    )


def gpu_cards(rates: Sequence[GpuRate]) -> Iterator[RateCard]:
    """A rate card for each pool and each GPU."""
    by_card: dict[str, list[GpuRate]] = defaultdict(list)
    for rate in rates:
        by_card[rate.name].append(rate)
    for name, history in by_card.items():
        yield card_of(name, (_price(rate) for rate in history))


def _start(entry: Gpu) -> datetime:
    return first_second(entry.valid_from)


def _history(entries: Sequence[Gpu]) -> Iterator[GpuRate]:
    for place, entry in enumerate(entries):
        ends = [first_second(following.valid_from) - SECOND for following in entries[place + 1 : place + 2]]
        per_hour, derivation = _per_gpu_hour(entry)
        yield GpuRate(
            entry.card,
            entry.pool or "",
            entry.gpu or "",
            entry.cpu,
            entry.kind,
            entry.currency,
            first_second(entry.valid_from),
            min([last_second(entry.valid_to), *ends]),
            per_hour,
            (*derivation, *_busy(entry, per_hour)),
            entry.utilisation,
            entry.written,
        )


def _price(rate: GpuRate) -> Price:
    with localcontext() as context:
        context.prec = 50
        busy = per_unit(rate.per_gpu_hour / rate.utilisation, per=_SECONDS_AN_HOUR)
    return Price(
        STANDARD,
        rate.valid_from,
        rate.valid_to,
        0,
        ALWAYS,
        _METER,
        unit_price=busy,
        list_price=per_unit(rate.per_gpu_hour, per=_SECONDS_AN_HOUR),
        price_key="per_gpu_hour",
        layer=PRICE_FILE,
        source=rate.source,
        currency=rate.currency,
    )


def _per_gpu_hour(entry: Gpu) -> tuple[Decimal, tuple[str, ...]]:
    """What one provisioned GPU costs an hour, busy or not, and how that comes about."""
    with localcontext() as context:
        context.prec = 50
        machine, lines = _rented(entry) if entry.kind != "owned" else _owned(entry)
        gpus = entry.gpus or 1
        each = per_unit(machine, per=gpus)
    what = "CPU" if entry.cpu else "GPU"
    if gpus > 1:
        lines = (
            *lines,
            f"{_money(machine)} / {gpus} {what}s = {_money(each)} {entry.currency} per {what}-hour",
        )
    return each, lines


def _rented(entry: Gpu) -> tuple[Decimal, tuple[str, ...]]:
    what = "CPU" if entry.cpu else "GPU"
    kind = entry.kind.replace("_", " ")
    if entry.per_gpu_hour is not None:
        return entry.per_gpu_hour, (f"{kind}: {_money(entry.per_gpu_hour)} {entry.currency} per {what}-hour",)
    hour = entry.instance_per_hour or Decimal(0)
    return hour, (f"{kind}: {_money(hour)} {entry.currency} per hour of the machine",)


def _owned(entry: Gpu) -> tuple[Decimal, tuple[str, ...]]:
    price, years = entry.purchase_price or Decimal(0), entry.lifetime_years or Decimal(1)
    watts, kwh = entry.power_watts or Decimal(0), entry.electricity_per_kwh or Decimal(0)
    pue, operations = entry.pue or Decimal(1), entry.operations_per_year or Decimal(0)
    purchase = price / (years * _HOURS_A_YEAR)
    power = watts / _WATTS * pue * kwh
    running = operations / _HOURS_A_YEAR
    total = purchase + power + running
    return total, (
        f"purchase: {_money(price)} / ({_money(years)} years x {_HOURS_A_YEAR} h) = {_money(purchase)} an hour",
        f"power: {_money(watts)} W / {_WATTS} x PUE {_money(pue)} x {_money(kwh)} per kWh = {_money(power)} an hour",
        f"operations: {_money(operations)} a year / {_HOURS_A_YEAR} h = {_money(running)} an hour",
        f"owned: {_money(purchase)} + {_money(power)} + {_money(running)} = {_money(total)} {entry.currency}"
        " per hour of the machine",
    )


def _busy(entry: Gpu, per_hour: Decimal) -> tuple[str, ...]:
    if entry.utilisation == 1:
        return ()
    with localcontext() as context:
        context.prec = 50
        busy = per_hour / entry.utilisation
    share = _money(entry.utilisation)
    return (f"{_money(per_hour)} / utilisation {share} = {_money(busy)} {entry.currency} per busy hour",)


def _money(amount: Decimal) -> str:
    """An amount for people: as written, at most 6 decimals."""
    rounded = amount.quantize(Decimal("0.000001")) if int(amount.as_tuple().exponent) < -6 else amount
    text = f"{rounded:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
