"""Bring a store's tables to this version: numbered migrations once each, views whenever their text changed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Final

from clickhouse_connect.driver.client import Client

from pennytrace_collectors.errors import StoreTooNew
from pennytrace_collectors.store.client import Address, literal
from pennytrace_collectors.store.dialects import parameters
from pennytrace_collectors.store.pricing import at_risk, in_force, priced, prices_in_force, rate_cards
from pennytrace_collectors.store.repeats import REPEAT

_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS $database.migrations
(
    number      UInt32,
    name        String,
    applied_at  DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree ORDER BY number;
CREATE TABLE IF NOT EXISTS $database.view_versions
(
    checksum    String,
    applied_at  DateTime64(9, 'UTC') DEFAULT now64(9)
)
ENGINE = MergeTree ORDER BY applied_at
"""
_CREATED: Final = re.compile(
    r"CREATE (?:OR REPLACE )?(?P<kind>MATERIALIZED VIEW|VIEW|DICTIONARY|TABLE)(?: IF NOT EXISTS)? (?P<name>[\w.]+)"
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step, as SQL statements."""

    number: int
    name: str
    statements: tuple[str, ...]


def migrate(client: Client, address: Address) -> list[str]:
    """Apply what is missing and return its names; a second run changes nothing.

    Raises:
        StoreTooNew: the store has migrations that this version does not know.
    """
    values = _values(address)
    client.command(f"CREATE DATABASE IF NOT EXISTS {address.database}")
    for statement in _statements(_LEDGER, values):
        client.command(statement)
    applied = _applied(client, address)
    known = list(_migrations(values))
    _refuse_newer(applied, known, address)
    missing = [step for step in known if step.number not in applied]
    for step in missing:
        for statement in step.statements:
            client.command(statement)
        client.insert("migrations", [[step.number, step.name]], ["number", "name"], database=address.database)
    return [step.name for step in missing] + _renew_views(client, address, values)


def is_current(client: Client, address: Address) -> bool:
    """Whether the store has just the migrations that this version knows; nothing is touched."""
    if not client.command(f"EXISTS TABLE {address.database}.migrations"):
        return False
    return _applied(client, address) == {step.number for step in _migrations(_values(address))}


def make_views(client: Client, address: Address, script: str) -> None:
    """Create what one script of sql/views creates, in a database that has the tables that it reads."""
    (template,) = [template for name, template in _scripts("views") if name == script]
    for statement in _statements(template, _values(address)):
        client.command(statement)


def _refuse_newer(applied: set[int], known: list[Migration], address: Address) -> None:
    newest = max(step.number for step in known)
    unknown = sorted(number for number in applied if number > newest)
    if unknown:
        raise StoreTooNew(
            f"the store at {address} has migration {unknown[-1]}, this version of pennytrace knows up to {newest}: "
            "upgrade pennytrace, or point --store elsewhere; nothing was changed"
        )


def _renew_views(client: Client, address: Address, values: Mapping[str, str]) -> list[str]:
    """Drop and create all that holds no data of its own, if its text differs from what the store has."""
    scripts = [template for _, template in _scripts("views")]
    statements = [statement for script in scripts for statement in _statements(script, values)]
    checksum = hashlib.sha256("\n".join(statements).encode()).hexdigest()
    newest = client.query(
        f"SELECT argMax(checksum, applied_at) FROM {address.database}.view_versions"
    ).result_rows
    if newest and newest[0][0] == checksum:
        return []
    for kind, name in reversed([_created(statement) for statement in statements]):
        client.command(f"DROP {'DICTIONARY' if kind == 'DICTIONARY' else 'TABLE'} IF EXISTS {name} SYNC")
    for statement in statements:
        client.command(statement)
    client.insert("view_versions", [[checksum]], ["checksum"], database=address.database)
    return ["views"]


def _created(statement: str) -> tuple[str, str]:
    match = _CREATED.search(statement)
    if match is None:
        raise AssertionError(f"a view script may only create things: {statement[:60]!r}")
    return match["kind"], match["name"]


def _applied(client: Client, address: Address) -> set[int]:
    rows = client.query(f"SELECT number FROM {address.database}.migrations").result_rows
    return {number for (number,) in rows}


def _migrations(values: Mapping[str, str]) -> Iterator[Migration]:
    for name, script in _scripts("migrations"):
        yield Migration(int(name[:4]), name.removesuffix(".sql"), tuple(_statements(script, values)))


def _scripts(folder: str) -> list[tuple[str, str]]:
    found = files("pennytrace_collectors.store").joinpath("sql", folder)
    scripts = [
        (entry.name, entry.read_text("utf-8")) for entry in found.iterdir() if entry.name.endswith(".sql")
    ]
    return sorted(scripts)


def _statements(script: str, values: Mapping[str, str]) -> list[str]:
    """The statements of a script: each ends with a semicolon at the end of a line."""
    text = Template(script).substitute(values)
    return [part.strip() for part in re.split(r";\s*(?:\n|$)", text) if part.strip()]


def _values(address: Address) -> dict[str, str]:
    return {
        **parameters(),
        "database": address.database,
        "repeat": REPEAT,
        "priced": priced(f"{address.database}.usage", in_force(address.database)).rstrip(),
        "at_risk": at_risk(address.database).rstrip(),
        "rate_cards": rate_cards(prices_in_force(address.database)).rstrip(),
        "replacing_merge_tree": "ReplacingMergeTree",
        "aggregating_merge_tree": "AggregatingMergeTree",
        "key_values": "Array(Tuple(key String, value Tuple("
        "string_value String, bool_value Bool, int_value Int64, double_value Float64)))",
        "dictionary_credentials": _credentials(address),
    }


def _credentials(address: Address) -> str:
    """A server's dictionaries read its tables as the user who made them."""
    if not address.user:
        return ""
    return f" USER {literal(address.user)} PASSWORD {literal(address.password)}"
