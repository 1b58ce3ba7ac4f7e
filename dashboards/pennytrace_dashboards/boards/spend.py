"""The board "Spend": what was spent by feature and by model, over time, and how much of it is known."""

from __future__ import annotations

from typing import Final, Literal

from pennytrace_dashboards.board import Board, Panel, Place, Query, Variable
from pennytrace_dashboards.panels import DAYS, SHARE, TEXT, TIME, Column, money, stacked, stats, table, text

_UID: Final = "pennytrace-spend"

_VARIABLES: Final = (
    Variable(name="currency", label="Currency", query=Query("variables/currency"), many=False),
    Variable(name="environment", label="Environment", query=Query("variables/environment")),
    Variable(name="team", label="Team", query=Query("variables/team")),
    Variable(name="feature", label="Feature", query=Query("variables/feature")),
    Variable(name="provider", label="Provider", query=Query("variables/provider")),
    Variable(name="model", label="Model", query=Query("variables/model")),
)

_HOW_TO_READ_IT: Final = """
- **Spend** is usage times the price in force at the time of each call, in **$currency** only: amounts in
  other currencies are never added. Choose another at the top. Days and times are UTC.
- A call **without a price** is not counted as free: it is left out of the money, counted in *Unpriced calls*,
  and listed with its reason. It is shown whichever currency is chosen.
- A **partly priced** call is in the money with the part that has a price.
- **Estimated** usage is derived from what was delivered, because the provider did not report it.
- **(none)** stands for calls that were given no name; **(others)** for all but the twelve that cost most.
"""


def _totals() -> tuple[Panel, ...]:
    return (
        stats(
            id=1,
            title="Spend, $currency",
            description="Cost of all calls that have a price, and the share of calls that are fully priced.",
            place=Place(x=0, y=0, w=7, h=4),
            query=Query("spend/spend"),
            columns=(money("Spend"), _share("Calls priced", look="coverage")),
        ),
        stats(
            id=2,
            title="What is behind it",
            description="How many calls and tokens the spend is of, how much of them has no price, "
            "and how much of the usage and of the money is estimated.",
            place=Place(x=7, y=0, w=17, h=4),
            query=Query("spend/behind_it"),
            columns=(
                Column(name="Calls"),
                Column(name="Unpriced calls", look="alarm"),
                Column(name="Partly priced calls", look="alarm"),
                Column(name="Tokens"),
                _share("Tokens priced", look="coverage"),
                _share("Calls estimated"),
                _share("Spend estimated"),
            ),
        ),
    )


def _over_time() -> tuple[Panel, ...]:
    description = "Priced calls only; how many calls that covers stands at the top and in the tables below."
    return (
        stacked(
            id=3,
            title="Spend by feature, $currency",
            description=description,
            place=Place(x=0, y=4, w=12, h=9),
            query=Query("spend/feature_over_time", "series"),
            label="feature_or_others",
        ),
        stacked(
            id=4,
            title="Spend by model, $currency",
            description=description,
            place=Place(x=12, y=4, w=12, h=9),
            query=Query("spend/model_over_time", "series"),
            label="model_or_others",
        ),
    )


def _tables() -> tuple[Panel, ...]:
    return tuple(
        table(
            id=number,
            title=f"By {name}, $currency",
            description="Spend a priced call leaves the unpriced calls out of both parts of the division.",
            place=Place(x=x, y=13, w=12, h=10),
            query=Query(f"spend/by_{name}"),
            columns=(
                Column(name=name.capitalize(), unit=TEXT, decimals=None),
                Column(name="Calls", summed=True),
                _share("Calls priced", look="coverage"),
                Column(name="Input tokens", summed=True),
                Column(name="Output tokens", summed=True),
                money("Spend", summed=True),
                money("Spend a priced call", decimals=6),
                _share("Share of spend", look="bar"),
            ),
        )
        for number, name, x in ((5, "feature", 0), (6, "model", 12))
    )


def _not_in_the_money() -> Panel:
    return table(
        id=7,
        title="Not in the money: calls without a full price",
        description="A price file or a newer price list gives them a price; the collector then prices them.",
        place=Place(x=0, y=23, w=14, h=8),
        query=Query("spend/unpriced"),
        columns=(
            *(
                Column(name=name, unit=TEXT, decimals=None)
                for name in ("Provider", "Model", "State", "Reason")
            ),
            Column(name="Calls", summed=True),
            Column(name="Input tokens", summed=True),
            Column(name="Output tokens", summed=True),
            Column(name="Newest", unit=TIME, decimals=None),
        ),
    )


def _as_of() -> tuple[Panel, ...]:
    return (
        table(
            id=8,
            title="As of when, at which prices",
            description="The newest call in the time range, whoever made it, and the price list in force.",
            place=Place(x=14, y=23, w=10, h=3),
            query=Query("spend/as_of"),
            columns=(
                Column(name="Newest call", unit=TIME, decimals=None),
                Column(name="Price list", unit=TEXT, decimals=None),
                Column(name="Newest price in it", unit=TIME, decimals=None),
                Column(name="Age of that price", unit=DAYS, decimals=1),
            ),
        ),
        text(id=9, title="How to read it", place=Place(x=14, y=26, w=10, h=5), markdown=_HOW_TO_READ_IT),
    )


def _share(name: str, look: Literal["plain", "bar", "coverage"] = "plain") -> Column:
    return Column(name=name, unit=SHARE, decimals=1, look=look)


BOARD: Final = Board(
    uid=_UID,
    title="Spend",
    description="What LLM calls cost, by feature and by model, and how much of it is known.",
    variables=_VARIABLES,
    panels=(*_totals(), *_over_time(), *_tables(), _not_in_the_money(), *_as_of()),
)
