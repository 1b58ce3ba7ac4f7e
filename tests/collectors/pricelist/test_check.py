"""`pennytrace prices check`: every mistake with its file, line and field, and what will hardly be meant."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Prices

File = Callable[[str], str]


def test_all_mistakes_of_all_files_are_told_at_once(prices: Prices, file: File, tmp_path: Path) -> None:
    path = file(
        '[[price]]\nmodel = "a"\ninput_mtok = "cheap"\n\n[[price]]\nmodle = "b"\ninput_mtok = 1\n\n[[discounts]]\n'
    )
    other = tmp_path / "other.toml"
    other.write_text('currency = "euro"\n')
    text = prices("check", path, str(other), status=1)

    for said in (
        f"{path}:3: [[price]] input_mtok:",
        f"{path}:5: [[price]] model: is missing",
        f"{path}:6: [[price]] modle: unknown key",
        "did you mean 'model'?",
        f"{path}:9: unknown 'discounts'",
        f"{other}:1: currency:",
    ):
        assert said in text
    assert "5 mistakes: the collector would not start with this." in text
    found = prices.json("check", path, str(other), status=1)
    assert (found["ok"], len(found["errors"]), found["files"]) == (False, 5, [])


def test_a_file_without_mistakes_is_summed_up(prices: Prices, file: File) -> None:
    path = file('currency = "EUR"\n[[price]]\nmodel = "a"\ninput_mtok = 1\ncurrency = "EUR"\n')

    text = prices("check", path)
    assert "prices.toml: 1 price\n" in text
    assert "No mistakes. Reports are in EUR." in text
    found = prices.json("check", path)
    assert (found["ok"], found["currency"], found["files"][0]["price"]) == (True, "EUR", 1)


def test_an_empty_file_says_nothing(prices: Prices, file: File) -> None:
    assert "prices.toml: nothing" in prices("check", file(""))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[[discount]]\nprovider = "opneai"\npercent = 5\n',
            ":1: [[discount]] provider: no layer has a price for 'opneai'",
        ),
        (
            '[[discount]]\nprovider = "openai"\nmodel = "gtp-*"\npercent = 5\n',
            ":1: [[discount]] model: no layer has a price for 'gtp-*'",
        ),
        (
            '# first\n[[correction]]\nprovider = "openai"\nmodel = "gpt-99"\ninput_mtok = 1\n',
            ":2: [[correction]] model: no layer has a price for 'gpt-99'",
        ),
        (
            '[[surcharge]]\nmodel = "nothing-*"\nvariant = "us"\nfactor = 1.1\n',
            ":1: [[surcharge]] model: no layer has a price for 'nothing-*'",
        ),
        (
            '[[deployment]]\nprovider = "azure"\nname = "x"\nmodel = "gpt-99"\n',
            ":1: [[deployment]] model: 'gpt-99' has no price at 'azure'",
        ),
        (
            '[[price]]\nmodel = "a"\ninput_mtok = 1\nvalid_from = 2100-01-01\n',
            ":1: [[price]] valid_from: not in force before 2100-01-01",
        ),
        (
            '[[gpu]]\ncpu = true\nkind = "spot"\nper_gpu_hour = 1\nvalid_from = 2100-01-01\n',
            ":1: [[gpu]] valid_from: not in force before 2100-01-01",
        ),
        (
            '[[exchange_rate]]\nfrom = "USD"\nto = "EUR"\ndate = 2100-01-01\nrate = 1\n',
            ":1: [[exchange_rate]] date: not in force before 2100-01-01",
        ),
        (
            '[[price]]\nmodel = "a"\ninput_mtok = 1\ncurrency = "CNY"\n',
            "no [[exchange_rate]] from CNY to USD",
        ),
        ('currency = "EUR"\n', "no [[exchange_rate]] from USD to EUR"),
    ],
)
def test_what_will_hardly_do_what_was_meant_is_a_warning(
    text: str, said: str, prices: Prices, file: File
) -> None:
    printed = prices("check", file(text))

    assert f"warning: {said}" in printed or f"prices.toml{said}" in printed
    assert prices.json("check", file(text))["ok"] is True


@pytest.mark.parametrize(
    "text",
    [
        '[[discount]]\nprovider = "openai"\npercent = 5\n',
        '[[discount]]\nprovider = "azure.ai.openai"\nmodel = "gpt-4o"\npercent = 5\n',
        '[[discount]]\nmodel = "gpt-4o-2024-08-06"\npercent = 5\n',
        '[[correction]]\nmodel = "gpt-4o*"\ninput_mtok = 1\n',
        '[[price]]\nprovider = "acme"\nmodel = "a"\ninput_mtok = 1\n[[discount]]\nprovider = "acme"\npercent = 5\n',
        '[[price]]\nmodel = "a"\ninput_mtok = 1\nvalid_from = 2020-01-01\nvalid_to = 2020-12-31\n',
        '[[deployment]]\nname = "x"\nmodel = "gpt-4o"\n',
    ],
)
def test_what_does_what_was_meant_is_none(text: str, prices: Prices, file: File) -> None:
    assert "warning" not in prices("check", file(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [("[[price]\n", "is not valid TOML"), ("a = \xff", "is not valid TOML")],
)
def test_what_is_no_toml_is_told(text: str, said: str, prices: Prices, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(text.encode("latin-1"))

    assert said in prices("check", str(tmp_path / "x.toml"), status=1)


def test_the_example_in_the_docs_does_what_it_says(prices: Prices, file: File) -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "prices.md").read_text("utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)

    text = prices("check", file(example))
    assert "warning" not in text
    assert "No mistakes. Reports are in EUR." in text


def test_a_file_that_is_not_there_is_told(prices: Prices) -> None:
    assert "cannot read the price file '/no/such.toml'" in prices("check", "/no/such.toml", status=1)
