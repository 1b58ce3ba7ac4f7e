"""What may stand in a price file: one class for each kind of table, checked by pydantic."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, ClassVar, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

from pennytrace_collectors.catalog.meters import METERS
from pennytrace_collectors.catalog.pricefile.keys import KEYS
from pennytrace_collectors.catalog.variants import variant_name

ANY: Final = "*"
_FIRST_DAY: Final = date(1970, 1, 1)
_LAST_DAY: Final = date(2105, 12, 30)
_STANDARD_TIERS: Final = ("default", "standard", "auto")  # as pricing reads what calls say
_STANDARD_QUALITY: Final = "standard"
_BATCH: Final = "batch"  # how calls are submitted; some providers call it a tier
_METERS: Final = frozenset(meter.name for meter in METERS)


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _number(value: object) -> object:
    if isinstance(value, bool):  # to Python, true is also the number 1
        raise ValueError("should be a number")
    return value


def _known_meter(name: str) -> str:
    if name not in _METERS:
        raise ValueError(f"should be a meter: {', '.join(sorted(_METERS))}")
    return name


_Number: TypeAlias = Annotated[Decimal, BeforeValidator(_number)]
_Whole: TypeAlias = Annotated[int, BeforeValidator(_number)]
Amount: TypeAlias = Annotated[_Number, Field(ge=0, max_digits=24, decimal_places=12)]
Positive: TypeAlias = Annotated[_Number, Field(gt=0, max_digits=24, decimal_places=12)]
Share: TypeAlias = Annotated[_Number, Field(ge=Decimal("0.001"), le=1, decimal_places=12)]
Factor: TypeAlias = Annotated[_Number, Field(ge=0, le=1000, decimal_places=12)]
Years: TypeAlias = Annotated[_Number, Field(ge=Decimal("0.1"), le=100, decimal_places=12)]
Percent: TypeAlias = Annotated[_Number, Field(ge=0, le=100, decimal_places=12)]
Count: TypeAlias = Annotated[_Whole, Field(ge=1, le=10_000)]
Tokens: TypeAlias = Annotated[_Whole, Field(ge=0, le=10**12)]
Day: TypeAlias = Annotated[date, Field(ge=_FIRST_DAY, le=_LAST_DAY)]
Currency: TypeAlias = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Name: TypeAlias = Annotated[str, Field(min_length=1)]
Names: TypeAlias = Annotated[tuple[Name, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
Part: TypeAlias = Annotated[str, Field(pattern=r"^[^+\s]+$")]  # '+' joins the parts of a variant's name
Variant: TypeAlias = Annotated[str, Field(pattern=r"^\S*$")]
Meters: TypeAlias = Annotated[
    tuple[Annotated[str, Field(min_length=1), BeforeValidator(_known_meter)], ...],
    BeforeValidator(_as_tuple),
    Field(min_length=1),
]


class Entry(BaseModel):
    """One table of a price file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    table: ClassVar[str]

    source: str = ""
    checked: date | None = None
    """When `source` was last looked at."""
    _file: str = PrivateAttr("")
    _line: int = PrivateAttr(0)

    def at(self, file: str, line: int) -> Self:
        """The same entry, knowing where it is written."""
        self._file, self._line = file, line
        return self

    @property
    def line(self) -> int:
        """Where its table begins in the file; 0 when it is in none."""
        return self._line

    @property
    def written(self) -> str:
        """Where its numbers are from, for people: 'prices.toml:12 our contract', 'https://... checked 2026-11-22'."""
        if self.checked:
            return f"{self.source} checked {self.checked}"
        place = f"{self._file}:{self._line}" if self._file else ""
        return " ".join(part for part in (place, self.source) if part)


class Dated(Entry):
    """An entry that holds for some days of UTC, both of them included."""

    valid_from: Day | None = None
    valid_to: Day | None = None

    @model_validator(mode="after")
    def _from_before_to(self) -> Self:
        if self.valid_from and self.valid_to and self.valid_to < self.valid_from:
            raise ValueError(f"valid_to {self.valid_to} is before valid_from {self.valid_from}")
        return self


class ForModels(Dated):
    """An entry about models, as calls name them; * stands for any text."""

    provider: Name = ANY
    model: Names


class Amounts(ForModels):
    """Prices of a variant of a model: money for so many units of a meter."""

    tier: Part | None = None
    processing: Part | None = None
    size: Part | None = None
    quality: Part | None = None
    other: Part | None = Field(default=None, alias="variant")
    above_input_tokens: Tokens | None = None
    input_mtok: Amount | None = None
    cache_read_mtok: Amount | None = None
    cache_write_mtok: Amount | None = None
    cache_write_5m_mtok: Amount | None = None
    cache_write_1h_mtok: Amount | None = None
    input_audio_mtok: Amount | None = None
    cache_audio_read_mtok: Amount | None = None
    input_image_mtok: Amount | None = None
    cache_image_read_mtok: Amount | None = None
    input_video_mtok: Amount | None = None
    output_mtok: Amount | None = None
    output_reasoning_mtok: Amount | None = None
    output_audio_mtok: Amount | None = None
    output_image_mtok: Amount | None = None
    output_video_mtok: Amount | None = None
    trained_mtok: Amount | None = None
    mchars: Amount | None = None
    audio_minute: Amount | None = None
    video_second: Amount | None = None
    image: Amount | None = None
    page: Amount | None = None
    annotated_page: Amount | None = None
    search: Amount | None = None
    web_search: Amount | None = None
    file_search: Amount | None = None
    code_execution: Amount | None = None
    tool_call: Amount | None = None
    request: Amount | None = None

    @model_validator(mode="after")
    def _says_a_price(self) -> Self:
        if not self.amounts:
            raise ValueError(f"gives no price; give at least one of {', '.join(KEYS)}")
        if self.tier and self.other:
            raise ValueError("tier and variant cannot stand together: a call has one or the other")
        return self

    @property
    def amounts(self) -> dict[str, Decimal]:
        """The prices given, by key."""
        return {key: amount for key in KEYS if (amount := getattr(self, key)) is not None}

    @property
    def variant(self) -> str:
        """The name of the variant that it is about."""
        tier, processing = self.tier or "", self.processing or ""
        if tier == _BATCH:
            tier, processing = "", _BATCH
        tier = "" if tier in _STANDARD_TIERS else tier
        quality = "" if self.quality == _STANDARD_QUALITY else self.quality or ""
        return variant_name(tier, processing, self.size or "", quality, self.other or "")


class OwnPrice(Amounts):
    """`[[price]]`: all prices of a model for a variant, from a day on."""

    table = "price"
    currency: Currency = "USD"


class Correction(Amounts):
    """`[[correction]]`: single prices that are other than the layers below say, in the currency that those have."""

    table = "correction"


class Surcharge(ForModels):
    """`[[surcharge]]`: a variant that costs what another one does, times a factor."""

    table = "surcharge"
    variant: Variant = Field(min_length=1)
    of: Variant = ""
    factor: Factor
    meters: Meters | None = None
    """What is multiplied; by default all that is counted in tokens. The rest costs what it does in `of`."""


class Step(BaseModel):
    """The discount that is had for a commitment of at least so much money a month."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_least: Amount = Field(alias="from")
    percent: Percent


class Discount(ForModels):
    """`[[discount]]`: a share off what the layers below say."""

    table = "discount"
    model: Names = (ANY,)
    tier: Part | None = None
    processing: Part | None = None
    meters: Meters | None = None
    percent: Percent | None = None
    committed: Amount | None = None
    """Money a month that is committed by contract."""
    steps: tuple[Step, ...] = ()

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.percent is None) == (self.committed is None):
            raise ValueError("give either percent, or committed with steps")
        if (self.committed is None) != (not self.steps):
            raise ValueError("committed and steps go together")
        if self.steps and self._step() is None:
            raise ValueError(
                f"committed = {self.committed} is below the first of steps; add one with from = 0"
            )
        return self

    @property
    def off(self) -> Decimal:
        """The percentage taken off."""
        step = self._step()
        return step.percent if step else self.percent or Decimal(0)

    def _step(self) -> Step | None:
        reached = (
            step for step in self.steps if self.committed is not None and step.at_least <= self.committed
        )
        return max(reached, key=lambda step: step.at_least, default=None)


class Deployment(Entry):
    """`[[deployment]]`: which model a deployment's name means, at Azure for instance."""

    table = "deployment"
    provider: Name = ANY
    host: str = ""
    name: Name
    model: Name


class Gpu(Dated):
    """`[[gpu]]`: what an hour of a GPU costs from a day on, rented or owned."""

    table = "gpu"
    pool: Name | None = None
    gpu: Name | None = None
    cpu: bool = False
    kind: Literal["on_demand", "reserved", "spot", "owned"]
    currency: Currency = "USD"
    utilisation: Share = Decimal(1)
    """The share of an hour that is sold; the busy part bears the cost of the whole."""
    per_gpu_hour: Amount | None = None
    instance_per_hour: Amount | None = None
    gpus: Count | None = None
    purchase_price: Amount | None = None
    lifetime_years: Years | None = None
    power_watts: Amount | None = None
    electricity_per_kwh: Amount | None = None
    pue: Annotated[_Number, Field(ge=1, le=10, decimal_places=12)] | None = None
    operations_per_year: Amount | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.pool is not None) + (self.gpu is not None) + self.cpu != 1:
            raise ValueError("say what it is the rate of: one of pool, gpu, or cpu = true")
        owned = (
            "purchase_price",
            "lifetime_years",
            "power_watts",
            "electricity_per_kwh",
            "pue",
            "operations_per_year",
        )
        rented = ("per_gpu_hour", "instance_per_hour")
        wrong = [key for key in (rented if self.kind == "owned" else owned) if getattr(self, key) is not None]
        if wrong:
            raise ValueError(f"kind = {self.kind!r} cannot have {', '.join(wrong)}")
        self._is_priced()
        return self

    def _is_priced(self) -> None:
        if self.kind == "owned":
            if self.purchase_price is None or self.lifetime_years is None:
                raise ValueError("an owned machine needs purchase_price and lifetime_years")
            if (self.power_watts is None) != (self.electricity_per_kwh is None):
                raise ValueError("power_watts and electricity_per_kwh go together")
            if self.pue is not None and self.power_watts is None:
                raise ValueError("pue multiplies the power drawn: give power_watts and electricity_per_kwh")
        elif (self.per_gpu_hour is None) == (self.instance_per_hour is None):
            raise ValueError("give either per_gpu_hour, or instance_per_hour with gpus")
        elif self.per_gpu_hour is not None and self.gpus is not None:
            raise ValueError("gpus goes with instance_per_hour: per_gpu_hour is of one")

    @property
    def card(self) -> str:
        """The name of its rate card."""
        return f"gpu:{'cpu' if self.cpu else self.pool or self.gpu}"


class Exchange(Entry):
    """`[[exchange_rate]]`: what one unit of a currency is worth in another, until the next one."""

    table = "exchange_rate"
    base: Currency = Field(alias="from")
    quote: Currency = Field(alias="to")
    date: Day
    rate: Positive

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.base == self.quote:
            raise ValueError(f"from and to are both {self.base}")
        return self


TABLES: Final[tuple[type[Entry], ...]] = (
    OwnPrice,
    Correction,
    Surcharge,
    Discount,
    Deployment,
    Gpu,
    Exchange,
)
