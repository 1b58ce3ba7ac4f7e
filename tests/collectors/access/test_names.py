"""Whatever names spans have, on the way from OTLP to a terminal, a CSV file and SQL they do no harm."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pennytrace import cli
from pennytrace_collectors.journal.record import varint
from pennytrace_collectors.receive.check import check
from pennytrace_collectors.receive.points import check_points
from pennytrace_collectors.store import Store, open_store
from tests.collectors import capacity, otlp
from tests.collectors.calls import spend

UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")
FEINTS = re.compile("[\x80-\x9f\u2028-\u202e\u2066-\u2069]")

FIELDS = (
    "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model", "server.address",
    "gen_ai.conversation.id", "error.type", "pennytrace.feature", "pennytrace.team", "pennytrace.customer",
    "pennytrace.user", "pennytrace.session", "pennytrace.batch", "pennytrace.tag.region", "pennytrace.gpu.pool",
    "pennytrace.gpu.model", "pennytrace.usage.source", "user.id", "enduser.id",
)  # fmt: skip
names = st.text(
    st.one_of(
        st.sampled_from("\\'\"`;=+-@\t\r\n\x00\x07\x1b\x7f\x9b\u202e\u2028${}()%/*"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=30,
)


def strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in strings(part)]
    if isinstance(value, list | tuple):
        return [text for part in value for text in strings(part)]
    return [value] if isinstance(value, str) else []


def load(store: Store, attributes: dict[str, str], *, service: str, environment: str, scope: str) -> str:
    """Load one call as it would be received, and return its id."""
    made = otlp.span({**otlp.CALL, **attributes})
    request = otlp.request([made])
    resource = request.resource_spans[0]
    resource.resource.attributes[0].value.string_value = service
    resource.resource.attributes.add(key="deployment.environment.name").value.string_value = environment
    resource.scope_spans[0].scope.name = scope
    body = check(request.SerializeToString()).body
    store.load(varint(len(body)) + body)
    return made.span_id.hex()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(values=st.lists(names, min_size=len(FIELDS), max_size=len(FIELDS)), more=st.tuples(*[names] * 4))
def test_no_name_brings_control_characters_or_backslashes_into_the_store(
    store: Store, values: list[str], more: tuple[str, str, str, str]
) -> None:
    service, environment, scope, tag = more
    attributes = {**dict(zip(FIELDS, values, strict=True)), f"pennytrace.tag.{tag}": tag}

    span_id = load(store, attributes, service=service, environment=environment, scope=scope)

    (row,) = spend(store, where=f"span_id = '{span_id}'")
    found = [
        text for name, value in row.items() if name not in ("trace_id", "span_id") for text in strings(value)
    ]
    assert not [text for text in found if UNSAFE.search(text)]
    # Nothing else is lost: a quote is a letter of a name such as O'Reilly.
    assert row["team"] == UNSAFE.sub("_", attributes["pennytrace.team"])
    assert row["tags"][UNSAFE.sub("_", tag)] == UNSAFE.sub("_", tag)


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(values=st.tuples(*[names] * 7))
def test_nor_do_the_names_of_gpus(store: Store, values: tuple[str, ...]) -> None:
    gpu, model, vendor, pool, node, service, metric = values
    made = capacity.request([capacity.reading(f"hw.{metric}", 30, 1.0)], node=node, instance=service)
    (point,) = made.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points
    del point.attributes[:]
    for key, value in (
        ("hw.id", f"x{gpu}"), ("hw.model", model), ("hw.vendor", vendor), ("pennytrace.gpu.pool", pool),
    ):  # fmt: skip
        point.attributes.add(key=key).value.string_value = value
    body = check_points(made.SerializeToString()).body
    store.load(varint(len(body)) + body)

    rows = store.client.query("SELECT * FROM pennytrace.gpu_points").result_rows
    store.client.command("TRUNCATE TABLE pennytrace.gpu_points")

    assert rows
    assert not [text for row in rows for text in strings(row) if UNSAFE.search(text)]


HOSTILE = (
    "=HYPERLINK(\"http://evil\",\"x\")", "@SUM(1)", "\x1b]0;owned\x07\x1b[2J", "a\\' OR 1=1 --", "O'Reilly",
    "\x9b31m red", "\u202etxt.exe", "line\nbreak", "${jndi}", "{{x}}", "[bold red]markup[/]", "\\",
)  # fmt: skip


@pytest.fixture(scope="module")
def hostile(fresh_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with a call of each hostile name, in every field that reports group by."""
    state = tmp_path_factory.mktemp("hostile")
    shutil.copytree(fresh_store, state / "store", symlinks=True)
    store = open_store(f"chdb://{state / 'store'}")
    for name in HOSTILE:
        load(store, dict.fromkeys(FIELDS[1:], name), service=name, environment=name, scope=name)
    store.settle()
    store.close()
    return state


def report(state: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    arguments = ["report", "--state", str(state), "--since", "2026-01-01", "--by", "team,model,user,service"]
    assert cli.main([*arguments, *options]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("options", [(), ("--json",), ("--csv",)], ids=["table", "json", "csv"])
def test_a_report_sends_a_terminal_nothing_but_text(
    hostile: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    printed = report(hostile, capsys, *options)
    assert not UNSAFE.search(printed.replace("\n", "").replace('\\"', ""))
    assert not FEINTS.search(printed)
    assert "O'Reilly" in printed
    assert "[bold red]" in printed or "[bold" in printed


def test_a_spreadsheet_takes_no_name_for_a_formula(hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.reader(io.StringIO(report(hostile, capsys, "--csv"))))
    assert len(rows) == 1 + len(HOSTILE)
    assert not [cell for row in rows for cell in row[:4] if cell[:1] in tuple("=+-@\t\r")]


def test_each_name_is_one_row_and_can_be_asked_for_in_sql(
    hostile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = json.loads(report(hostile, capsys, "--json"))["rows"]
    assert sorted(row["calls"] for row in rows) == [1] * len(HOSTILE)
    store = open_store(f"chdb://{hostile / 'store'}")
    try:
        for (team,) in store.client.query("SELECT team FROM pennytrace.spend").result_rows:
            # As Grafana's ${team:singlequote} writes it: a quote is escaped, and there is no backslash to undo that.
            quoted = "'" + team.replace("'", "\\'") + "'"
            found = store.client.query(f"SELECT count() FROM pennytrace.spend WHERE team IN ({quoted})")
            assert found.result_rows[0][0] == 1
    finally:
        store.close()
