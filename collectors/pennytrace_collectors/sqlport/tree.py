"""Reads ClickHouse's own syntax tree of a statement: what functions, tables and settings are in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from . import rules
from .faults import Code, Fault, denied, writes

Node = Mapping[str, Any]
Parts = tuple[str, ...]

_SCALARS: Final = (str, int, float, bool, type(None))


@dataclass(slots=True)
class Found:
    """What a statement uses, wherever in it that stands."""

    functions: set[str] = field(default_factory=set)
    table_functions: set[str] = field(default_factory=set)
    tables: set[Parts] = field(default_factory=set)
    """Tables and common table expressions, by the parts of their names."""
    identifiers: set[Parts] = field(default_factory=set)
    """Columns and aliases, and whatever else is named with a dot: `x IN system.one` names a table so."""
    in_names: set[Parts] = field(default_factory=set)
    """Names on the right of an IN: of a table, a column or an alias."""
    databases: set[str] = field(default_factory=set)
    settings: list[tuple[str, str]] = field(default_factory=list)


def survey(root: Node, parameters: Mapping[str, str]) -> Found:
    """Return what a statement uses, the names that its parameters stand for put in.

    Raises:
        Fault: It is not a read, or has a part that is not listed in `rules`.
    """
    if root.get("type") not in rules.ROOTS:
        raise writes(f"{root.get('type')} is not a read")
    found = Found()
    waiting: list[tuple[str, Node]] = [("", root)]
    while waiting:
        role, node = waiting.pop()
        _require_listed(node)
        _note(found, role, node, parameters)
        waiting.extend(_children(node))
    return found


def output_format(root: Node) -> str | None:
    """Return the format that the statement itself asks for."""
    asked = root.get("format_ast")
    return str(asked["name"]) if asked else None


def literal(value: Node) -> str:
    """Return a setting's value as ClickHouse reads it between quotes.

    Raises:
        Fault: It is of a type that no setting has.
    """
    kind, inner = value.get("field_type"), value.get("value")
    if kind == "Map" and isinstance(inner, list):
        entries = (": ".join(quoted(literal(part)) for part in pair["value"]) for pair in inner)
        return "{" + ", ".join(entries) + "}"
    if kind in ("String", "UInt64", "Int64", "Float64", "Bool") and isinstance(inner, _SCALARS):
        return str(int(inner)) if isinstance(inner, bool) else str(inner)
    raise Fault(Code.NOT_IMPLEMENTED, f"a setting of type {kind} cannot be changed here")


def pairs(value: Node) -> Iterator[tuple[str, str]]:
    """Return the entries of a map of strings; of anything else, none."""
    if value.get("field_type") == "Map":
        for pair in value["value"]:
            key, entry = pair["value"]
            yield str(key["value"]), str(entry["value"])


def quoted(text: str) -> str:
    """Return a string as a literal of ClickHouse."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _require_listed(node: Node) -> None:
    kind = node.get("type")
    if "out_file" in node:
        raise writes("INTO OUTFILE writes a file")
    if kind not in rules.NODES:
        raise denied(f"{kind} is not available here")
    if unknown := node.keys() - rules.KEYS:
        raise denied(f"{kind} with {min(unknown)!r} is not available here")
    if kind == "ExplainQuery" and node.get("kind") not in rules.EXPLAINS:
        raise denied(f"{node.get('kind')} is not available here")


def _children(node: Node) -> Iterator[tuple[str, Node]]:
    if node["type"] in ("Literal", "SetQuery", "Identifier", "TableIdentifier"):
        return
    for role, value in node.items():
        if isinstance(value, dict):
            if not (node["type"] == "ExplainQuery" and role == "settings"):
                yield role, value
        elif isinstance(value, list):
            yield from ((role, item) for item in value if isinstance(item, dict))


def _note(found: Found, role: str, node: Node, parameters: Mapping[str, str]) -> None:
    kind = node["type"]
    if kind == "Function":
        (found.table_functions if role == "table_function" else found.functions).add(node["name"])
        found.in_names.update(_names_after_in(node, parameters))
    elif kind == "ColumnsApplyTransformer" and "func_name" in node:
        found.functions.add(node["func_name"])
    elif kind == "TableIdentifier":
        found.tables.add(_parts(node, parameters))
    elif kind == "Identifier":
        _note_identifier(found, role, _parts(node, parameters))
    elif kind == "SetQuery":
        found.settings.extend(_changes(node))
    elif kind == "QueryParameter" and "identifier" in str(node["param_type"]).lower():
        raise denied("a parameter of type Identifier may only name a column, a table or its database")
    elif kind in ("ShowColumnsQuery", "ShowIndexesQuery"):
        found.tables.add(tuple(part for part in (node.get("database"), node.get("table")) if part))


def _names_after_in(node: Node, parameters: Mapping[str, str]) -> Iterator[Parts]:
    if node["name"].lower().endswith("in") and isinstance(arguments := node.get("arguments"), dict):
        for argument in (arguments.get("children") or ())[1:]:
            if argument.get("type") == "Identifier":
                yield _parts(argument, parameters)


def _note_identifier(found: Found, role: str, parts: Parts) -> None:
    if role == "from":
        found.databases.add(".".join(parts))
    elif role != "format_ast":
        found.identifiers.add(parts)


def _parts(node: Node, parameters: Mapping[str, str]) -> Parts:
    parts = [str(part) for part in node.get("name_parts") or [node["name"]]]
    standing_in = iter(node.get("children") or ())
    for index, part in enumerate(parts):
        if part:
            continue
        parameter = next(standing_in, None)
        if parameter is None or parameter["type"] != "QueryParameter":
            raise denied("a name without a name is not available here")
        if (value := parameters.get(parameter["name"])) is None:
            raise Fault(456, f"Substitution `{parameter['name']}` is not set", name="UNKNOWN_QUERY_PARAMETER")
        parts[index] = _plain_name(value)
    if next(standing_in, None) is not None:
        raise denied("a name with more in it than its parts is not available here")
    return tuple(parts)


def _plain_name(value: str) -> str:
    # An escape would be read by the engine after this check, and a dot might be taken for two names.
    if not value or not value.isprintable() or set(value) & set("\\`\"'./"):
        raise denied(f"{value!r} cannot stand for a name")
    return value


def _changes(node: Node) -> Iterator[tuple[str, str]]:
    if unlisted := node.keys() - {"type", "changes", "is_standalone"}:
        raise denied(f"SETTINGS with {min(unlisted)} is not available here")
    for change in node.get("changes", ()):
        yield str(change["name"]), literal(change["value"])
