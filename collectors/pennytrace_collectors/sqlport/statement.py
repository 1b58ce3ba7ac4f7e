"""Decides whether a statement may run: ClickHouse's own parser reads it, and only what is listed passes."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from . import rules
from .build import Build, Look
from .faults import Code, Fault, denied, writes
from .reach import require_spend_only
from .tree import Found, Node, Parts, output_format, pairs, survey

# The text is a value here: whatever is in it, it is parsed and not run.
_PARSE: Final = (
    "WITH parseQueryToJSON({text:String}) AS tree "
    "SELECT tree, formatQueryFromJSON(tree), formatQuerySingleLine({text:String})"
)
_FORMAT: Final = "SELECT formatQuerySingleLine({text:String})"
# How the parser says that it has understood a statement of which it makes no tree.
_NO_TREE: Final = "not supported by parseQueryToJSON"

_NAME: Final = r"(?:[A-Za-z_][A-Za-z0-9_]*|`[^`\\./]+`)"
# What the parser does not turn into a tree, in the words of the formatter.
_PLAIN: Final = re.compile(
    rf"(?:(?P<verb>DESCRIBE|EXISTS|SHOW CREATE) (?:TABLE|VIEW|DICTIONARY) (?P<table>{_NAME}(?:\.{_NAME})?)"
    rf"|SHOW CREATE DATABASE (?P<database>{_NAME})|SHOW FUNCTIONS|SHOW ENGINES|SHOW SETTING \w+)"
    r"(?: FORMAT (?P<format>\w+))?",
    re.ASCII,
)
_CACHED_LENGTH: Final = 8192


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement that only reads what it may."""

    sql: str
    """In ClickHouse's own formatting: what was checked is what is run."""
    is_select: bool
    format: str | None
    """The format that it asks for."""
    settings: tuple[tuple[str, str], ...] = ()
    """The settings that it changes itself."""
    asks_settings: bool = False
    """Whether `system.settings` is all that it reads."""


class Inspector:
    """Reads statements for one database."""

    def __init__(self, look: Look, database: str) -> None:
        self._look = look
        self._database = database
        self._build: Build | None = None
        self._tables: frozenset[str] | None = None
        self._asking = threading.Lock()
        self._remembered = lru_cache(maxsize=256)(self._inspect)

    @property
    def build(self) -> Build:
        """The build that the engine is; asked once.

        Raises:
            Fault: It cannot be asked.
        """
        with self._asking:
            if self._build is None:
                self._build = Build.read(self._look)
            return self._build

    def ask(self) -> None:
        """Ask the engine what it has, ahead of the first statement; when it fails it is asked again then."""
        with suppress(Fault):
            self.build  # noqa: B018

    @property
    def version(self) -> str:
        """The version of the engine, or a 0 while it has not been asked."""
        return self._build.version if self._build else "0"

    def inspect(self, text: str, parameters: Mapping[str, str], *, spend_only: bool = False) -> Statement:
        """Return the one statement in `text`, of a reader who may see all, or spend alone.

        Raises:
            Fault: It cannot be parsed, there are several, it is not a read, or it reaches too far.
        """
        # Only names are put in by the check; values stay parameters.
        names = tuple(sorted(parameters.items())) if "identifier" in text.lower() else ()
        return (self._remembered if len(text) <= _CACHED_LENGTH else self._inspect)(text, names, spend_only)

    def require_filters(self, value: str, *, spend_only: bool = False) -> None:
        """Let a value of `additional_table_filters` pass whose conditions a statement might have.

        Raises:
            Fault: It is not a map of conditions, or one of them reaches too far.
        """
        tree, _ = self._parse(f"SELECT 1 SETTINGS additional_table_filters = {value}")
        found = survey(tree, {})
        if [name for name, _ in found.settings] != ["additional_table_filters"]:
            raise Fault(Code.BAD_ARGUMENTS, "additional_table_filters is not a map of tables to conditions")
        self._require_conditions(tree, spend_only)

    def _inspect(self, text: str, names: tuple[tuple[str, str], ...], spend_only: bool) -> Statement:
        try:
            tree, sql = self._parse(text)
        except Fault as fault:
            if _NO_TREE not in fault.message:
                raise
            return self._plain(text, spend_only)
        found = survey(tree, dict(names))
        self._require(found, spend_only)
        self._require_conditions(tree, spend_only)
        return Statement(
            sql=sql,
            is_select=tree["type"] == "SelectWithUnionQuery",
            format=output_format(tree),
            settings=tuple(found.settings),
            asks_settings=_asks_settings(found),
        )

    def _parse(self, text: str) -> tuple[Node, str]:
        tree, again, sql = self._look(_PARSE, {"text": text})[0]
        if again != sql:
            # The tree leaves something out, so that a check of the tree says nothing about the statement.
            raise Fault(Code.NOT_IMPLEMENTED, "this form of statement is not available here")
        try:
            parsed: Node = json.loads(tree)
        except RecursionError:
            raise Fault(Code.TOO_DEEP_RECURSION, "the statement is nested too deep") from None
        return parsed, str(sql)

    def _plain(self, text: str, spend_only: bool) -> Statement:
        sql: str = self._look(_FORMAT, {"text": text})[0][0]
        if not (match := _PLAIN.fullmatch(sql)):
            raise writes("only SELECT, SHOW, DESCRIBE, EXISTS and EXPLAIN are answered")
        if match["table"]:
            table = tuple(part.strip("`") for part in match["table"].split("."))
            self._require_table(table)
            if spend_only:
                require_spend_only(Found(tables={table}), self._database, self._own_tables())
        if match["database"]:
            self._require_database(match["database"].strip("`"))
        return Statement(sql=sql, is_select=False, format=match["format"])

    def _own_tables(self) -> frozenset[str]:
        # Tables are only made before the port answers.
        if self._tables is None:
            rows = self._look(
                "SELECT name FROM system.tables WHERE database = {database:String}",
                {"database": self._database},
            )
            self._tables = frozenset(str(name) for (name,) in rows)
        return self._tables

    def _require(self, found: Found, spend_only: bool) -> None:
        if spend_only:
            require_spend_only(found, self._database, self._own_tables())
        for function in sorted(found.functions):
            self.build.require_function(function)
        for function in sorted(found.table_functions):
            if function.lower() not in rules.TABLE_FUNCTIONS:
                raise denied(f"the table function {function} is not available here")
        for table in sorted(found.tables):
            self._require_table(table)
        for name in sorted(found.identifiers):
            self._require_name(name)
        for database in sorted(found.databases):
            self._require_database(database)

    def _require_name(self, parts: Parts) -> None:
        if len(parts) == 1:
            self.build.require_not_function(parts[0])
        elif parts[0] != self._database and parts[0] in self.build.databases:
            # `x IN system.one`: a table whose name stands where a column's would.
            self._require_table(parts[:2])

    def _require_table(self, parts: Parts) -> None:
        if len(parts) == 1:
            return
        database, table = parts[0], parts[1]
        if len(parts) > 2:
            raise denied(f"{'.'.join(parts)} is not available here")
        if database == self._database or database.lower() == "information_schema":
            return
        if database == "system" and table in rules.SYSTEM_TABLES:
            return
        if database in self.build.databases:
            raise denied(f"it is necessary to have the grant SELECT ON {database}.{table}")
        raise Fault(Code.UNKNOWN_DATABASE, f"Database {database} does not exist")

    def _require_database(self, name: str) -> None:
        if name not in (self._database, "system") and name.lower() != "information_schema":
            raise Fault(Code.UNKNOWN_DATABASE, f"Database {name} does not exist")

    def _require_conditions(self, tree: Node, spend_only: bool) -> None:
        """Read the conditions that stand as text in the statement's settings; the engine reads them later."""
        for change in _setting_changes(tree):
            if change["name"] != "additional_table_filters":
                continue
            for _, condition in pairs(change["value"]):
                inner, _ = self._parse(f"SELECT {condition}")
                found = survey(inner, {})
                if found.settings:
                    raise denied("SETTINGS in a condition is not available here")
                self._require(found, spend_only)


def _asks_settings(found: Found) -> bool:
    # An operator IN might name a second table, which `tables` does not have.
    operators = {name.lower() for name in found.functions}
    alone = found.tables == {("system", "settings")} and not found.table_functions
    return alone and not any(name.endswith("in") for name in operators)


def _setting_changes(tree: Node) -> Sequence[Mapping[str, Any]]:
    changes: list[Mapping[str, Any]] = []
    waiting: list[object] = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if item.get("type") == "SetQuery":
                changes.extend(item.get("changes", ()))
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return changes
