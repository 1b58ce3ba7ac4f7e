"""A store of an earlier version becomes one of this version, in place and with all that is in it."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

from pennytrace_collectors.store import Store, connect, open_store, parse_address
from tests.collectors import otlp
from tests.collectors.calls import load, load_and_settle, spend
from tests.collectors.store.pricelists import price_list, with_prices

# What version 0.1.0 ran to make a store, statement by statement.
VERSION_2 = Path(__file__).parent / "released" / "version_2.sql"
TINY = dict(otlp.CALL) | {"gen_ai.request.model": "tiny", "gen_ai.response.model": "tiny"}


def _store_of_version_2(folder: Path) -> Store:
    address = parse_address(f"chdb://{folder}")
    client = connect(address)
    for statement in re.split(r";\s*(?:\n|$)", VERSION_2.read_text("utf-8")):
        if statement.strip():
            client.command(statement)
    return with_prices(Store(client, address, price_list("of 2")), price_list("first", tiny=1))


def test_a_store_of_version_2_keeps_its_calls_and_what_they_were_charged_at(tmp_path: Path) -> None:
    old = _store_of_version_2(tmp_path / "store")
    cached = otlp.span(TINY | {"gen_ai.usage.cache_write.input_tokens": 5, "pennytrace.tag.step": "3"})
    spans = [cached, otlp.span(TINY), otlp.span(TINY | {"pennytrace.usage.source": "missing"})]
    # As version 0.1.0 settled: an insert of one row a model, and the calls fed back once more.
    load(old, spans)
    old.client.command(
        "INSERT INTO pennytrace.models VALUES ('openai', '', 'tiny', 'tiny', 'file:*/tiny', 0, '', 'first', now64(3))"
    )
    old.client.command("SYSTEM RELOAD DICTIONARY pennytrace.model_rate_card")
    load(old, spans)
    before = spend(old)
    old.close()

    new = open_store(f"chdb://{tmp_path / 'store'}")
    try:
        after = spend(new)
        assert [{name: row[name] for name in before[0]} for row in after] == before
        assert sorted(str(row["cost"]) for row in after) == ["0.001500000000000000"] * 2 + ["None"]
        assert {row["attempts"] for row in after} == {1}

        # A replay under other prices changes nothing that was charged; better evidence does, and new calls work.
        dear = with_prices(new, price_list("dear", tiny=5))
        load_and_settle(dear, spans)
        assert [row["cost"] for row in spend(dear)] == [row["cost"] for row in before]
        measured = otlp.span(TINY, trace_id=spans[2].trace_id, span_id=spans[2].span_id)
        load_and_settle(dear, [measured])
        assert sum(row["cost"] for row in spend(dear)) == Decimal("0.003") + Decimal("0.0075")
    finally:
        new.close()


def test_migrating_is_done_once(tmp_path: Path) -> None:
    old = _store_of_version_2(tmp_path / "store")
    load(old, [otlp.span(TINY)])
    old.close()
    first = open_store(f"chdb://{tmp_path / 'store'}")
    rows = first.client.query("SELECT version, span_id FROM pennytrace.calls FINAL").result_rows
    # As if the power had failed before the migration was noted down.
    first.client.command(
        "ALTER TABLE pennytrace.migrations DELETE WHERE number = 3 SETTINGS mutations_sync = 2"
    )
    first.close()

    again = open_store(f"chdb://{tmp_path / 'store'}")

    assert again.client.query("SELECT version, span_id FROM pennytrace.calls FINAL").result_rows == rows
    again.close()
