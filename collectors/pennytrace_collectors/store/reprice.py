"""Price stored calls again by the price list in force: as corrections, with what they were charged kept beside."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from pennytrace_collectors.errors import OrderError
from pennytrace_collectors.store.client import translated
from pennytrace_collectors.store.comparison import Comparison, compare
from pennytrace_collectors.store.months import closed_in
from pennytrace_collectors.store.pricing import again, in_force
from pennytrace_collectors.store.scripts import ANY_MONTHS, reprice_sql
from pennytrace_collectors.store.selection import Progress, Selection, condition, portions
from pennytrace_collectors.store.tables import Tables
from pennytrace_collectors.store.trial import compared, figures
from pennytrace_collectors.store.tryout import identity_in_force


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms calls are priced again."""

    catalog: str
    """The identity of the price list that was looked at; when another one is in force, nothing is done."""
    note: str = ""
    """Why, for those who read the correction later."""
    closed_too: bool = False
    """Correct closed months as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What was priced again."""

    correction: str
    """Its name in the views `corrections_made` and `charged`."""
    note: str
    catalog: str
    """The identity of the price list."""
    calls: int
    """All calls that were looked at."""
    comparison: Comparison
    """What was really changed, read back from the store."""


def reprice(
    store: Tables, selection: Selection, terms: Terms, *, correction: str
) -> Generator[Progress, None, Correction]:
    """Price the selected calls again and keep what they were charged, in the table `corrections`.

    Only calls whose price differs are touched. It may be cut off at any point and done again, under the same name or
    another: what was done stays done, and the rest follows. A generator, so that its owner may do other things between
    two portions; what it returns is the result.

    Raises:
        OrderError: the selection touches a closed month, or another price list is in force; nothing was changed.
        StoreUnavailable: the store is away; what is not done yet is done when it is asked for again.
    """
    with translated(store.address):
        _refuse_closed(store, selection, terms)
        calls = 0
        for portion, progress in portions(store, selection):
            # Before each: between two portions the owner may have put another list in force.
            _refuse_other_list(store, terms)
            _correct(store, portion, correction, terms.note)
            yield progress
            calls = progress.total
        return Correction(
            correction=correction,
            note=terms.note,
            catalog=terms.catalog,
            calls=calls,
            comparison=_made(store, correction),
        )


def _refuse_closed(store: Tables, selection: Selection, terms: Terms) -> None:
    closed = closed_in(store, selection.since, selection.until)
    if closed and not terms.closed_too:
        are = "is closed" if len(closed) == 1 else "are closed"
        raise OrderError(
            f"{', '.join(closed)} {are}: nothing was changed; begin later (--since), "
            "or say --closed-too to correct closed months as well"
        )


def _refuse_other_list(store: Tables, terms: Terms) -> None:
    found = identity_in_force(store)
    if found != terms.catalog:
        raise OrderError(
            f"the price list in force is now {found!r}, not {terms.catalog!r}: what was done before it came stays; "
            "run it again to see what the new list would change"
        )


def _correct(store: Tables, portion: Selection, correction: str, note: str) -> None:
    """Write down what calls were charged, then feed them back; cut off in between, they are still charged that."""
    database = store.address.database
    named = {"correction": correction, "note": note}
    changed = compared(store, in_force(database), portion)
    write_down = reprice_sql("write_down.sql", database=database, changed=changed)
    store.client.command(write_down, parameters=named, settings=ANY_MONTHS)
    written = reprice_sql("written_down.sql", database=database)
    stored = again(database, f"{condition(portion, database)} AND {written}")
    feed_back = reprice_sql("feed_back.sql", database=database, again=stored)
    store.client.command(feed_back, parameters=named, settings=ANY_MONTHS)


def _made(store: Tables, correction: str) -> Comparison:
    made = reprice_sql("made.sql", database=store.address.database)
    return compare(figures(store, f"({made})", correction=correction))
