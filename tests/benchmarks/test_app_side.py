"""Keeps what pennytrace costs an app within bounds that hold on any machine, busy or not."""

from __future__ import annotations

import pytest

from tests.benchmarks import app_side


@pytest.fixture(scope="module")
def figures() -> app_side.Figures:
    return app_side.measure(rounds=40, calls=10)


@pytest.mark.parametrize("kind", ["chat_us", "async_chat_us"])
def test_a_call_costs_no_more_than_three_spans_of_the_sdk(figures: app_side.Figures, kind: str) -> None:
    added: app_side.Added = getattr(figures, kind)
    assert added.pennytrace < 3 * added.otel_sdk_span


def test_a_chunk_of_a_stream_costs_a_fraction_of_a_span(figures: app_side.Figures) -> None:
    added = figures.stream_of_100_chunks_us
    assert added.pennytrace < 15 * figures.chat_us.otel_sdk_span


def test_starting_is_quick(figures: app_side.Figures) -> None:
    assert figures.import_and_init_ms < 1000
