"""`pennytrace token`: what it prints works as it is, and it takes no secret that could be guessed."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from pennytrace.cli import main
from pennytrace_collectors.access import read_access_file
from pennytrace_collectors.access.secret import digest


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["token", *arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def lines_of(output: str) -> str:
    return "\n".join(line.strip() for line in re.findall(r"^    (?:\[\[|\w+ = ).*$", output, re.MULTILINE))


def test_a_new_token_is_shown_once_and_only_its_hash_goes_into_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = printed(capsys, "new", "shop", "--team", "checkout", "--environment", "prod")
    (secret,) = re.findall(r"^    (pt_\S{43})$", out, re.MULTILINE)
    path = tmp_path / "access.toml"
    path.write_text(lines_of(out))

    (token,) = read_access_file(path).tokens
    assert (status, token.name, token.team, token.environment) == (0, "shop", "checkout", "prod")
    assert token.sha256 == (digest(secret),)
    assert secret not in path.read_text()

    monkeypatch.setattr("sys.stdin", io.StringIO(secret + "\n"))
    status, out, _ = printed(capsys, "check", "--access", str(path))
    assert (status, out) == (0, "token shop, team checkout, environment prod, mode stamp\n")

    monkeypatch.setattr("sys.stdin", io.StringIO(secret[:-1] + "\n"))
    assert printed(capsys, "check", "--access", str(path))[0] == 1


def test_the_password_of_a_user_is_made_the_same_way(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, out, _ = printed(capsys, "new", "--user", "grafana")
    path = tmp_path / "access.toml"
    path.write_text(lines_of(out))
    assert [user.name for user in read_access_file(path).users] == ["grafana"]


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("hunter2", "it has 7 characters; make it 32 or more, at random"),
        ("a" * 40, "it has only 1 different characters"),
        ("pass phrase " * 4, "it has spaces"),
    ],
)
def test_a_secret_that_could_be_guessed_is_refused_and_not_repeated(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, secret: str, words: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(secret + "\n"))
    status, out, err = printed(capsys, "new", "shop", "--stdin")
    assert status == 1
    assert words in err
    assert secret.strip() not in out + err


def test_a_name_that_the_collector_would_not_take_is_refused_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, _, err = printed(capsys, "new", "the shop")
    assert status == 1
    assert "should be letters, digits, '.', '_' and '-'" in err
