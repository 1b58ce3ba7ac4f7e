"""A store of an earlier version becomes one of this version, in place and with all that is in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace_collectors.store import Store, connect, open_store, parse_address
from tests.collectors import otlp
from tests.collectors.calls import load, load_and_settle, spend
from tests.collectors.store.pricelists import price_list, with_prices

# What each released version ran to make a store, statement by statement; 0.1.0 made version 2.
RELEASED = Path(__file__).parent / "released"
TINY = dict(otlp.CALL) | {"gen_ai.request.model": "tiny", "gen_ai.response.model": "tiny"}
# The columns that version 2 had as well, of the rows that it wrote.
MODEL = (
    "INSERT INTO pennytrace.models "
    "(provider, host, request_model, response_model, rate_card, tiered, reason, catalog, resolved_at) "
    "VALUES ('openai', '', 'tiny', 'tiny', 'file:*/tiny', 0, '', 'first', now64(3))"
)
PRICES = (
    "INSERT INTO pennytrace.prices (catalog, rate_card, variant, valid_from, valid_to, window_from, above, meter, "
    "unit_price, currency, price_key, source) "
    "SELECT 'first', 'file:*/tiny', '', 0, toDateTime('2105-12-31 23:59:59', 'UTC'), 0, -1, meter, "
    "toDecimal128('0.000001', 18), 'USD', 'input_mtok', 'price file' "
    "FROM (SELECT arrayJoin(['input', 'cache_write', 'output']) AS meter)"
)
CATALOG = (
    "INSERT INTO pennytrace.catalogs (catalog, genai_prices, newest_price, activated_at) "
    "VALUES ('first', 'none', toDateTime('2026-01-01 00:00:00', 'UTC'), now64(3))"
)


def _store_of_version(number: int, folder: Path) -> Store:
    """A store as that version made it, with its price list in force and the model `tiny` resolved."""
    address = parse_address(f"chdb://{folder}")
    client = connect(address)
    for statement in re.split(r";\s*(?:\n|$)", (RELEASED / f"version_{number}.sql").read_text("utf-8")):
        if statement.strip():
            client.command(statement)
    for statement in (PRICES, CATALOG, MODEL):
        client.command(statement)
    for dictionary in ("rate_set_at", "rate_sets", "model_rate_card"):
        client.command(f"SYSTEM RELOAD DICTIONARY pennytrace.{dictionary}")
    return Store(client, address, price_list("first", tiny=1))


def _spans() -> Sequence[Span]:
    cached = TINY | {"gen_ai.usage.cache_write.input_tokens": 5, "pennytrace.tag.step": "3"}
    return [
        otlp.span(cached),
        otlp.span(TINY),
        otlp.span(TINY | {"pennytrace.usage.source": "missing"}),
        otlp.span(TINY | {"gen_ai.response.model": "nobody-knows-me"}),
    ]


@pytest.mark.parametrize("version", [2, 3])
def test_a_released_store_keeps_its_calls_and_what_they_were_charged_at(tmp_path: Path, version: int) -> None:
    old, spans = _store_of_version(version, tmp_path / "store"), _spans()
    load(old, spans)
    before = spend(old)
    old.close()

    new = open_store(f"chdb://{tmp_path / 'store'}")
    try:
        after = spend(new)
        told = [name for name in before[0] if name not in ("reason", "catalog")]
        assert [{name: row[name] for name in told} for row in after] == [
            {name: row[name] for name in told} for row in before
        ]
        charged = sorted(str(row["cost"]) for row in after)
        assert charged == ["0.001500000000000000"] * 2 + ["None"] * 2
        # What they were charged is what they were billed: there was one currency.
        assert [(row["billed_cost"], row["billing_currency"]) for row in after] == [
            (row["cost"], row["currency"]) for row in after
        ]
        assert [sum(row["quantities"]) for row in after if row["cost"]] == [1500, 1500]
        assert {(row["attempts"], row["image_size"], row["gpu_pool"]) for row in after} == {(1, "", "")}

        # A replay under other prices changes nothing that was charged; better evidence does, and new calls work.
        dear = with_prices(new, price_list("dear", tiny=5))
        load_and_settle(dear, spans)
        assert [row["cost"] for row in spend(dear, where="response_model = 'tiny'")] == [
            row["cost"] for row in before if row["response_model"] == "tiny"
        ]
        measured = otlp.span(TINY, trace_id=spans[2].trace_id, span_id=spans[2].span_id)
        load_and_settle(dear, [measured])
        paid = sum(row["cost"] for row in spend(dear, where="response_model = 'tiny'"))
        assert paid == Decimal("0.003") + Decimal("0.0075")
    finally:
        new.close()


@pytest.mark.parametrize("version", [2, 3])
def test_migrating_is_done_once(tmp_path: Path, version: int) -> None:
    old = _store_of_version(version, tmp_path / "store")
    load(old, [otlp.span(TINY)])
    old.close()
    first = open_store(f"chdb://{tmp_path / 'store'}")
    rows = first.client.query("SELECT version, span_id, billed_cost FROM pennytrace.calls FINAL").result_rows
    # As if the power had failed before the migrations were noted down.
    first.client.command(
        f"ALTER TABLE pennytrace.migrations DELETE WHERE number > {version} SETTINGS mutations_sync = 2"
    )
    first.close()

    again = open_store(f"chdb://{tmp_path / 'store'}")

    found = again.client.query("SELECT version, span_id, billed_cost FROM pennytrace.calls FINAL").result_rows
    assert found == rows
    again.close()
