"""What `pennytrace doctor` looks at on the collector's side: the collector, the store, the prices."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from pennytrace.errors import PennytraceError
from pennytrace.finding import Finding
from pennytrace_collectors import running, storename
from pennytrace_collectors.pricelist.sources import in_use, supplement_checked
from pennytrace_collectors.refused import waiting
from pennytrace_collectors.replay import refused_folder
from pennytrace_collectors.reports import Period, PriceList, Spend, open_reader, read_spend, shown

_AREA: Final = "collector"
_TIMEOUT_S: Final = 2
_OLD: Final = timedelta(days=45)
_LONGEST: Final = 300
"""Characters of a finding that quotes the store."""


def check() -> Sequence[Finding]:
    """Findings about the collector of the default state folder; nothing is changed."""
    state = running.state_folder(None)
    return [*_collector(state), *_refused(state), *_store(state)]


def _collector(state: Path) -> Iterator[Finding]:
    collector = running.find(state)
    if collector is None:
        yield Finding(
            area=_AREA,
            state="warning",
            what=f"no collector runs on {state}",
            advice="start `pennytrace collect`, or set PENNYTRACE_STATE if it runs elsewhere",
        )
        return
    if collector.http is None:
        yield Finding(area=_AREA, state="ok", what=f"process {collector.pid} runs, its HTTP port is off")
        return
    status, reasons = _health(collector.local or collector.http)
    if status == 200:
        yield Finding(
            area=_AREA, state="ok", what=f"process {collector.pid} accepts spans at {collector.http}"
        )
        for warning in _warnings(reasons):
            yield Finding(area=_AREA, state="warning", what=f"process {collector.pid} says: {warning}")
        return
    yield Finding(
        area=_AREA,
        state="failure",
        what=f"process {collector.pid} does not accept spans at {collector.http}: {reasons}",
        advice="look at what it says; it takes spans again by itself when the cause is gone",
    )


def _refused(state: Path) -> Iterator[Finding]:
    """What waits in the folder of refused bodies, by what the store said of it."""
    found = sorted(waiting(refused_folder(state)), key=lambda one: one.kind)
    for _, same in groupby(found, key=lambda one: one.kind):
        bodies = list(same)
        spans = sum(one.spans or 0 for one in bodies)
        yield Finding(
            area=_AREA,
            state="warning",
            what=f"{len(bodies):,} bodies with {spans:,} spans were refused by the store and are set aside: "
            f"{bodies[-1].reason or 'the reason is not known'}"[:_LONGEST],
            advice="`pennytrace refused list` shows them, `replay` tries them again, `drop` gives them up",
        )


def _health(url: str) -> tuple[int, str]:
    try:
        with urlopen(f"{url}/health", timeout=_TIMEOUT_S) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except HTTPError as error:
        with error:
            return error.code, _reasons(error.read())
    except (URLError, OSError) as error:
        return 0, str(error)


def _reasons(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body))
    except ValueError:
        return body.decode(errors="replace")[:200]


def _warnings(body: str) -> Sequence[str]:
    try:
        return [str(warning) for warning in json.loads(body)["warnings"]]
    except (ValueError, KeyError, TypeError):
        return ()


def _store(state: Path) -> Iterator[Finding]:
    now = datetime.now(UTC)
    try:
        reader = open_reader(storename.given(argparse.Namespace(store=None, store_file=None)), state=state)
        try:
            spend = read_spend(
                reader, ["provider"], Period(now - timedelta(days=7), now + timedelta(minutes=1))
            )
        finally:
            reader.close()
    except PennytraceError as error:
        yield Finding(area="store", state="warning", what=str(error))
        return
    yield from _prices(spend, state, now)
    yield from _coverage(spend)
    yield from _losses(spend)


def _prices(spend: Spend, state: Path, now: datetime) -> Iterator[Finding]:
    if spend.price_list is None:
        yield Finding(
            area="prices",
            state="failure",
            what="the store has no price list",
            advice="restart `pennytrace collect`",
        )
        return
    newest = spend.price_list.newest_price
    old = now - newest > _OLD
    yield Finding(
        area="prices",
        state="warning" if old else "ok",
        what=f"{spend.price_list.identity}, its newest price is of {newest.date().isoformat()}",
        advice="`pip install -U genai-prices` or `pennytrace prices update`, then restart the collector"
        if old
        else "",
    )
    yield from _next_prices(spend.price_list, state)


def _next_prices(in_force: PriceList, state: Path) -> Iterator[Finding]:
    """What the collector would price by after a restart: data that `prices update` has kept, and the supplement."""
    try:
        sources = in_use((), state)
        catalog = sources.catalog()
    except PennytraceError as error:
        yield Finding(area="prices", state="failure", what=f"the collector cannot start: {error}")
        return
    if sources.note:
        restart = catalog.genai_prices != in_force.genai_prices
        yield Finding(
            area="prices",
            state="warning" if restart else "ok",
            what=sources.note,
            advice="restart the collector to use it" if restart else "",
        )
    checked = supplement_checked(catalog)
    what = (
        f"the supplement has {checked.entries:,} prices, looked up between {checked.first} and {checked.last}"
    )
    yield Finding(area="prices", state="ok", what=what)


def _coverage(spend: Spend) -> Iterator[Finding]:
    calls = sum(total.coverage.calls for total in spend.totals)
    priced = sum(total.coverage.priced_calls for total in spend.totals)
    yield Finding(
        area="store",
        state="ok" if calls else "warning",
        what=f"{calls:,} calls in the last 7 days, {priced:,} of them priced",
        advice=""
        if calls
        else "no call has arrived: is `pennytrace.init()` in the app, and its endpoint right?",
    )
    for unpriced in spend.unpriced[:5]:
        yield Finding(
            area="prices",
            state="warning",
            what=f"{unpriced.calls:,} calls of {unpriced.provider}/{unpriced.model} lack a price: {unpriced.reason}",
            advice="give the model a [[price]] in a file, and the file to `pennytrace collect --prices`"
            if unpriced.reason in ("unknown model", "unknown provider", "model without a price")
            else "",
        )


def _losses(spend: Spend) -> Iterator[Finding]:
    for loss in spend.losses[:5]:
        yield Finding(
            area="store",
            state="warning",
            what=f"in the last 7 days, {shown.lost(loss)}",
            advice="look at what its log says of pennytrace, and whether it reaches the collector",
        )
