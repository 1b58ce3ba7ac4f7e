"""From apps to the report, each part a process of its own, against a small provider that really streams.

Two apps with one line of pennytrace run at once, two other programs send OpenTelemetry spans over gRPC; then the
collector stops, and comes back to the store that it has left.
"""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from genai_prices import Usage, calc_price
from genai_prices.types import ModelPrice
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from pennytrace_collectors.running import RunningCollector
from tests.collectors.service.process import REAL, collector, fail_to_start
from tests.instrumentation import provider as providers
from tests.instrumentation.processes import clean_environment
from tests.instrumentation.provider import Answer, Provider

from .reading import Record, exact, pennytrace, report, report_json, sql, wait_until_priced

WEB_SHOP: Final = Path(__file__).parent / "apps" / "web_shop.py"
ROUNDS: Final = {"web": 2, "worker": 3}
CHATS, STREAMS, EMBEDDINGS = 8, 4, 1
"""That an app makes in a round; the streams are chats too."""
CHUNKS: Final = 4
"""That a stream shows to an app that did not ask for usage."""
USAGE: Final = {
    "prompt_tokens": 1200,
    "completion_tokens": 300,
    "prompt_tokens_details": {"cached_tokens": 800},
    "completion_tokens_details": {"reasoning_tokens": 100},
}
CHAT_PRICE: Final = {"input_mtok": "0.15", "cache_read_mtok": "0.075", "output_mtok": "0.6"}
EMBEDDING_PRICE: Final = {"input_mtok": "0.02"}
CHAT, EMBEDDING = providers.SERVED_MODEL, "text-embedding-3-small"
NEW_NAMES: Final[Mapping[str, str | int]] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.usage.input_tokens": 1234,
    "gen_ai.usage.cache_read.input_tokens": 1024,
    "gen_ai.usage.output_tokens": 321,
}
OLD_NAMES: Final[Mapping[str, str | int]] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.system": "anthropic",
    "gen_ai.request.model": "claude-sonnet-4-5",
    "gen_ai.usage.prompt_tokens": 777,
    "gen_ai.usage.completion_tokens": 88,
}


@dataclass(frozen=True, slots=True)
class Reports:
    """What `pennytrace report` has said at one moment."""

    by_service: Record
    by_feature: Record


@dataclass(frozen=True, slots=True)
class Scene:
    """What was seen while it all ran, and after."""

    apps: Mapping[str, Record]
    running: Reports
    table: str
    csv: str
    stopped: Reports
    """Read from the folder."""
    back: Reports
    """Through the collector that came back, with a price for what had none and with one more call."""


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providers.running() as running:
        running.answer = Answer(usage=dict(USAGE))
        yield running


@pytest.fixture(scope="module")
def scene(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("scene")
    state = folder / "state"
    at_first = price_file(folder / "first.toml", {CHAT: CHAT_PRICE})
    later = price_file(folder / "later.toml", {CHAT: CHAT_PRICE, EMBEDDING: EMBEDDING_PRICE})
    options = ("--sql", "127.0.0.1:0", "--prices")
    calls = sum(ROUNDS.values()) * (CHATS + EMBEDDINGS) + 2
    with collector(REAL, state, *options, str(at_first)) as first, sql(first.found) as client:
        apps = run_apps(provider, first.found)
        export_over_grpc(first.found, {"new names": NEW_NAMES, "old names": OLD_NAMES})
        wait_until_priced(first, client, calls=calls)
        running = reports(state)
        table, sheet = report(state), report(state, "--csv")
        assert first.stop() == 0
    stopped = reports(state)
    with collector(REAL, state, *options, str(later)) as second, sql(second.found) as client:
        export_over_grpc(second.found, {"new names": NEW_NAMES})
        wait_until_priced(second, client, calls=calls + 1)
        back = reports(state)
        assert second.stop() == 0
    return Scene(apps, running, table, sheet, stopped, back)


def price_file(path: Path, models: Mapping[str, Mapping[str, str]]) -> Path:
    """Write a price file."""
    lines: list[str] = []
    for model, prices in models.items():
        lines += ["[[price]]", f'model = "{model}"', *(f"{name} = {value}" for name, value in prices.items())]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def run_apps(provider: Provider, found: RunningCollector) -> dict[str, Record]:
    """Run two apps at once, and return what they say, by service."""
    settings = {
        "OPENAI_BASE_URL": provider.url,
        "OPENAI_API_KEY": "none",
        "OTEL_EXPORTER_OTLP_ENDPOINT": found.http or "",
    }
    processes = {
        service: subprocess.Popen(
            [sys.executable, str(WEB_SHOP), str(rounds)],
            env=clean_environment({**settings, "OTEL_SERVICE_NAME": service}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for service, rounds in ROUNDS.items()
    }
    said = {}
    for service, process in processes.items():
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        said[service] = json.loads(output)
    return said


def export_over_grpc(found: RunningCollector, spans: Mapping[str, Mapping[str, str | int]]) -> None:
    """Send spans as programs do that know nothing of pennytrace, each a service of its own."""
    for service, attributes in spans.items():
        tracing = TracerProvider(resource=Resource.create({"service.name": service}))
        exporter = OTLPSpanExporter(endpoint=found.grpc or "", insecure=True)
        tracing.add_span_processor(BatchSpanProcessor(exporter))
        with tracing.get_tracer("framework").start_as_current_span("chat", attributes=dict(attributes)):
            pass
        tracing.shutdown()


def reports(state: Path) -> Reports:
    """What the report says now, by service and by feature, without its period: that ends now."""

    def without_period(by: str) -> Record:
        document = report_json(state, by)
        return {name: value for name, value in document.items() if name not in ("since", "until")}

    return Reports(without_period("service,provider,model"), without_period("feature,model"))


def chat_cost(calls: int) -> Decimal:
    """What genai-prices makes of the apps' chats."""
    price = ModelPrice(**{name: Decimal(amount) for name, amount in CHAT_PRICE.items()})
    usage = Usage(input_tokens=1200, cache_read_tokens=800, output_tokens=300)
    return calls * price.calc_price(usage)["total_price"]


def rows(document: Record, *names: str) -> dict[Any, Record]:
    """The rows of a report by some of their dimensions."""
    return {tuple(row[name] for name in names): row for row in document["rows"]}


def test_each_app_gets_its_streams_without_the_usage_that_we_asked_for(scene: Scene) -> None:
    assert scene.apps == {
        service: {"chunks": rounds * STREAMS * CHUNKS} for service, rounds in ROUNDS.items()
    }


def test_two_apps_at_once_are_each_counted_and_priced_exactly(scene: Scene) -> None:
    found = rows(scene.running.by_service, "service", "model")
    for service, rounds in ROUNDS.items():
        row = found[service, CHAT]
        chats = rounds * CHATS
        assert (row["calls"], row["input_tokens"], row["output_tokens"]) == (chats, chats * 1200, chats * 300)
        assert (exact(row["cost"]), row["currency"]) == (chat_cost(chats), "USD")
        assert row["coverage"] == {
            "calls": "1",
            "tokens": "1",
            "partly_priced_calls": 0,
            "unpriced_calls": 0,
            "estimated_calls": 0,
        }


def test_features_are_those_of_tags_and_functions(scene: Scene) -> None:
    found = rows(scene.running.by_feature, "feature", "model")
    rounds = sum(ROUNDS.values())
    assert {key: row["calls"] for key, row in found.items() if key[0]} == {
        ("web_shop.checkout", CHAT): rounds,
        ("search", CHAT): rounds,
        ("search", EMBEDDING): rounds,
        ("support", CHAT): rounds * 6,
    }


@pytest.mark.parametrize(
    ("service", "billed_by", "model", "usage"),
    [
        (
            "new names",
            "openai",
            "gpt-4o-2024-08-06",
            Usage(input_tokens=1234, cache_read_tokens=1024, output_tokens=321),
        ),
        ("old names", "anthropic", "claude-sonnet-4-5", Usage(input_tokens=777, output_tokens=88)),
    ],
)
def test_spans_of_other_programs_are_priced_by_the_price_list(
    scene: Scene, service: str, billed_by: str, model: str, usage: Usage
) -> None:
    row = rows(scene.running.by_service, "service", "provider", "model")[service, billed_by, model]
    right = calc_price(
        usage, model_ref=model, provider_id=billed_by, genai_request_timestamp=datetime.now(UTC)
    ).total_price
    assert (row["calls"], exact(row["cost"]), row["currency"]) == (1, right, "USD")
    assert (row["input_tokens"], row["output_tokens"]) == (usage.input_tokens, usage.output_tokens)


def test_a_model_without_a_price_is_not_free_but_unpriced_with_its_reason(scene: Scene) -> None:
    rounds = sum(ROUNDS.values())
    row = rows(scene.running.by_feature, "feature", "model")["search", EMBEDDING]
    assert (row["calls"], row["cost"], row["coverage"]["unpriced_calls"]) == (rounds, None, rounds)
    (unpriced,) = scene.running.by_feature["unpriced"]
    assert (unpriced["model"], unpriced["calls"]) == (EMBEDDING, rounds)
    assert unpriced["reason"]
    assert unpriced["reason"] in scene.table


def test_table_and_csv_say_what_the_json_says(scene: Scene) -> None:
    document = scene.running.by_feature
    sheet = list(csv.DictReader(io.StringIO(scene.csv)))
    columns = ("feature", "model", "calls", "input_tokens", "output_tokens", "cost", "currency")
    assert [[row[name] for name in columns] for row in sheet] == [
        ["" if row[name] is None else str(row[name]) for name in columns] for row in document["rows"]
    ]
    (total,) = document["totals"]
    (shown,) = [line.split() for line in scene.table.splitlines() if line.strip().startswith("total")]
    assert shown[1:4] == [f"{total[name]:,}" for name in ("calls", "input_tokens", "output_tokens")]
    assert Decimal(shown[4]) == exact(total["cost"]).quantize(Decimal(shown[4]))
    assert "cost, USD" in scene.table
    assert "Coverage: " in scene.table


def test_the_rows_add_up_to_the_total_whatever_they_are_by(scene: Scene) -> None:
    for document in (scene.running.by_service, scene.running.by_feature):
        (total,) = document["totals"]
        for name in ("calls", "input_tokens", "output_tokens"):
            assert sum(row[name] for row in document["rows"]) == total[name]
        assert sum(exact(row["cost"]) for row in document["rows"] if row["cost"]) == exact(total["cost"])


def test_the_folder_says_the_same_once_the_collector_has_stopped(scene: Scene) -> None:
    assert scene.stopped == scene.running


def test_a_collector_that_comes_back_keeps_the_calls_and_gives_a_price_to_those_without(scene: Scene) -> None:
    before = rows(scene.stopped.by_service, "service", "model")
    after = rows(scene.back.by_service, "service", "model")
    assert before.keys() == after.keys()
    changed = {key for key in after if after[key] != before[key]}
    more = ("new names", "gpt-4o-2024-08-06")
    assert changed == {(service, EMBEDDING) for service in ROUNDS} | {more}
    assert after[more]["calls"] == 2
    assert exact(after[more]["cost"]) == 2 * exact(before[more]["cost"])
    for service, rounds in ROUNDS.items():
        row = after[service, EMBEDDING]
        assert exact(row["cost"]) == rounds * 1200 * Decimal(EMBEDDING_PRICE["input_mtok"]) / 1_000_000
        assert row["coverage"]["unpriced_calls"] == 0
    assert scene.back.by_service["unpriced"] == []


@dataclass(frozen=True, slots=True)
class Refusal:
    """A command that must not work, and words that it must say."""

    arguments: tuple[str, ...]
    status: int
    words: tuple[str, ...]


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(("report", "--jsno"), 2, ("unrecognized arguments: --jsno",)),
        Refusal(("report", "--json", "--csv"), 2, ("not allowed with",)),
        Refusal(("report", "--since", "yesterday"), 1, ("--since", "'yesterday'", "7d")),
        Refusal(("report", "--store", "mysql://spend"), 1, ("mysql://spend", "chdb:///")),
        Refusal(("report", "--by", "feature"), 1, ("no store", "pennytrace collect", "--state")),
        Refusal(("collect", "--http", "everywhere"), 1, ("--http", "HOST:PORT")),
        Refusal(("spend",), 2, ("spend", "report")),
    ],
    ids=lambda refusal: " ".join(refusal.arguments),
)
def test_a_command_that_cannot_work_says_why_and_what_would(tmp_path: Path, refusal: Refusal) -> None:
    done = pennytrace(*refusal.arguments, environment={"PENNYTRACE_STATE": str(tmp_path / "nothing")})
    assert done.returncode == refusal.status
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for word in refusal.words:
        assert word in done.stderr


def test_what_a_running_collector_refuses_is_told_without_the_password(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with collector(REAL, state, "--sql", "127.0.0.1:0") as running:
        store = (running.found.sql or "").replace("://", "://default:Wr0ng-S3cret@")
        refused = pennytrace("report", "--store", f"{store}/pennytrace")
        unknown = pennytrace("report", "--state", state, "--by", "colour")
        assert running.stop() == 0
    assert (refused.returncode, unknown.returncode) == (1, 1)
    assert "Authentication failed" in refused.stderr
    assert "Wr0ng-S3cret" not in refused.stderr
    assert "--by takes some of feature, model," in unknown.stderr
    assert "'colour'" in unknown.stderr
    assert "Traceback" not in refused.stderr + unknown.stderr


def test_a_collector_does_not_start_on_a_wrong_price_file_or_a_store_of_the_future(tmp_path: Path) -> None:
    state = tmp_path / "state"
    wrong = price_file(tmp_path / "wrong.toml", {"gpt-4o": {"input_mtok": '"much"'}})
    errors = fail_to_start(REAL, state, "--prices", str(wrong))
    assert f"{wrong}:3: [[price]] input_mtok" in errors
    in_the_store(
        state,
        "CREATE DATABASE pennytrace",
        "CREATE TABLE pennytrace.migrations (number UInt32, name String, applied_at DateTime64(3, 'UTC') "
        "DEFAULT now64(3)) ENGINE = MergeTree ORDER BY number",
        "INSERT INTO pennytrace.migrations (number, name) VALUES (9999, 'of the future')",
    )
    errors = fail_to_start(REAL, state)
    assert "has migration 9999" in errors
    assert "upgrade pennytrace" in errors
    assert "Traceback" not in errors


def in_the_store(state: Path, *statements: str) -> None:
    """Run statements in the embedded store, in a process of its own, as a collector of another version would."""
    code = (
        "import sys\n"
        "from pennytrace_collectors.store import connect, parse_address\n"
        "client = connect(parse_address(sys.argv[1]))\n"
        "for statement in sys.argv[2:]: client.command(statement)\n"
        "client.close()\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, f"chdb://{state / 'store'}", *statements], check=True, timeout=60
    )
