"""Keeps what pricing costs within bounds that hold on any machine, busy or not."""

from __future__ import annotations

import pytest

from tests.benchmarks import prices


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    return prices.measure(tmp_path_factory.mktemp("prices") / "store", calls=20_000)


def test_a_call_is_priced_in_a_fraction_of_what_a_python_loop_takes(figures: dict[str, float]) -> None:
    assert figures["pricing_us_a_call"] < 20


def test_the_whole_catalog_is_in_force_within_seconds(figures: dict[str, float]) -> None:
    assert figures["rate_cards"] > 2_000
    assert figures["compile_and_put_in_force_s"] < 20


def test_history_is_priced_again_by_the_ten_thousand(figures: dict[str, float]) -> None:
    assert figures["priced_again_calls_a_second"] > 10_000
