"""What GPUs cost, who used them, and what the same tokens would have cost elsewhere, over a period."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any, Final

from pennytrace.errors import ConfigurationError
from pennytrace_collectors.reports.amounts import added
from pennytrace_collectors.reports.period import Period, nanoseconds
from pennytrace_collectors.reports.reading import Reader
from pennytrace_collectors.store.pricing import as_cards

NONE: Final = "none"
POLICIES: Final[Mapping[str, str]] = {
    "proportional": "idle_proportional",
    "even": "idle_even",
    NONE: "idle_proportional",
}
"""How idle time is shared out, each with its column of the view `gpu_spend`; with `none` it stays where it is."""
DIMENSIONS: Final[Mapping[str, str]] = {
    "feature": "feature",
    "model": "model",
    "provider": "provider",
    "operation": "operation",
    "team": "team",
    "customer": "customer",
    "user": "user",
    "session": "session",
    "service": "service",
    "environment": "environment",
    "feature_source": "feature_source",
    "pool": "gpu_pool",
    "gpu": "gpu_model",
    "hour": "formatDateTime(spent.hour, '%Y-%m-%d %H:00', 'UTC')",
    "day": "toString(toDate(spent.hour, 'UTC'))",
    "month": "formatDateTime(spent.hour, '%Y-%m', 'UTC')",
}
_MODEL: Final = ("provider", "model")
_COUNTS: Final = (
    "calls",
    "input_tokens",
    "cache_read_tokens",
    "output_tokens",
    "priced_tokens",
    "split_input_tokens",
    "split_output_tokens",
)
_AMOUNTS: Final = (
    "gpu_seconds",
    "direct_cost",
    "idle_cost",
    "split_direct_cost",
    "split_idle_cost",
    "input_direct_cost",
    "input_idle_cost",
)
_IDLE: Final = "idle"
_MILLION: Final = 1_000_000
_HUNDREDTH: Final = Decimal("0.0001")  # of a percent
_SMALLEST: Final = Decimal(1).scaleb(-12)  # of a price that is worked out, which need not end


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The GPUs of one model in one pool, as long as they had one rate."""

    pool: str
    gpu_model: str
    rate_card: str
    """'' when there is no rate for them."""
    currency: str
    gpus: int
    """The most in any hour."""
    provisioned_seconds: Decimal
    attributed_seconds: Decimal
    idle_seconds: Decimal
    unreported_seconds: Decimal
    """Part of the provisioned ones: calls took them, though nobody said that the GPU was there."""
    bill: Decimal | None
    """`direct_cost` + `idle_cost`, to the last digit; None without a rate."""
    direct_cost: Decimal | None
    idle_cost: Decimal | None
    utilization: float | None
    """As the driver measured it, 0 to 1; None when it said nothing."""
    energy_joules: float | None

    @property
    def used(self) -> Decimal:
        """The share of the provisioned time that calls took, 0 to 1 with 4 decimals, rounded down."""
        return _share(self.attributed_seconds, self.provisioned_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class PerMillion:
    """Money for a million tokens; None without such tokens, or where nobody knows how much of the time they took."""

    input: Decimal | None
    output: Decimal | None
    all: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """What the calls would have cost by another model's rate card, each call by itself."""

    rate_card: str
    calls: int
    """Those that it has prices for."""
    cost: Decimal
    currency: str
    per_million: Decimal | None
    """Of all tokens of those calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What one combination of the dimensions used, and what that comes to in one currency."""

    key: tuple[str, ...]
    calls: int
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    gpu_seconds: Decimal
    direct_cost: Decimal | None
    """None when there is no rate for any of the GPUs."""
    idle_cost: Decimal | None
    """Its share of the idle time by the policy of the report."""
    currency: str
    without_idle: PerMillion
    with_idle: PerMillion
    elsewhere: tuple[Elsewhere, ...] = ()

    @property
    def cost(self) -> Decimal | None:
        """Both."""
        return added((self.direct_cost, self.idle_cost))


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """What all GPUs with a rate come to in one currency: `direct_cost` + `idle_cost` = `bill`, to the last digit."""

    currency: str
    bill: Decimal
    direct_cost: Decimal
    idle_cost: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReport:
    """GPUs, the models on them and who used them, over whole hours."""

    period: Period
    """The whole hours that the period asked for touches."""
    dimensions: tuple[str, ...]
    policy: str
    pools: tuple[Pool, ...]
    models: tuple[Use, ...]
    """By provider and model."""
    uses: tuple[Use, ...]
    """By the dimensions."""
    unused: tuple[Total, ...]
    """Idle time that is in no row of `uses`: of hours in which nobody used the pool, or all of it."""
    totals: tuple[Total, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """GPU time that no call was charged for."""

    seconds: Decimal
    cost: Decimal | None
    """None when there is no rate for it."""
    currency: str


def read_gpu(
    reader: Reader, dimensions: Sequence[str], period: Period, *, policy: str, against: str | None = None
) -> GpuReport:
    """Read what GPUs came to in a period.

    Args:
        reader: The store.
        dimensions: What uses are grouped by, of `DIMENSIONS`.
        period: Whose whole hours are reported.
        policy: How idle time is shared out, of `POLICIES`.
        against: The rate card that models are compared with; None for those whose names are nearest.

    Raises:
        ConfigurationError: a dimension, the policy or the rate card is unknown.
        StoreUnavailable: the store does not answer.
    """
    _check(dimensions)
    chosen = _columns(dict.fromkeys((*_MODEL, *dimensions)))
    if policy not in POLICIES:
        raise ConfigurationError(f"--idle takes {', '.join(POLICIES)}; got {policy!r}")
    bounds = {"since": nanoseconds(period.since), "until": nanoseconds(period.until)}
    elsewhere = _elsewhere(reader, bounds, against)
    # Models and uses come from one query: a settle between two would make the report contradict itself.
    values = {"dimensions": chosen, "idle": POLICIES[policy]}
    used = reader.rows("gpu_spend.sql", values=values, parameters=bounds)
    pools = tuple(_pool(record) for record in reader.rows("gpu_pools.sql", parameters=bounds))
    return GpuReport(
        period=Period(_start_of_hour(period.since), period.until),
        dimensions=tuple(dimensions),
        policy=policy,
        pools=pools,
        models=_uses(used, _MODEL, policy, elsewhere),
        uses=_uses(used, dimensions, policy, {}),
        unused=_totals(_unused(used, policy)),
        totals=_totals((pool.currency, pool.direct_cost, pool.idle_cost) for pool in pools),
    )


def read_idle(reader: Reader, period: Period) -> tuple[Idle, ...]:
    """GPU time of a period's whole hours that no call was charged for, by currency; none without GPUs.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    bounds = {"since": nanoseconds(period.since), "until": nanoseconds(period.until)}
    if not reader.rows("gpu_reported.sql", parameters=bounds):
        return ()
    return tuple(
        Idle(seconds=record["idle_seconds"], cost=record["idle_cost"], currency=record["currency"])
        for record in reader.rows("gpu_idle.sql", parameters=bounds)
    )


def _check(dimensions: Sequence[str]) -> None:
    for name in dimensions:
        if name not in DIMENSIONS:
            raise ConfigurationError(
                f"--by of --gpu takes some of {', '.join(DIMENSIONS)}, separated by commas; got {name!r}"
            )
    if repeated := {name for name in dimensions if dimensions.count(name) > 1}:
        raise ConfigurationError(f"--by names {', '.join(sorted(repeated))} twice: name it once")


def _columns(dimensions: Iterable[str]) -> str:
    return ", ".join(f"toString({DIMENSIONS[name]}) AS by_{name}" for name in dimensions)


def _elsewhere(
    reader: Reader, bounds: Mapping[str, int], against: str | None
) -> dict[tuple[str, ...], tuple[Elsewhere, ...]]:
    """By provider and model, the cheapest first."""
    calls = reader.text("gpu_calls.sql", {"cards": _cards(reader, against)})
    priced = as_cards(reader.address.database, calls)
    parameters = {**bounds, **({"card": against} if against else {})}
    found: dict[tuple[str, ...], list[Elsewhere]] = defaultdict(list)
    for record in reader.rows("gpu_at_list_price.sql", values={"priced": priced}, parameters=parameters):
        found[record["provider"], record["model"]].append(
            Elsewhere(
                rate_card=record["rate_card"],
                calls=record["calls"],
                cost=record["cost"],
                currency=record["currency"],
                per_million=_per_million(record["cost"], record["tokens"]),
            )
        )
    return {key: tuple(same) for key, same in found.items()}


def _cards(reader: Reader, against: str | None) -> str:
    """The SQL of the rate cards that a stored call is compared with.

    Raises:
        ConfigurationError: the one that somebody asked for is none.
    """
    if against is None:
        return reader.text("gpu_nearest.sql")
    names = [record["rate_card"] for record in reader.rows("gpu_cards.sql", parameters={"card": against})]
    if against not in names:
        raise ConfigurationError(
            f"--against takes a rate card of the price list in force; got {against!r}, "
            f"and the nearest are {', '.join(names) or 'none'}"
        )
    return "[{card:String}]"


def _pool(record: Mapping[str, Any]) -> Pool:
    fields = (name for name in Pool.__dataclass_fields__ if name != "pool")
    return Pool(pool=record["gpu_pool"], **{name: record[name] for name in fields})


def _uses(
    records: Iterable[Mapping[str, Any]],
    dimensions: Sequence[str],
    policy: str,
    elsewhere: Mapping[tuple[str, ...], tuple[Elsewhere, ...]],
) -> tuple[Use, ...]:
    parts: dict[tuple[tuple[str, ...], str], list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        if record["kind"] != _IDLE:
            key = tuple(record[f"by_{name}"] for name in dimensions)
            parts[key, record["currency"]].append(record)
    used = [_use(key, currency, _sum(same), policy) for (key, currency), same in parts.items()]
    used.sort(key=lambda use: (-(use.cost or Decimal(0)), -use.gpu_seconds, use.key))
    # What the calls would have cost elsewhere does not depend on the currency of their GPUs: it is told once.
    first = {use.key: use.currency for use in reversed(used)}
    return tuple(
        replace(use, elsewhere=elsewhere.get(use.key, ())) if first[use.key] == use.currency else use
        for use in used
    )


def _sum(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts and amounts of several records; an amount is None when it is in all of them."""
    counts = {name: sum(record[name] for record in records) for name in _COUNTS}
    return counts | {name: added(record[name] for record in records) for name in _AMOUNTS}


def _use(key: tuple[str, ...], currency: str, record: Mapping[str, Any], policy: str) -> Use:
    return Use(
        key=key,
        calls=record["calls"],
        input_tokens=record["input_tokens"],
        cache_read_tokens=record["cache_read_tokens"],
        output_tokens=record["output_tokens"],
        gpu_seconds=record["gpu_seconds"],
        direct_cost=record["direct_cost"],
        idle_cost=None if policy == NONE else record["idle_cost"],
        currency=currency,
        without_idle=_effective(record, "direct_cost"),
        with_idle=_effective(record, *(("direct_cost",) if policy == NONE else ("direct_cost", "idle_cost"))),
    )


def _effective(record: Mapping[str, Any], *parts: str) -> PerMillion:
    """Money a million tokens: input's is that of reading, output's that of writing."""
    every, both, reading = (added(record[f"{of}{part}"] for part in parts) for of in ("", "split_", "input_"))
    writing = None if reading is None else added((both, reading.copy_negate()))
    return PerMillion(
        input=_per_million(reading, record["split_input_tokens"]),
        output=_per_million(writing, record["split_output_tokens"]),
        all=_per_million(every, record["priced_tokens"]),
    )


def _per_million(cost: Decimal | None, tokens: int) -> Decimal | None:
    if cost is None or not tokens:
        return None
    with localcontext(prec=50):
        return (cost * _MILLION / tokens).quantize(_SMALLEST)


def _unused(
    records: Iterable[Mapping[str, Any]], policy: str
) -> Iterable[tuple[str, Decimal | None, Decimal | None]]:
    for record in records:
        if policy == NONE or record["kind"] == _IDLE:
            yield record["currency"], Decimal(0), record["idle_cost"]


def _totals(parts: Iterable[tuple[str, Decimal | None, Decimal | None]]) -> tuple[Total, ...]:
    by_currency: dict[str, list[tuple[Decimal, Decimal]]] = defaultdict(list)
    for currency, direct, idle in parts:
        if direct is not None and idle is not None:
            by_currency[currency].append((direct, idle))
    return tuple(_total(currency, same) for currency, same in sorted(by_currency.items()))


def _total(currency: str, parts: Sequence[tuple[Decimal, Decimal]]) -> Total:
    direct, idle = (added(part[place] for part in parts) or Decimal(0) for place in (0, 1))
    return Total(
        currency=currency, bill=added((direct, idle)) or Decimal(0), direct_cost=direct, idle_cost=idle
    )


def _share(part: Decimal, whole: Decimal) -> Decimal:
    return (part / whole).quantize(_HUNDREDTH, "ROUND_DOWN") if whole else Decimal(0)


def _start_of_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
