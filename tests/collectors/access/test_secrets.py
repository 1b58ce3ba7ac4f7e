"""Secrets are in no message and no repr, whatever is wrong with what they stand in."""

from __future__ import annotations

import argparse
import logging

import pytest

from pennytrace._setup.settings import problems, resolve
from pennytrace_collectors import storename
from pennytrace_collectors.commands.collect import COMMAND, settings
from pennytrace_collectors.errors import StoreError
from pennytrace_collectors.store import parse_address

SECRET = "s3cret-Value"


@pytest.mark.parametrize(
    "dsn",
    [
        f"clickhouse://writer:{SECRET}@host:9000/spend",
        f"http://writer:{SECRET}@host:8123/no-name",
        f"http://writer:{SECRET}/x@host:8123/spend",
        f"http://writer:{SECRET}#@host:8123",
        f"writer:{SECRET}@host",
        f"//writer:a@{SECRET}@host",
    ],
)
def test_a_stores_address_that_cannot_be_used_is_told_without_its_password(dsn: str) -> None:
    with pytest.raises(StoreError) as caught:
        parse_address(dsn)
    assert SECRET not in str(caught.value)


def test_neither_an_address_nor_settings_show_a_password() -> None:
    dsn = f"http://writer:{SECRET}@host:8123/spend"
    parser = argparse.ArgumentParser()
    COMMAND.add_arguments(parser)
    address = parse_address(dsn)
    made = settings(parser.parse_args([]), {"PENNYTRACE_STORE": dsn})
    assert made.store == dsn
    assert SECRET not in f"{address} {address!r} {made!r}"


def test_a_password_among_the_arguments_is_warned_of_and_not_repeated(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = argparse.Namespace(store=f"http://writer:{SECRET}@host:8123/spend", store_file=None)
    with caplog.at_level(logging.WARNING):
        assert storename.given(told, {}) == told.store
    assert "list of processes; give the DSN by PENNYTRACE_STORE or --store-file" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "store", ["http://host:8123/spend", "http://writer@host:8123/spend", "chdb:///a:b@c"]
)
def test_without_a_password_there_is_no_warning(store: str, caplog: pytest.LogCaptureFixture) -> None:
    storename.given(argparse.Namespace(store=store, store_file=None), {})
    assert caplog.text == ""


@pytest.mark.parametrize(
    "headers", [f"Bearer {SECRET}", f"Authorization: Bearer {SECRET}", f"Authorization=Bearer {SECRET}\x07"]
)
def test_headers_that_cannot_be_used_are_told_without_their_values(headers: str) -> None:
    (problem,) = problems({"PENNYTRACE_HEADERS": headers})
    assert problem.startswith("PENNYTRACE_HEADERS: ")
    assert SECRET not in problem


def test_the_settings_of_an_app_do_not_show_its_token() -> None:
    told = resolve({}, {"PENNYTRACE_HEADERS": f"Authorization=Bearer {SECRET}"})
    assert told.headers == (("Authorization", f"Bearer {SECRET}"),)
    assert SECRET not in repr(told)
