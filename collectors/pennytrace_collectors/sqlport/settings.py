"""Which settings a query runs with: the port's limits, and what the client asks for within them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from . import rules
from .build import Build
from .faults import Code, Fault
from .limits import Limits


def within(limits: Limits, asked: Mapping[str, str], build: Build, *, held_whole: bool) -> dict[str, str]:
    """Return the settings of a query whose request asks for `asked`, lowering what is over the limits.

    Raises:
        Fault: A setting is unknown, or is not one that a reader may change.
    """
    caps = {**limits.settings(), **(limits.held_whole() if held_whole else {})}
    chosen = dict(caps)
    for name, value in asked.items():
        if _is_for_reader(name, value, build):
            capped = name in rules.CAPPED_SETTINGS and name in caps
            chosen[name] = _lower(value, caps[name]) if capped else value
    return chosen


def with_own(chosen: Mapping[str, str], own: Iterable[tuple[str, str]], build: Build) -> dict[str, str]:
    """Return `chosen` with the settings that the statement itself changes.

    The engine then finds nothing left to change in the statement, which a session that only reads may not do.

    Raises:
        Fault: A setting is unknown, is not one that a reader may change, or is over a limit.
    """
    result = dict(chosen)
    for name, value in own:
        if not _is_for_reader(name, value, build):
            continue
        if name in rules.CAPPED_SETTINGS and name in chosen and _lower(value, chosen[name]) != value:
            raise Fault(
                Code.SETTING_CONSTRAINT_VIOLATION, f"Setting {name} shouldn't be greater than {chosen[name]}"
            )
        result[name] = value
    return result


def _is_for_reader(name: str, value: str, build: Build) -> bool:
    """Say whether the setting is to be applied; False where it changes nothing."""
    if name in rules.IGNORED_SETTINGS:
        return False
    if name not in build.settings:
        raise Fault(
            Code.UNKNOWN_SETTING,
            f"Setting {name} is neither a builtin setting nor started with the prefix 'SQL_' registered for "
            "user-defined settings",
        )
    if name in rules.SETTINGS or name.startswith(rules.SETTING_FAMILIES):
        return True
    if value == build.settings[name] or (name == "readonly" and value in ("1", "2")):
        return False
    raise Fault(Code.READONLY, f"Cannot modify '{name}' setting in readonly mode")


def _lower(value: str, cap: str) -> str:
    """Return `value`, or `cap` where it is more or means no limit; the engine judges what is no number."""
    try:
        number = float(value)
    except ValueError:
        return value
    return value if 0 < number <= float(cap) else cap
