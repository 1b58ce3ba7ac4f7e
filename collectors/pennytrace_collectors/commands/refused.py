"""`pennytrace refused`: the bodies that the store has refused: list them, try them again, delete them."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pennytrace.errors import ConfigurationError

if TYPE_CHECKING:
    from pennytrace_collectors.refused import Refused


@dataclass(frozen=True, slots=True)
class RefusedBodies:
    """The sub-command."""

    name: str = "refused"
    help: str = "list, replay or drop what the store has refused and the collector has set aside"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the actions and the options of each."""
        actions = parser.add_subparsers(dest="action", metavar="action", required=True)
        for name, (help_text, _) in _ACTIONS.items():
            action = actions.add_parser(name, help=help_text, description=help_text)
            if name == "list":
                action.add_argument("--json", action="store_true", help="print them as JSON")
            else:
                action.add_argument("names", metavar="NAME", nargs="*", help="as `list` shows it")
                action.add_argument("--all", action="store_true", help="instead of names: all of them")
            action.add_argument(
                "--state", metavar="DIR", help="the collector's state folder [PENNYTRACE_STATE]"
            )

    def run(self, args: argparse.Namespace) -> int:
        """Carry out one action.

        Raises:
            ConfigurationError: a name is none of those that are set aside, or nothing is named.
            OrderError: it cannot be done.
        """
        from pennytrace_collectors.refused import waiting
        from pennytrace_collectors.replay import refused_folder
        from pennytrace_collectors.running import state_folder

        state = state_folder(args.state)
        return _ACTIONS[args.action][1](args, state, waiting(refused_folder(state)))


def _list(args: argparse.Namespace, state: Path, found: Sequence[Refused]) -> int:
    if args.json:
        print(json.dumps([dataclasses.asdict(one) for one in found], indent=2))
    elif not found:
        print("Nothing is set aside.")
    else:
        print("\n".join(line for one in found for line in _lines(one)))
    return 0


def _lines(one: Refused) -> Iterator[str]:
    spans = "?" if one.spans is None else f"{one.spans:,}"
    yield f"{one.name}  {one.refused_at}  {spans} spans, {one.bytes:,} bytes"
    yield f"    {one.reason or 'the reason is not known'}"


def _replay(args: argparse.Namespace, state: Path, found: Sequence[Refused]) -> int:
    from pennytrace_collectors.replay import replay

    names = _chosen(args, found)
    if not names:
        print("Nothing is set aside.")
    elif replay(state, names):
        print(
            f"{len(names):,} put back: the collector loads them now. What is refused again is listed again."
        )
    else:
        print(f"{len(names):,} put back: `pennytrace collect` loads them at its next start.")
    return 0


def _drop(args: argparse.Namespace, state: Path, found: Sequence[Refused]) -> int:
    from pennytrace_collectors.replay import drop

    print(f"{drop(state, _chosen(args, found)):,} deleted.")
    return 0


def _chosen(args: argparse.Namespace, found: Sequence[Refused]) -> Sequence[str]:
    there = [one.name for one in found]
    if args.all == bool(args.names):
        raise ConfigurationError("give the names that `pennytrace refused list` shows, or --all; not both")
    if unknown := set(args.names) - set(there):
        raise ConfigurationError(f"nothing is set aside under the name {min(unknown)!r}")
    return there if args.all else sorted(set(args.names))


_Action = Callable[[argparse.Namespace, Path, "Sequence[Refused]"], int]
_ACTIONS: Final[Mapping[str, tuple[str, _Action]]] = {
    "list": ("what is set aside, and why", _list),
    "replay": ("put bodies back into the journal, so that the store is asked once more", _replay),
    "drop": ("delete bodies for good; the calls in them are then in no sum", _drop),
}

COMMAND: Final = RefusedBodies()
