"""What Grafana and its ClickHouse plugin (v4.20) do to a query of a board before ClickHouse sees it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

ALL: Final = "$__all"
Value: TypeAlias = str | Sequence[str]
"""A variable's value: text when one can be chosen, a list when several can."""
Variables: TypeAlias = Mapping[str, Value]

_VARIABLE: Final = re.compile(r"\$(\w+)|\$\{(\w+)(?::(\w+))?\}")
_MACRO: Final = re.compile(r"\$__(\w+)")
_QUOTES: Final = "'\"`"


class NotExpanded(Exception):
    """The plugin would leave a macro in the text, or a variable would need the list of its options."""


@dataclass(frozen=True, slots=True)
class Range:
    """The time range of the board, and the step that Grafana made of it."""

    start: datetime
    end: datetime
    step_s: int = 86_400


def expand(sql: str, variables: Variables, span: Range) -> str:
    """The text that reaches ClickHouse: first what the browser does, then what the plugin's backend does."""
    conditions = conditional_all(sql, variables)
    return backend_macros(replace_variables(conditions, variables), span)


def conditional_all(sql: str, variables: Variables) -> str:
    """Replace `$__conditionalAll(condition, $variable)` by the condition, or by 1=1 when All is chosen.

    As in the plugin, no value at all is All too, and so is a list of nothing but the empty name.
    """
    opening = "$__conditionalAll("
    while (start := sql.rfind(opening)) != -1:
        arguments, end = _arguments(sql, start + len(opening) - 1, quotes=False)
        # Four pairs mean something else to the `String.replace` by which the browser puts the condition in.
        if len(arguments) != 2 or re.search(r"\$[$&`']", arguments[0]):
            raise NotExpanded(sql[start:end])
        name = re.search(r"(?<=\$\{)\w+(?=\})|(?<=\$)\w+", arguments[1].strip())
        chosen = variables.get(name.group()) if name else None
        everything = chosen is not None and _joined(chosen) in ("", ALL)
        sql = sql[:start] + ("1=1" if everything else arguments[0]) + sql[end:]
    return sql


def replace_variables(sql: str, variables: Variables) -> str:
    """Replace `$name`, `${name}` and `${name:format}`; names that are no variable stay as they are."""

    def replaced(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in variables:
            return match[0]
        if _joined(variables[name]) == ALL:
            raise NotExpanded(f"{match[0]} is All, which only the list of loaded options could stand for")
        return _FORMATS[match[3] or ""](variables[name])

    return _VARIABLE.sub(replaced, sql)


def backend_macros(sql: str, span: Range) -> str:
    """Replace the macros of the plugin's backend, but not in comments or between quotes."""
    written, position = [], 0
    while position < len(sql):
        skipped = _skipped(sql, position)
        macro = _MACRO.match(sql, position)
        if skipped > position:
            written.append(sql[position:skipped])
            position = skipped
        elif macro and macro[1] in _MACROS:
            position = macro.end()
            arguments: list[str] = []
            if sql[position : position + 1] == "(":
                arguments, position = _arguments(sql, position, quotes=True)
            inner = [backend_macros(argument, span).strip() for argument in arguments]
            written.append(_MACROS[macro[1]](inner, span))
        else:
            written.append(sql[position])
            position += 1
    return "".join(written)


def _skipped(sql: str, position: int) -> int:
    """Where the comment or quoted text that starts here ends; here, if none does."""
    if sql.startswith("--", position):
        return (sql.find("\n", position) + 1) or len(sql)
    if sql.startswith("/*", position):
        return sql.index("*/", position) + 2
    if sql[position] not in _QUOTES:
        return position
    end = position + 1
    while sql[end] != sql[position]:
        end += 2 if sql[end] == "\\" else 1
    return end + 1


def _arguments(sql: str, opening: int, *, quotes: bool) -> tuple[list[str], int]:
    """The arguments between the parenthesis at `opening` and its partner, and the position behind that."""
    depth, position, first = 0, opening, opening + 1
    found: list[str] = []
    while position < len(sql):
        skipped = _skipped(sql, position) if quotes else position
        if skipped > position:
            position = skipped
            continue
        depth += {"(": 1, ")": -1}.get(sql[position], 0)
        if depth == 0 or (depth == 1 and sql[position] == ","):
            found.append(sql[first:position])
            first = position + 1
        if depth == 0:
            return found, position + 1
        position += 1
    raise NotExpanded(f"no end of {sql[opening:]!r}")


def _joined(value: Value) -> str:
    return value if isinstance(value, str) else ",".join(value)


def _listed(value: Value) -> Sequence[str]:
    return [value] if isinstance(value, str) else value


def _quoted(mark: str) -> Callable[[Value], str]:
    # Backslashes are not escaped by Grafana; the collector lets none into a name.
    return lambda value: ",".join(mark + one.replace(mark, f"\\{mark}") + mark for one in _listed(value))


def _bare(value: Value) -> str:
    return value if isinstance(value, str) else ",".join(f"'{one}'" for one in value)


_FORMATS: Final[Mapping[str, Callable[[Value], str]]] = {
    "": _bare,
    "raw": _joined,
    "singlequote": _quoted("'"),
    "doublequote": _quoted('"'),
}


def _seconds(moment: datetime) -> str:
    return f"toDateTime({int(moment.timestamp())})"


def _milliseconds(moment: datetime) -> str:
    since = moment - datetime.fromtimestamp(0, UTC)
    return f"fromUnixTimestamp64Milli({since // timedelta(milliseconds=1)})"


def _between(column: str, first: str, last: str) -> str:
    return f"{column} >= {first} AND {column} <= {last}"


_MACROS: Final[Mapping[str, Callable[[Sequence[str], Range], str]]] = {
    "timeFilter": lambda a, span: _between(a[0], _seconds(span.start), _seconds(span.end)),
    "timeFilter_ms": lambda a, span: _between(a[0], _milliseconds(span.start), _milliseconds(span.end)),
    "fromTime": lambda _, span: _seconds(span.start),
    "toTime": lambda _, span: _seconds(span.end),
    "timeInterval": lambda a, span: (
        f"toStartOfInterval(toDateTime({a[0]}), INTERVAL {max(span.step_s, 1)} second)"
    ),
    "interval_s": lambda _, span: str(span.step_s),
}
