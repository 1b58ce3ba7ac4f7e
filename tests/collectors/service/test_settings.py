"""What `pennytrace collect` is told, by options and by the environment."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs
import pytest

from pennytrace.errors import ConfigurationError
from pennytrace_collectors.commands.collect import COMMAND, settings
from pennytrace_collectors.service import Settings
from pennytrace_collectors.store import parse_address


def told(*options: str, environment: Mapping[str, str] | None = None) -> Settings:
    parser = argparse.ArgumentParser()
    COMMAND.add_arguments(parser)
    return settings(parser.parse_args(options), environment or {})


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PENNYTRACE_STATE", raising=False)


def test_without_options_it_listens_on_loopback_and_keeps_everything_in_the_users_data_folder() -> None:
    made = told()
    targets = [address.target if address else None for address in (made.http, made.grpc, made.sql)]
    assert targets == ["127.0.0.1:4318", "127.0.0.1:4317", "127.0.0.1:8123"]
    assert made.state == platformdirs.user_data_path("pennytrace")
    assert made.store == f"chdb://{made.state}/store"
    assert made.limits.total_bytes == 8 * 1024**3


def test_each_option_has_a_variable_and_overrides_it(tmp_path: Path) -> None:
    environment = {
        "PENNYTRACE_STATE": str(tmp_path),
        "PENNYTRACE_HTTP": "127.0.0.1:1",
        "PENNYTRACE_GRPC": "off",
        "PENNYTRACE_SQL": "127.0.0.1:3",
        "PENNYTRACE_JOURNAL_LIMIT": "500MiB",
    }
    by_variable = told(environment=environment)
    assert by_variable.state == tmp_path
    assert by_variable.http is not None
    assert (by_variable.http.port, by_variable.grpc) == (1, None)
    assert by_variable.limits.total_bytes == 500 * 1024**2
    by_option = told(
        "--http", "off", "--grpc", "127.0.0.1:2", "--journal-limit", "2G", environment=environment
    )
    assert (by_option.http, by_option.grpc and by_option.grpc.port) == (None, 2)
    assert by_option.limits.total_bytes == 2 * 1000**3


def test_the_store_of_a_folder_with_an_odd_name_is_in_that_folder(tmp_path: Path) -> None:
    state = tmp_path / "my data #1?"
    assert parse_address(told("--state", str(state)).store).folder == state / "store"


def test_the_sql_port_is_off_when_the_store_is_a_server_that_has_one() -> None:
    environment = {"PENNYTRACE_STORE": "http://user:password@clickhouse:8123/spend"}
    assert told(environment=environment).sql is None
    assert told("--sql", "127.0.0.1:0", environment=environment).sql is not None


def test_price_files_can_be_given_several_times_or_as_a_list(tmp_path: Path) -> None:
    files = [tmp_path / "a.toml", tmp_path / "b.toml"]
    for file in files:
        file.touch()
    assert list(told("--prices", str(files[0]), "--prices", str(files[1])).prices) == files
    joined = os.pathsep.join(map(str, files))
    assert list(told(environment={"PENNYTRACE_PRICES": joined}).prices) == files


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--http", "4318"], "--http must be HOST:PORT"),
        (["--grpc", "here"], "--grpc must be HOST:PORT"),
        (["--sql", "x:y"], "--sql must be HOST:PORT"),
        (
            ["--prices", "/no/such/file.toml"],
            "--prices must name a file that exists; got '/no/such/file.toml'",
        ),
        (["--journal-limit", "much"], "--journal-limit must be a size such as 500MiB or 8GiB; got 'much'"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(options: list[str], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        told(*options)
    assert words in str(caught.value)
