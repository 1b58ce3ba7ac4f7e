"""`pennytrace doctor` says what the collector prices by, and what it would price by after a restart."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pennytrace.finding import Finding
from pennytrace_collectors.checks import check
from pennytrace_collectors.pricelist import kept

from .conftest import Prices
from .data import NEW


@pytest.fixture
def state(fresh_store: Path, prices: Prices) -> Path:
    prices.state.mkdir()
    shutil.copytree(fresh_store, prices.state / "store", symlinks=True)
    return prices.state


def _about_prices() -> list[Finding]:
    return [finding for finding in check() if finding.area == "prices"]


def test_the_list_and_the_supplement_are_named(state: Path) -> None:
    in_force, supplement = _about_prices()

    assert in_force.what.startswith("genai-prices 0.")
    assert "its newest price is of 20" in in_force.what
    assert supplement.state == "ok"
    assert supplement.what.startswith("the supplement has ")


def test_data_that_waits_for_a_restart_is_named(state: Path, prices: Prices, tmp_path: Path) -> None:
    (tmp_path / "data.json").write_bytes(NEW)
    prices("update", str(tmp_path / "data.json"))

    _, data, _ = _about_prices()
    assert (data.state, data.advice) == ("warning", "restart the collector to use it")
    assert str(tmp_path / "data.json") in data.what


def test_data_that_keeps_the_collector_from_starting_is_a_failure(
    state: Path, prices: Prices, tmp_path: Path
) -> None:
    (tmp_path / "data.json").write_bytes(NEW)
    prices("update", str(tmp_path / "data.json"))
    (entry,) = kept.taken(state)
    (kept.folder(state) / entry.file).write_bytes(b"[]")

    failure = _about_prices()[-1]
    assert failure.state == "failure"
    assert "has changed since it was taken; go back by `pennytrace prices update --back`" in failure.what
