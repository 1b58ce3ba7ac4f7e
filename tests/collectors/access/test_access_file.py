"""An access file is taken whole or refused whole, every mistake named and no secret shown, without a restart."""

from __future__ import annotations

import logging
from datetime import date
from pathlib import Path

import pytest

from pennytrace_collectors.access import WatchedAccess, read_access_file
from pennytrace_collectors.access.guard import Guard
from pennytrace_collectors.access.secret import digest, new_secret
from pennytrace_collectors.errors import AccessFileError
from pennytrace_collectors.receive.address import Address

from .files import entry, written

SECRET = new_secret()


def mistakes(tmp_path: Path, text: str) -> str:
    with pytest.raises(AccessFileError) as caught:
        read_access_file(written(tmp_path / "access.toml", text))
    return str(caught.value).replace(str(tmp_path), "")


def test_everything_that_a_file_may_say_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path / "access.toml",
        "open_to_all = false",
        entry("token", "shop", SECRET, team="checkout", environment="prod", mode="restrict"),
        "valid_to = 2027-01-31\nbytes_per_s = 1000000\nspans_per_body = 500",
        entry("user", "grafana", "p" * 40, tables="all"),
        '[tls]\ncertificate = "server.pem"\nkey = "/keys/server.key"',
        '[tls.sql]\ncertificate = "sql.pem"\nkey = "sql.key"\nclient_ca = "clients.pem"',
    )
    found = read_access_file(path)

    (token,), (user,) = found.tokens, found.users
    assert (token.name, token.team, token.environment, token.mode) == ("shop", "checkout", "prod", "restrict")
    assert (token.valid_to, token.bytes_per_s, token.spans_per_body) == (date(2027, 1, 31), 1000000, 500)
    assert (user.name, user.tables) == ("grafana", "all")
    assert found.tls["http"].certificate == tmp_path / "server.pem"
    assert found.tls["grpc"].key == Path("/keys/server.key")
    assert found.tls["sql"].client_ca == tmp_path / "clients.pem"


def test_every_mistake_is_named_at_once_with_its_line(tmp_path: Path) -> None:
    said = mistakes(
        tmp_path,
        f"""
[[token]]
name = "the shop"
sha256 = "{digest(SECRET)}"
[[token]]
name = "batch"
sha256 = ["{digest(SECRET)}"]
teem = "x"
mode = "restrict"
bytes_per_s = 0
[[user]]
name = "grafana"
[tls]
certificate = "a.pem"
[tokens]
""",
    )
    for line in (
        "/access.toml:3: [token] name: should be letters, digits, '.', '_' and '-', got 'the shop'",
        "/access.toml:8: [token] teem: unknown key, got what is not shown here, because it may be a secret; "
        "did you mean 'team'?",
        "/access.toml:10: [token] bytes_per_s: input should be greater than or equal to 1, got 0",
        "/access.toml:11: [user] sha256: is missing; add it",
        "/access.toml:13: [tls] key: is missing; add it",
        "/access.toml:15: unknown 'tokens'; did you mean 'token'?",
    ):
        assert line in said


def test_a_token_that_stands_where_its_hash_should_is_never_shown(tmp_path: Path) -> None:
    text = f'[[token]]\nname = "shop"\nsha256 = "{SECRET}"\n[[token]]\nname = "b"\ntoken = "{SECRET}"\n'

    said = mistakes(tmp_path, text)

    assert "never the secret itself" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('mode = "restrict"', "'restrict' needs a team or an environment to restrict to"),
        ('team = "a\\\\b"', "should have no control characters and no backslash"),
        ('team = "a\\u001bb"', "should have no control characters and no backslash"),
        ("bytes_per_s = true", "should be a number"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, more: str, words: str) -> None:
    assert words in mistakes(tmp_path, entry("token", "shop", SECRET) + more)


def test_two_entries_share_neither_a_name_nor_a_secret(tmp_path: Path) -> None:
    said = mistakes(tmp_path, entry("token", "shop", SECRET) + entry("token", "shop", SECRET))
    assert "has the name of the one in line 1" in said
    assert "has the sha256 of the one in line 1" in said


def test_a_new_version_comes_into_force_and_a_broken_one_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "access.toml"
    watched = WatchedAccess(path)

    def names() -> list[str]:
        return [token.name for token in watched.in_force.tokens]

    assert names() == []

    written(path, entry("token", "shop", SECRET))
    watched.refresh()
    assert names() == ["shop"]

    written(path, "[[token]]\nname = 'shop'")
    watched.refresh()
    assert names() == ["shop"]
    assert "sha256: is missing" in watched.fault
    assert "the one before stays in force" in caplog.text

    path.unlink()
    watched.refresh()
    assert names() == ["shop"]
    assert watched.fault.endswith("is gone")

    written(path, entry("token", "other", SECRET))
    watched.refresh()
    assert (names(), watched.fault) == (["other"], "")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "collector"])
@pytest.mark.parametrize("port", ["http", "grpc", "sql"])
def test_a_port_that_other_machines_reach_is_not_opened_to_everybody(
    tmp_path: Path, host: str, port: str
) -> None:
    path, ports = tmp_path / "access.toml", {port: Address(host, 4318, f"--{port}")}
    with pytest.raises(AccessFileError, match=rf"--{port} .*everybody there could .*pennytrace token new"):
        Guard(path, ports)

    written(path, entry("user" if port == "sql" else "token", "name", SECRET))
    Guard(path, ports)
    written(path, "open_to_all = true")
    Guard(path, ports)


def test_the_last_token_cannot_be_taken_away_from_an_open_port(tmp_path: Path) -> None:
    path = written(tmp_path / "access.toml", entry("token", "shop", SECRET))
    guard = Guard(path, {"http": Address("0.0.0.0", 4318, "--http")})
    watched = guard._watched

    written(path, "")
    watched.refresh()

    assert [token.name for token in watched.in_force.tokens] == ["shop"]
    (warning,) = guard.warnings()
    assert "not in force as it is" in warning
