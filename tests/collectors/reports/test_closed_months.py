"""What a report says of closed months that it covers: when they were closed, and what has come since."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace_collectors.store import open_store
from pennytrace_collectors.store.months import close_month
from tests.collectors import otlp
from tests.collectors.reports.reporting import add_calls, printed, state_folder

PRICES = """
[[price]]
model = "tiny"
input_mtok = 1
"""
MAY = ("--since", "2026-05-01", "--until", "2026-06-01")
JUNE = ("--since", "2026-06-01", "--until", "2026-07-01")


def _call() -> Span:
    made = otlp.span(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai_compatible",
            "gen_ai.request.model": "tiny",
            "gen_ai.usage.input_tokens": 1_000_000,
        }
    )
    made.start_time_unix_nano = int(datetime(2026, 5, 28, 12, tzinfo=UTC).timestamp()) * 10**9
    return made


@pytest.fixture
def state(fresh_store: Path, tmp_path: Path) -> Path:
    folder = state_folder(fresh_store, tmp_path / "state", PRICES, [_call(), _call()])
    store = open_store(f"chdb://{folder / 'store'}", price_files=[folder / "prices.toml"])
    close_month(store, "2026-05")
    store.close()
    return folder


def test_a_closed_month_says_so_and_whether_anything_has_changed(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = " ".join(printed(capsys, state, *MAY).split())
    today = datetime.now(UTC).date().isoformat()

    assert f"2026-05 was closed on {today} with 2 calls, 2.000 USD; nothing has changed since." in table
    assert "was closed" not in printed(capsys, state, *JUNE)


def test_what_has_arrived_since_is_told(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_calls(state, PRICES, [_call()])
    (month,) = json.loads(printed(capsys, state, "--json", *MAY))["closed_months"]

    assert (month["month"], month["arrived_calls"], month["corrected_calls"]) == ("2026-05", 1, 0)
    assert month["at_closing"] == {"calls": 2, "billed_costs": {"USD": "2"}, "costs": {"USD": "2"}}
    assert month["now"] == {"calls": 3, "billed_costs": {"USD": "3"}, "costs": {"USD": "3"}}
    assert "since then 1 call arrived and 0 were priced again: now 3 calls, 3.000 USD." in " ".join(
        printed(capsys, state, *MAY).split()
    )
