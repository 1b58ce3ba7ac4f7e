"""Two price lists are compared by what a call would pay, whatever way they are written down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from pennytrace_collectors.catalog import Price, RateCard
from pennytrace_collectors.catalog.prices import ALWAYS, BEGINNING, END
from pennytrace_collectors.pricelist.difference import Change, differences

SECOND = timedelta(seconds=1)


def day(number: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)


def price(
    amount: str,
    *,
    start: datetime = BEGINNING,
    end: datetime = END,
    above: int = ALWAYS,
    window: int = 0,
    currency: str = "USD",
    variant: str = "",
    source: str = "",
) -> Price:
    unit = Decimal(amount)
    return Price(
        variant, start, end, window, above, "input", unit, unit, "input_mtok", "supplement", source, currency
    )


def changes(old: list[Price], new: list[Price]) -> tuple[Change, ...]:
    return differences(
        {"acme/m": RateCard("acme/m", "USD", tuple(old))}, {"acme/m": RateCard("acme/m", "USD", tuple(new))}
    ).changed


def test_lists_that_charge_the_same_do_not_differ() -> None:
    one = [price("1", source="here")]
    other = [price("1", end=day(3) - SECOND, source="there"), price("1.0", start=day(3), source="there")]

    assert changes(one, other) == ()


def test_models_that_one_of_them_lacks_are_named() -> None:
    card = RateCard("x", "USD", (price("1"),))

    found = differences({"a/1": card, "a/2": card}, {"a/2": card, "a/3": card})

    assert (found.added, found.removed, found.changed) == (("a/3",), ("a/1",), ())


def test_a_change_is_told_with_its_days() -> None:
    (found,) = changes([price("1")], [price("1", end=day(3) - SECOND), price("2", start=day(3))])

    assert (found.valid_from, found.valid_to) == (day(3), END)
    assert (found.old, found.new) == (price("1"), price("2", start=day(3)))


def test_a_gap_is_a_change() -> None:
    (found,) = changes([price("1")], [price("1", end=day(3) - SECOND), price("1", start=day(5))])

    assert (found.valid_from, found.valid_to, found.new) == (day(3), day(5) - SECOND, None)


def test_another_currency_is_a_change() -> None:
    (found,) = changes([price("1")], [price("1", currency="EUR")])

    assert found.old == price("1")
    assert found.new == price("1", currency="EUR")


def test_a_band_that_says_what_the_whole_said_is_no_change() -> None:
    assert changes([price("1")], [price("1"), price("1", above=200_000)]) == ()


def test_only_the_band_that_differs_is_told() -> None:
    (found,) = changes([price("1")], [price("1"), price("2", above=200_000)])

    assert (found.above, found.old, found.new) == (200_000, price("1"), price("2", above=200_000))


def test_what_holds_for_every_band_is_told_once() -> None:
    banded = [price("1"), price("1", above=200_000)]

    (found,) = changes(banded, [price("3")])

    assert found.above == ALWAYS


def test_only_the_part_of_the_day_that_differs_is_told() -> None:
    (found,) = changes([price("1")], [price("1"), price("2", window=3600), price("1", window=7200)])

    assert found.window_from == 3600


@given(st.integers(0, 2**63))
def test_a_change_says_what_either_list_charges_and_none_is_missed(seed: int) -> None:
    random = Random(seed)
    old, new = _list(random), _list(random)
    found = changes(old, new)

    for moment in [BEGINNING, *(day(number) for number in range(8))]:
        for above in (ALWAYS, 100, 200):
            was, becomes = _charged(old, moment, above), _charged(new, moment, above)
            told = [c for c in found if c.valid_from <= moment <= c.valid_to and c.above <= above]
            amounts = {(c.old and c.old.unit_price, c.new and c.new.unit_price) for c in told}
            assert (was == becomes) or (was, becomes) in amounts
    for change in found:
        assert _charged(old, change.valid_from, change.above) == (change.old and change.old.unit_price)
        assert _charged(new, change.valid_from, change.above) == (change.new and change.new.unit_price)
    assert (found == ()) == all(
        _charged(old, moment, above) == _charged(new, moment, above)
        for moment in [BEGINNING, *(day(number) for number in range(8))]
        for above in (ALWAYS, 100, 200)
    )


def _list(random: Random) -> list[Price]:
    """A price list of one meter with a few periods, gaps and bands."""
    edges = sorted(random.sample(range(7), random.randint(0, 4)))
    starts = [BEGINNING, *map(day, edges)]
    ends = [*(day(edge) - SECOND for edge in edges), END]
    found = []
    for start, end in zip(starts, ends, strict=True):
        if random.random() < 0.2:
            continue
        for above in (ALWAYS, *random.sample((100, 200), random.randint(0, 2))):
            found.append(price(str(random.randint(1, 2)), start=start, end=end, above=above))
    return found


def _charged(prices: list[Price], moment: datetime, above: int) -> Decimal | None:
    """An independent reading of a price list: the highest band that the input exceeds."""
    charged, best = None, -2
    for one in prices:
        if one.valid_from <= moment <= one.valid_to and best < one.above <= above:
            charged, best = one.unit_price, one.above
    return charged
