"""`pennytrace prices`: what a model costs and why, the whole list, checking a file, differences, newer data."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pennytrace.errors import ConfigurationError
from pennytrace_collectors import storename

if TYPE_CHECKING:
    from pennytrace_collectors.catalog import Catalog
    from pennytrace_collectors.orders import Trial
    from pennytrace_collectors.pricelist.sources import Sources


@dataclass(frozen=True, slots=True)
class Prices:
    """The sub-command."""

    name: str = "prices"
    help: str = "show, list, check, compare and update the prices that calls are charged at"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the actions and the options of each."""
        actions = parser.add_subparsers(dest="action", metavar="action", required=True)
        for name, (help_text, declare, _) in _ACTIONS.items():
            action = actions.add_parser(name, help=help_text, description=help_text)
            declare(action.add_argument)
            action.add_argument("--json", action="store_true", help="for machines: every digit")

    def run(self, args: argparse.Namespace) -> int:
        """Carry out one action.

        Raises:
            ConfigurationError: an option cannot be used.
            CollectorError: a price file or the price data cannot be used, or the store cannot be read.
        """
        return _ACTIONS[args.action][2](args)


_Add = Callable[..., argparse.Action]


_LAYERS: Final = ("genai-prices", "supplement", "price file")


def _at(add: _Add) -> None:
    add("--at", metavar="WHEN", default="", help="a date, a time or an age (7d) [now]")


def _sources(add: _Add) -> None:
    add(
        "--prices",
        metavar="FILE",
        action="append",
        help=f"a price file; may be repeated [PENNYTRACE_PRICES: separated by {os.pathsep!r}]",
    )
    _state(add)


def _state(add: _Add) -> None:
    add(
        "--state",
        metavar="DIR",
        help="the collector's state folder, for the data kept there [PENNYTRACE_STATE]",
    )


def _show_options(add: _Add) -> None:
    add("model", metavar="MODEL", nargs="?", help="as calls name it")
    add("--gpu", metavar="NAME", help="instead of a model: a pool of GPUs, a GPU's name, or 'cpu'")
    add("--provider", metavar="NAME", default="", help="as in the report [the one whose model it is]")
    add(
        "--host", metavar="HOST", default="", help="the host of the calls; it goes before the provider's name"
    )
    _at(add)
    add("--tier", metavar="TIER", default="", help="service tier as served, such as flex or priority")
    add("--batch", action="store_true", help="submitted as a batch")
    add(
        "--variant", metavar="NAME", default="", help="any other variant as calls name it, such as fast or us"
    )
    add("--quality", metavar="NAME", default="", help="of images that are priced by it, such as hd")
    add("--size", metavar="SIZE", default="", help="of images that are priced by it, such as 1024x1792")
    _sources(add)


def _list_options(add: _Add) -> None:
    add("--provider", metavar="NAME", default="", help="only this provider's")
    add("--model", metavar="TEXT", default="", help="only models whose name contains it")
    add("--layer", metavar="LAYER", default="", help="only with prices of this layer: " + ", ".join(_LAYERS))
    _at(add)
    _sources(add)


def _check_options(add: _Add) -> None:
    add("files", metavar="FILE", nargs="+", help="price files, lowest first when several are used together")


def _diff_options(add: _Add) -> None:
    add(
        "--prices",
        metavar="FILE",
        action="append",
        help="a price file of the candidate list; may be repeated [the ones in use]",
    )
    add("--data", metavar="FILE", help="a genai-prices data file of the candidate list [the one in use]")
    add("--since", metavar="WHEN", default="30d", help="past spend from an age (7d) or a date on [30d]")
    add("--until", metavar="WHEN", help="past spend up to an age or a date [now]")
    _state(add)
    storename.declare(add, "the store itself, as for `collect` [PENNYTRACE_STORE]")


def _update_options(add: _Add) -> None:
    add("source", metavar="PATH|URL", nargs="?", help="a data file of genai-prices")
    add("--back", action="store_true", help="instead: go back to the data that was in use before")
    add("--force", action="store_true", help="take data that is older than the data in use")
    _state(add)


def _show(args: argparse.Namespace) -> int:
    from pennytrace_collectors.catalog import SeenModel
    from pennytrace_collectors.pricelist import printed, show

    if (args.model is None) == (args.gpu is None):
        raise ConfigurationError("give a model, or --gpu; not both")
    sources = _in_use(args.prices, args.state)
    catalog = sources.catalog()
    if args.gpu is not None:
        return _show_gpu(args, catalog)
    way = show.Way(tier=args.tier, batch=args.batch, other=args.variant, quality=args.quality, size=args.size)
    answer = show.show(catalog, SeenModel(args.provider, args.host, args.model, ""), way, _moment(args.at))
    if args.json:
        printed.write_json(printed.shown_record(answer), sys.stdout)
    else:
        printed.write([*printed.shown(answer), *printed.origin(catalog, sources)], sys.stdout)
    return 1 if answer.reason else 0


def _show_gpu(args: argparse.Namespace, catalog: Catalog) -> int:
    from pennytrace_collectors.pricelist import printed, show

    rates = show.gpu_rates(catalog, args.gpu)
    if args.json:
        printed.write_json([printed.gpu_record(rate) for rate in rates], sys.stdout)
    else:
        printed.write(printed.gpu(rates) if rates else printed.no_gpu(args.gpu, catalog), sys.stdout)
    return 0 if rates else 1


def _list(args: argparse.Namespace) -> int:
    from pennytrace_collectors.pricelist import listing, printed

    if args.layer and args.layer not in _LAYERS:
        raise ConfigurationError(
            f"--layer must be one of {', '.join(map(repr, _LAYERS))}; got {args.layer!r}"
        )
    sources = _in_use(args.prices, args.state)
    catalog = sources.catalog()
    wanted = listing.Wanted(provider=args.provider, model=args.model, layer=args.layer)
    found = listing.listing(catalog, wanted, _moment(args.at))
    if args.json:
        printed.write_json([printed.listed_record(one) for one in found], sys.stdout)
    else:
        printed.write([*printed.listed(found), *printed.origin(catalog, sources)], sys.stdout)
    return 0 if found else 1


def _check(args: argparse.Namespace) -> int:
    from pennytrace_collectors.pricelist import check, printed

    found = check.check([Path(name).expanduser() for name in args.files], today=datetime.now(UTC).date())
    if args.json:
        printed.write_json(printed.checked_record(found), sys.stdout)
    else:
        printed.write(printed.checked(found), sys.stdout)
    return 1 if found.errors else 0


def _update(args: argparse.Namespace) -> int:
    from pennytrace_collectors.pricelist import printed, printed_changes, update
    from pennytrace_collectors.running import find, state_folder

    if (args.source is None) == (not args.back):
        raise ConfigurationError("give the path or URL of a data file, or --back; not both")
    state = state_folder(args.state)
    done = update.go_back(state) if args.back else update.update(args.source, state, force=args.force)
    if args.json:
        printed.write_json(printed_changes.updated_record(done), sys.stdout)
    else:
        printed.write(printed_changes.updated(done, running=find(state)), sys.stdout)
    return 0


def _diff(args: argparse.Namespace) -> int:
    from pennytrace_collectors.orders import shown
    from pennytrace_collectors.pricelist import printed, printed_changes
    from pennytrace_collectors.pricelist.difference import differences
    from pennytrace_collectors.pricelist.models import priced_models

    used = _in_use(None, args.state)
    candidate = _candidate(args, used)
    found = differences(priced_models(used.catalog()), priced_models(candidate.catalog()))
    tried = _tried(args, candidate)
    if args.json:
        spend = None if isinstance(tried, str) else shown.record(tried)
        printed.write_json({"prices": printed_changes.changes_record(found), "spend": spend}, sys.stdout)
        return 0
    printed.write(printed_changes.changes(found), sys.stdout)
    if isinstance(tried, str):
        printed.write([f"Past spend was not compared: {tried}"], sys.stdout)
    else:
        shown.write_trial(tried, sys.stdout)
    return 0


def _candidate(args: argparse.Namespace, used: Sources) -> Sources:
    """The price list that a collector would have with other files; those not given are the ones in use."""
    from pennytrace_collectors.pricelist.sources import Sources, price_files

    data = Path(args.data).expanduser().absolute() if args.data else used.genai_data
    if data is not None and not data.is_file():
        raise ConfigurationError(f"--data must name a file that exists; got {str(data)!r}")
    return Sources(price_files(args.prices, os.environ) if args.prices else used.price_files, data)


def _tried(args: argparse.Namespace, candidate: Sources) -> Trial | str:
    """What past spend would have come to by the candidate, or why that is not known."""
    from pennytrace_collectors.commands.reprice import said
    from pennytrace_collectors.errors import NoSpend
    from pennytrace_collectors.orders import Candidate, Selection, TrialOrder, ask
    from pennytrace_collectors.reports.period import read_period
    from pennytrace_collectors.running import state_folder

    period = read_period(args.since, args.until, now=datetime.now(UTC))
    order = TrialOrder(
        selection=Selection(since=period.since, until=period.until),
        candidate=Candidate(price_files=candidate.price_files, genai_data=candidate.genai_data),
    )
    store = storename.given(args)
    try:
        return ask(order, state=state_folder(args.state), store=store, tell=said("compared"))
    except NoSpend as error:
        return str(error)


def _in_use(given: list[str] | None, state_given: str | None) -> Sources:
    """The files given; else those of the collector that runs; else those that the next one would use."""
    from pennytrace_collectors.pricelist import sources
    from pennytrace_collectors.running import find, state_folder

    state = state_folder(state_given)
    collector = find(state)
    if given or collector is None:
        return sources.in_use(sources.price_files(given, os.environ), state)
    return sources.in_use([Path(file) for file in collector.prices], state)


def _moment(text: str) -> datetime:
    from pennytrace_collectors.reports.period import read_moment

    now = datetime.now(UTC)
    return read_moment(text, option="--at", now=now) if text else now


_ACTIONS: Final[Mapping[str, tuple[str, Callable[[_Add], None], Callable[[argparse.Namespace], int]]]] = {
    "show": ("what one model costs, and which layer says so", _show_options, _show),
    "list": ("every model with a price", _list_options, _list),
    "check": (
        "name every mistake in price files, and what in them will hardly do what was meant",
        _check_options,
        _check,
    ),
    "diff": ("what another price list would change: its prices, and past spend", _diff_options, _diff),
    "update": ("take newer price data of genai-prices, from a file or a URL", _update_options, _update),
}

COMMAND: Final = Prices()
