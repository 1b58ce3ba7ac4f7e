"""`pennytrace prices update`: newer data is read, checked whole, kept beside the older, used at the next start."""

from __future__ import annotations

import io
import json
from argparse import Namespace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from pennytrace import cli
from pennytrace_collectors.catalog import genai
from pennytrace_collectors.commands import collect
from pennytrace_collectors.pricelist import kept, sources
from tests.collectors import otlp
from tests.collectors.service.process import REAL, collector

from .conftest import Prices
from .data import NEW, OLD, body, data, model, provider, serving, status


def _write(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "data.json"
    path.write_bytes(content)
    return str(path)


def _in_use(prices: Prices) -> str | None:
    found = sources.in_use((), prices.state).genai_data
    return None if found is None else found.read_bytes().decode()


def test_data_is_taken_from_a_url_and_its_changes_are_told(prices: Prices) -> None:
    with serving(body(OLD)) as old:
        prices("update", f"{old}/data.json")
    with serving(body(NEW)) as new:
        text = prices("update", f"{new}/data.json?token=secret")

    assert "1 model added, 1 removed, prices of 1 changed." in text
    assert "added: acme/anvil-3" in text
    assert "removed: acme/gone-1" in text
    row = next(line.split() for line in text.splitlines() if "acme/road-1" in line)
    assert row[row.index("2027-03-01") + 1 :] == ["1.00", "USD", "0.50", "USD", "1M", "tokens"]
    assert f"Taken: {new}/data.json of " in text
    assert "the collector uses it at its next start" in text
    assert "secret" not in text + (kept.folder(prices.state) / "taken.json").read_text()
    assert _in_use(prices) == NEW.decode()


def test_what_was_taken_is_what_is_shown(prices: Prices, tmp_path: Path) -> None:
    prices("update", _write(tmp_path, NEW))

    shown = prices.json("show", "anvil-3", "--provider", "acme")
    assert {price["meter"]: price["price"] for price in shown["prices"]}["input"] == "0.10"
    assert shown["prices"][0]["source"].startswith("genai-prices data ")
    assert "Price list: genai-prices data " in prices("show", "anvil-3", "--provider", "acme")
    # The supplement stays over it.
    assert prices("list", "--layer", "supplement", "--provider", "tencent")


def test_a_collector_that_starts_afterwards_uses_it(prices: Prices, tmp_path: Path) -> None:
    options = dict.fromkeys(
        ("state", "store", "store_file", "access", "http", "grpc", "sql", "prices", "journal_limit")
    )
    environment = {"PENNYTRACE_STATE": str(prices.state)}
    assert collect.settings(Namespace(**options), environment).genai_data is None

    prices("update", _write(tmp_path, NEW))

    used = collect.settings(Namespace(**options), environment).genai_data
    assert used is not None
    assert used.read_bytes() == NEW


def test_the_same_data_again_is_not_kept_twice(prices: Prices, tmp_path: Path) -> None:
    path = _write(tmp_path, NEW)
    prices("update", path)
    entries = kept.taken(prices.state)

    assert "Nothing to take: the data in use says the same." in prices("update", path)
    assert kept.taken(prices.state) == entries


def test_older_data_is_refused_unless_forced(prices: Prices, tmp_path: Path) -> None:
    prices("update", _write(tmp_path, NEW))
    path = _write(tmp_path, OLD)

    text = prices("update", path, status=1)
    assert "is older than the data in use: its newest price starts on 2027-01-01" in text
    assert "that of the data in use on 2027-03-01" in text
    assert _in_use(prices) == NEW.decode()

    prices("update", path, "--force")
    assert _in_use(prices) == OLD.decode()


def test_data_older_than_the_package_is_refused(prices: Prices, tmp_path: Path) -> None:
    path = _write(
        tmp_path, data(model("road-1", (None, {"input_mtok": 1}), ("2020-01-01", {"input_mtok": 2})))
    )

    assert "is older than the data in use" in prices("update", path, status=1)


def test_going_back_ends_at_the_package(prices: Prices, tmp_path: Path) -> None:
    prices("update", _write(tmp_path, OLD))
    prices("update", _write(tmp_path, NEW))

    text = prices("update", "--back")
    assert "1 model added, 1 removed, prices of 1 changed." in text
    assert "Gone back to" in text
    assert _in_use(prices) == OLD.decode()

    found = prices.json("update", "--back")
    assert (found["in_use"], found["went_back"]) == (None, True)
    assert _in_use(prices) is None
    assert "no data file is in use" in prices("update", "--back", status=1)


def test_data_that_was_damaged_is_refused_and_can_be_gone_back_from(prices: Prices, tmp_path: Path) -> None:
    prices("update", _write(tmp_path, NEW))
    (entry,) = kept.taken(prices.state)
    (kept.folder(prices.state) / entry.file).write_bytes(b"[]")

    assert "has changed since it was taken" in prices("show", "gpt-4o", status=1)
    assert "Gone back to the installed genai-prices" in prices("update", "--back")
    prices("show", "gpt-4o")


def test_a_newer_package_takes_over_and_an_older_one_does_not(
    prices: Prices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices("update", _write(tmp_path, OLD))
    assert sources.in_use((), prices.state).genai_data is not None

    # Another package, which knows no newer price than the data.
    monkeypatch.setattr(genai, "package_version", lambda: "9.9.9")
    assert sources.in_use((), prices.state).genai_data is not None

    monkeypatch.setattr(sources, "installed_newest", lambda: date(2028, 1, 1))
    found = sources.in_use((), prices.state)
    assert found.genai_data is None
    assert "genai-prices 9.9.9 was installed since, and knows newer prices" in found.note


BROKEN = {
    "html": b"<!doctype html><title>Not found</title>",
    "empty": b"",
    "no list": b"{}",
    "empty list": b"[]",
    "version 3": json.dumps({"units": {}, "providers": []}).encode(),
    "numbers": b"[1, 2]",
    "cut off": NEW[:-7],
    "binary": bytes(range(256)),
    "deep": b"[" * 100_000,
    "no models": json.dumps([{"id": "x"}]).encode(),
    "price in words": data(model("m", (None, {"input_mtok": "cheap"}))),
    "negative": data(model("m", (None, {"input_mtok": -1}), ("2030-01-01", {"input_mtok": 1}))),
    "not a number": NEW.replace(b"0.5", b"NaN"),
    "infinite": NEW.replace(b"0.5", b"Infinity"),
    "huge": NEW.replace(b"0.5", b"1e400"),
    "a date that is none": NEW.replace(b"2027-03-01", b"2027-13-01"),
    "a bad pattern": json.dumps(
        [{**provider([model("m", (None, {"input_mtok": 1}))]), "api_pattern": "("}]
    ).encode(),
    "a bad match": json.dumps(
        [provider([{"id": "m", "match": {"regex": "("}, "prices": {"input_mtok": 1}}])]
    ).encode(),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_what_is_no_price_data_is_refused_and_nothing_changes(
    content: bytes, prices: Prices, tmp_path: Path
) -> None:
    path = _write(tmp_path, content)
    text = prices("update", path, "--force", status=1)

    assert "pennytrace: error: " in text
    assert path in text, "it names what was read"
    assert "/tmp/pennytrace-" not in text, "and not where it was looked at"
    assert kept.taken(prices.state) == ()


def test_a_server_that_says_no_is_told(prices: Prices) -> None:
    with serving(status(503)) as url:
        assert "answers 503" in prices("update", url, status=1)


@pytest.mark.parametrize("arguments", [[], ["data.json", "--back"]])
def test_a_source_or_back_must_be_given(arguments: list[str], prices: Prices) -> None:
    assert "give the path or URL of a data file, or --back; not both" in prices(
        "update", *arguments, status=1
    )


def test_machines_get_every_change(prices: Prices, tmp_path: Path) -> None:
    prices("update", _write(tmp_path, OLD))
    found = prices.json("update", _write(tmp_path, NEW))

    assert (found["added"], found["removed"]) == (["acme/anvil-3"], ["acme/gone-1"])
    assert {change["model"] for change in found["changed"]} == {"acme/road-1"}
    change = next(change for change in found["changed"] if change["meter"] == "input")
    assert (change["old"]["unit_price"], change["new"]["unit_price"]) == (
        "0.000001000000000000",
        "0.000000500000000000",
    )
    assert found["in_use"]["newest_price"] == "2027-03-01"


def test_calls_are_priced_by_it_once_the_collector_has_started_again(
    prices: Prices, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices("update", _write(tmp_path, NEW))
    call = dict(otlp.CALL) | {
        "gen_ai.provider.name": "acme",
        "server.address": "",
        "gen_ai.request.model": "anvil-3",
        "gen_ai.response.model": "anvil-3",
        "gen_ai.usage.input_tokens": 3_000_000,
        "gen_ai.usage.output_tokens": 500_000,
    }
    made = otlp.span(call)
    made.start_time_unix_nano = int(datetime.now(UTC).timestamp()) * 10**9
    with collector(REAL, prices.state) as running:
        assert running.post(otlp.request([made]).SerializeToString()) == 200
        assert running.stop() == 0
        assert "price data" in (running.process.stdout or io.StringIO()).read()

    assert cli.main(["report", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["cost"] == "0.4", "3 x 0.10 + 0.5 x 0.20"
