"""What can be asked of a store, and what is answered: plain data that goes through files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter

from pennytrace_collectors.store.months import ClosedMonth
from pennytrace_collectors.store.reprice import Correction, Terms
from pennytrace_collectors.store.selection import Selection
from pennytrace_collectors.store.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A price list that is not in force, by what it is compiled from."""

    price_files: tuple[Path, ...] = ()
    genai_data: Path | None = None
    """A newer data file of genai-prices, or None for the installed one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOrder:
    """Work out what a price list would change; answered by a `Trial`."""

    selection: Selection
    candidate: Candidate | None = None
    """None for the list in force."""
    kind: Literal["trial"] = "trial"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepriceOrder:
    """Price calls again by the list in force; answered by a `Correction`."""

    selection: Selection
    terms: Terms
    kind: Literal["reprice"] = "reprice"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseOrder:
    """Close a month; answered by `Months` with that one."""

    month: str
    note: str = ""
    kind: Literal["close"] = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthsOrder:
    """List the closed months; answered by `Months`."""

    kind: Literal["months"] = "months"


@dataclass(frozen=True, slots=True, kw_only=True)
class Months:
    """Closed months, the newest first."""

    months: tuple[ClosedMonth, ...]


Order: TypeAlias = TrialOrder | RepriceOrder | CloseOrder | MonthsOrder
Answer: TypeAlias = Trial | Correction | Months

# A field that this version does not know would be ignored, and something else done than was asked for.
_STRICT: Final = ConfigDict(extra="forbid")
ANY_ORDER: Final[TypeAdapter[Order]] = TypeAdapter(
    Annotated[Order, Field(discriminator="kind")], config=_STRICT
)
ANY_ANSWER: Final[TypeAdapter[Answer]] = TypeAdapter(Answer, config=_STRICT)


def changes_something(order: Order) -> bool:
    """Whether carrying it out changes the store, so that it must not be forgotten once it has begun."""
    return isinstance(order, RepriceOrder | CloseOrder)
