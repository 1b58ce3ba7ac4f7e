"""A real collector behind tokens, users and TLS: who reads what, what commands see, and no secret anywhere."""

from __future__ import annotations

import http.client
import io
import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import clickhouse_connect
import pytest
import trustme
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from pennytrace.cli import main
from pennytrace_collectors import running
from pennytrace_collectors.access.secret import new_secret
from tests.collectors import otlp
from tests.collectors.service.process import REAL, ROOT, collector
from tests.collectors.waiting import eventually

from .files import entry, written

TOKEN, READER, OWNER = new_secret(), new_secret(), new_secret()


@dataclass(frozen=True)
class Place:
    """A running collector, and what is needed to speak with it."""

    state: Path
    found: running.RunningCollector
    process: subprocess.Popen[str]
    ca: trustme.CA

    def post(self, body: bytes, token: str = TOKEN) -> int:
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        port = urlsplit(self.found.http or "").port
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
        try:
            headers = {"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {token}"}
            connection.request("POST", "/v1/traces", body, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def client(self, user: str, password: str) -> Client:
        return clickhouse_connect.get_client(
            host="127.0.0.1",
            port=urlsplit(self.found.sql or "").port or 0,
            interface="https",
            ca_cert=str(self.state / "ca.pem"),
            username=user,
            password=password,
            autogenerate_session_id=False,
        )

    def pennytrace(self, *arguments: str) -> str:
        out = io.StringIO()
        with redirect_stdout(out):
            assert main([*arguments]) in (0, 1)
        return out.getvalue()


def access(*more: str) -> Sequence[str]:
    return (
        entry("token", "shop", TOKEN, team="checkout", environment="prod"),
        entry("user", "grafana", READER),
        entry("user", "owner", OWNER, tables="all"),
        '[tls]\ncertificate = "server.pem"\nkey = "server.key"\n',
        *more,
    )


@pytest.fixture(scope="module")
def place(fresh_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    state = tmp_path_factory.mktemp("guarded") / "state"
    shutil.copytree(fresh_store, state / "store", symlinks=True)
    ca = trustme.CA()
    ca.cert_pem.write_to_path(state / "ca.pem")
    issued = ca.issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(state / "server.key")
    issued.cert_chain_pems[0].write_to_path(state / "server.pem")
    written(state / "access.toml", *access())
    with collector(REAL, state, "--sql", "127.0.0.1:0", "--http", "0.0.0.0:0") as started:
        made = Place(state, started.found, started.process, ca)
        assert made.post(otlp.body(3)) == 200
        owner = made.client("owner", OWNER)
        count = "SELECT count() FROM pennytrace.calls"
        eventually(lambda: owner.query(count).result_rows == [(3,)], what="the calls to be loaded")
        owner.close()
        yield made


@pytest.fixture(autouse=True)
def _state(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENNYTRACE_STATE", str(place.state))
    monkeypatch.delenv("PENNYTRACE_STORE", raising=False)


@pytest.fixture
def reader(place: Place) -> Iterator[Client]:
    made = place.client("grafana", READER)
    yield made
    made.close()


def test_only_users_with_their_passwords_read(place: Place) -> None:
    for user, password in (("grafana", OWNER), ("grafana", ""), ("default", ""), ("nobody", READER)):
        with pytest.raises(DatabaseError, match="Authentication failed") as caught:
            place.client(user, password)
        assert not password or password not in str(caught.value)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT team, count() AS calls FROM pennytrace.spend GROUP BY team ORDER BY calls",
        "SELECT count() FROM spend",
        "WITH mine AS (SELECT * FROM spend) SELECT count() FROM mine WHERE model IN (SELECT model FROM spend)",
        "SELECT sum(calls) FROM losses FINAL",
        "SELECT * FROM catalogs LIMIT 1",
        "SHOW TABLES",
        "DESCRIBE TABLE spend",
        "SELECT name FROM system.columns WHERE table = 'spend' LIMIT 1",
        "SELECT 1 IN (1, 2)",
    ],
)
def test_a_reader_of_spend_reads_it_as_boards_do(reader: Client, sql: str) -> None:
    assert reader.query(sql).result_rows is not None


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM calls",
        "SELECT * FROM pennytrace.calls",
        "SELECT * FROM `pennytrace`.`calls`",
        "SELECT * FROM spend, calls",
        "SELECT count() FROM spend WHERE trace_id IN calls",
        "SELECT count() FROM spend WHERE trace_id IN (calls)",
        "SELECT count() FROM spend WHERE trace_id NOT IN pennytrace.calls",
        "SELECT count() FROM spend WHERE in(trace_id, pennytrace.calls)",
        "SELECT globalIn(1, prices)",
        "SELECT * FROM (SELECT * FROM prices)",
        "SELECT (SELECT count() FROM models)",
        "SELECT * FROM view(SELECT * FROM calls)",
        "SELECT * FROM spend UNION ALL SELECT * FROM usage",
        "WITH calls AS (SELECT 1) SELECT * FROM (SELECT * FROM calls)",
        "WITH x AS (SELECT * FROM calls) SELECT * FROM x",
        "SELECT dictGet('pennytrace.rate_sets', 'costs', 1)",
        "SELECT arrayMap(dictGetOrNull, ['pennytrace.rate_sets'])",
        "SELECT * FROM {t:Identifier}",
        "SELECT * FROM pennytrace.{t:Identifier}",
        "SHOW CREATE TABLE calls",
        "DESCRIBE TABLE pennytrace.calls",
        "EXPLAIN SELECT * FROM calls",
        "SELECT * FROM spend SETTINGS additional_table_filters = {'spend': 'cost IN (SELECT cost FROM calls)'}",
        "SELECT * FROM merge('pennytrace', 'calls')",
    ],
)
def test_a_reader_of_spend_reads_nothing_else(reader: Client, sql: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        reader.query(sql, parameters={"t": "calls"} if "Identifier" in sql else None)
    assert "Not enough privileges" in str(caught.value) or "not available" in str(caught.value)


def test_filters_in_a_setting_reach_no_further(reader: Client) -> None:
    filters = "{'spend': 'cost IN (SELECT cost FROM calls)'}"
    with pytest.raises(DatabaseError, match="Not enough privileges"):
        reader.query("SELECT count() FROM spend", settings={"additional_table_filters": filters})


def test_a_user_of_all_tables_reads_them(place: Place) -> None:
    owner = place.client("owner", OWNER)
    assert owner.query("SELECT count() FROM calls WHERE team IN (SELECT team FROM spend)").result_rows == [
        (3,)
    ]
    owner.close()


def test_this_users_commands_need_no_password_and_no_certificate(place: Place) -> None:
    (row,) = json.loads(place.pennytrace("report", "--by", "team", "--since", "2026-01-01", "--json"))["rows"]
    assert (row["team"], row["calls"]) == ("checkout", 3)
    doctor = json.loads(place.pennytrace("doctor", "--json"))
    assert any("accepts spans at https://" in finding["what"] for finding in doctor)


def test_the_secret_of_commands_is_for_this_user_alone(place: Place) -> None:
    assert (place.state / "collector.secret").stat().st_mode & 0o077 == 0


def test_a_broken_access_file_is_told_by_doctor_and_in_the_log_and_changes_nothing(place: Place) -> None:
    written(place.state / "access.toml", *access(f'[[token]]\nname = "x"\nsha256 = "{TOKEN}"'))

    def told() -> bool:
        findings = json.loads(place.pennytrace("doctor", "--json"))
        return any("access file is not in force as it is" in finding["what"] for finding in findings)

    eventually(told, what="doctor to say it")
    assert place.post(otlp.body()) == 200
    added = new_secret()
    written(place.state / "access.toml", *access(entry("token", "other", added)))
    eventually(lambda: place.post(otlp.body(), added) == 200, what="the new token to be taken")


def test_no_secret_is_in_the_log_the_arguments_or_the_announcement(place: Place) -> None:
    place.post(otlp.body(), new_secret())
    place.process.terminate()
    output, errors = place.process.communicate(timeout=60)
    key = (place.state / "server.key").read_text().splitlines()[1]
    for secret in (TOKEN, READER, OWNER, key):
        assert secret not in output + errors
    assert "stays in force" in errors
    assert not (place.state / "collector.secret").exists()


def test_the_password_of_a_store_is_in_no_argument_list_and_no_message(tmp_path: Path) -> None:
    password = "s3cret-of-the-store"
    dsn = f"http://writer:{password}@127.0.0.1:9/pennytrace"
    (tmp_path / "dsn").write_text(dsn + "\n")
    options = ("--state", str(tmp_path / "state"), "--http", "127.0.0.1:0", "--grpc", "off", "--sql", "off")
    for told, environment in (
        (("--store-file", str(tmp_path / "dsn")), {}),
        ((), {"PENNYTRACE_STORE_FILE": str(tmp_path / "dsn")}),
        ((), {"PENNYTRACE_STORE": dsn}),
    ):
        with subprocess.Popen(
            [sys.executable, "-m", "pennytrace.cli", "collect", *options, *told],
            cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            eventually(lambda: running.find(tmp_path / "state"), what="the collector to start")
            assert password.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
            process.terminate()
            output, errors = process.communicate(timeout=60)
        assert "writer:***@127.0.0.1:9" in errors
        assert password not in output + errors
