"""Nothing that a reader sends writes anything, or reads more than one database and what describes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .asking import Port, Reply

SECRET = b"S3CRET"
# Refused by the port itself, or by the engine because there is no such thing: never a failure half-way.
REFUSALS = frozenset((46, 47, 60, 62, 73, 81, 164, 452, 497))


def _lines(name: str) -> list[str]:
    return (Path(__file__).parent / "statements" / name).read_text().splitlines()


# One statement a line, as templates of str.format: {secret} is a file to read, {out} one to write.
WRITES = _lines("writes.sql")

REACHES = _lines("reaches.sql")

FINE = _lines("fine.sql")


def fill(port: Port, sql: str) -> str:
    return sql.format(secret=port.folder / "secret.csv", out=port.folder / "out.txt")


def attack(port: Port, sql: str, **more: str) -> Reply:
    secret = str(port.folder / "secret.csv")
    names = {"f": "file", "path": secret, "d": "default", "t": secret, "dotted": "private.notes"}
    return port.ask(sql, more={**{f"param_{name}": value for name, value in names.items()}, **more})


def require_untouched(port: Port, reply: Reply, before: frozenset[str]) -> None:
    assert SECRET not in reply.body
    assert port.files() == before
    counts = "SELECT (SELECT count() FROM calls), (SELECT count() FROM kinds), (SELECT groupArray(name) FROM "
    state = port.ask(f"{counts}(SELECT name FROM system.tables WHERE database = 'pennytrace' ORDER BY 1))")
    assert state.text == "100000\t3\t['calls','growing','kinds','spend']\n"


@pytest.mark.parametrize("sql", WRITES)
def test_a_statement_that_would_write_is_refused_and_writes_nothing(port: Port, sql: str) -> None:
    before = port.files()
    reply = attack(port, fill(port, sql))
    assert reply.code in REFUSALS, reply.text
    require_untouched(port, reply, before)


@pytest.mark.parametrize("sql", REACHES)
def test_a_statement_that_reaches_beyond_the_spend_tables_is_refused(port: Port, sql: str) -> None:
    before = port.files()
    reply = attack(port, fill(port, sql))
    assert reply.code in REFUSALS, reply.text
    require_untouched(port, reply, before)


@pytest.mark.parametrize("sql", FINE)
def test_an_ordinary_read_is_answered_however_it_is_written(port: Port, sql: str) -> None:
    reply = port.ask(sql)
    assert (reply.status, reply.code) == (200, 0), reply.text


def test_a_setting_in_the_url_opens_no_door_either(port: Port) -> None:
    secret = port.folder / "secret.csv"
    for more in (
        {"additional_table_filters": f"{{'calls': 'file(\\'{secret}\\') != \\'\\''}}"},
        {"additional_table_filters": "{'calls': '1'}, readonly = 0"},
        {"additional_table_filters": "{'calls': '1'} INTO OUTFILE 'x'"},
        {"additional_table_filters": "{'calls': '1) OR (SELECT 1 FROM private.notes'}"},
        {"additional_table_filters": "'x'"},
        {"additional_result_filter": "1"},
        {"readonly": "0"},
        {"dialect": "prql"},
        {"format_schema": str(secret)},
        {"output_format_schema": str(port.folder / "out.txt")},
        {"format_template_row": str(secret)},
        {"allow_experimental_eval_table_function": "1"},
        {"default_format": "Protobuf"},
        {"default_format": "Template"},
        {"default_format": "CSV INTO OUTFILE 'x'"},
        {"max_threads": "1, readonly = 0"},
        {"max_threads = 1, readonly": "0"},
    ):
        before = port.files()
        reply = port.ask("SELECT count() FROM calls", more=more)
        assert reply.status >= 400, more
        require_untouched(port, reply, before)


def test_a_name_in_a_parameter_is_one_name_and_nothing_else(port: Port) -> None:
    for name in (
        "private.notes",
        "notes` --",
        "a\\`b",
        "",
        "default",
        str(port.folder / "secret.csv"),
        "a\nb",
    ):
        reply = port.ask("SELECT * FROM {t:Identifier}", param_t=name)
        assert reply.status >= 400
        assert SECRET not in reply.body
    assert port.ask("SELECT * FROM {d:Identifier}.notes", param_d="private").code == 497
    assert port.ask("SELECT 1 AS {a:Identifier}", param_a="file").status in (200, 400, 403)


def test_a_value_in_a_parameter_is_never_read_as_sql(port: Port) -> None:
    text = "'; DROP TABLE calls; SELECT file('x') --"
    reply = port.ask("SELECT {x:String}", param_x=text.replace("\\", "\\\\"), default_format="TSVRaw")
    assert reply.text == text + "\n"


def test_system_settings_is_read_alone_or_in_a_session_that_changes_nothing(port: Port) -> None:
    alone = port.ask("SELECT max(readonly) FROM system.settings WHERE name = 'max_threads'")
    assert alone.text == "0\n"
    beside = port.ask(
        "SELECT max(readonly) FROM system.settings "
        "WHERE name IN ('max_threads') AND 0 NOT IN (SELECT id + 1 FROM kinds)"
    )
    assert beside.text == "1\n"


def test_deep_or_twisted_statements_are_refused_and_the_port_lives_on(port: Port) -> None:
    for sql in (
        "SELECT " + "(" * 5000 + "1" + ")" * 5000,
        "SELECT " + "abs(" * 400 + "1" + ")" * 400,
        "SELECT " + "1+" * 20000 + "1",
        "SELECT " + "[" * 2000,
        "SELECT 1 " + "UNION ALL SELECT 1 " * 3000,
        "SELECT \x00 1",
        "SELECT '" + "\\" * 99999,
        "\ufeffSELECT 1",
        "SELECT $$" * 99,
    ):
        assert port.ask(sql).status in (200, 400, 403, 404, 413, 500, 501)
    assert port.ask("SELECT 1").text == "1\n"


CORES = [
    "file('{secret}')",
    "arrayMap(file, ['{secret}'])[1]",
    "arrayMap(p -> file(p), ['{secret}'])[1]",
    "(SELECT note FROM private.notes)",
    "(SELECT * FROM file('{secret}', 'LineAsString', 'l String'))",
    "(SELECT * FROM default.`{secret}`)",
    "(SELECT * FROM merge('private', '.*'))",
    "(SELECT * FROM remote('127.0.0.1', private, notes))",
    "(SELECT * APPLY(file) FROM (SELECT '{secret}'))",
    "(SELECT query FROM system.processes LIMIT 1)",
    "toString(('x' AS y) IN private.notes)",
]
HARMLESS = "upper('fine')"
WRAPS = [
    "SELECT {e} AS x",
    "SELECT x FROM (SELECT {e} AS x)",
    "WITH {e} AS x SELECT x",
    "WITH t AS (SELECT {e} AS x) SELECT x FROM t",
    "SELECT 'a' AS x UNION ALL SELECT {e}",
    "SELECT arrayMap(z -> concat(z, {e}), ['a'])",
    "SELECT count() FROM calls WHERE feature = {e}",
    "SELECT id FROM calls WHERE id < 3 ORDER BY {e}, id",
    "SELECT multiIf(id = 1, {e}, id = 2, 'b', 'c') FROM kinds",
    "SELECT countIf({e} != '') FROM kinds",
    "SELECT sum(id) OVER (PARTITION BY {e}) FROM kinds",
    "SELECT * FROM view(SELECT {e} AS x)",
    "SELECT * REPLACE({e} AS x) FROM (SELECT 'a' AS x)",
    "SELECT 'a' IN (SELECT {e})",
    "SELECT a.x FROM (SELECT {e} AS x) AS a JOIN (SELECT {e} AS x) AS b ON a.x = b.x",
    "SELECT count() FROM kinds GROUP BY {e} HAVING {e} != ''",
    "SELECT x FROM kinds ARRAY JOIN [{e}] AS x",
    "FROM (SELECT {e} AS x) SELECT x",
    "EXPLAIN SYNTAX SELECT {e}",
]
SPELLINGS: list[Callable[[str], str]] = [
    lambda sql: sql,
    lambda sql: sql.replace("file(", "FILE(").replace("upper(", "UPPER("),
    lambda sql: sql.replace("file(", "`file`(").replace("upper(", "`upper`("),
    lambda sql: sql.replace("file(", '"file" ('),
    lambda sql: sql.replace("(", "(/* ) */").replace("SELECT", "SeLeCt"),
    lambda sql: sql.replace(" ", "\n\t"),
    lambda sql: sql.replace("private.notes", "`private` /* . */ . `notes`"),
    lambda sql: sql.replace("SELECT ", "SELECT DISTINCT ", 1),
]
BEFORE = ["", " ", "/* SELECT 1; */ ", "-- SELECT 1;\n", "#! x\n"]
AFTER = [
    "",
    ";",
    " ; ",
    " -- ;",
    "\n/* INTO OUTFILE 'x' */",
    " FORMAT JSON",
    " FORMAT Native",
    " SETTINGS max_threads = 1",
]


@st.composite
def statements(draw: st.DrawFn) -> tuple[Callable[[str], str], str]:
    wraps = draw(st.lists(st.sampled_from(WRAPS[:4]), max_size=2))
    last, spell = draw(st.sampled_from(WRAPS)), draw(st.sampled_from(SPELLINGS))
    before, after = draw(st.sampled_from(BEFORE)), draw(st.sampled_from(AFTER))

    def write(core: str) -> str:
        for wrap in wraps:
            core = f"({wrap.replace('{e}', core)})"
        return before + spell(last.replace("{e}", core)) + after

    return write, draw(st.sampled_from(CORES))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(statements())
def test_no_mixture_of_tricks_gets_through_and_the_same_mixture_without_one_does(
    port: Port, drawn: tuple[Callable[[str], str], str]
) -> None:
    write, core = drawn
    before = port.files()
    reply = attack(port, write(fill(port, core)))
    assert reply.status >= 400, reply.body
    require_untouched(port, reply, before)
    harmless = port.ask(write(HARMLESS))
    assert harmless.status == 200, harmless.text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(WRITES), st.sampled_from(BEFORE), st.sampled_from(AFTER), st.booleans())
def test_a_write_is_refused_however_it_is_dressed(
    port: Port, sql: str, first: str, last: str, get: bool
) -> None:
    before = port.files()
    text = first + fill(port, sql) + last
    reply = port.ask(method="GET", query=text) if get else attack(port, text)
    assert reply.status >= 400
    require_untouched(port, reply, before)
