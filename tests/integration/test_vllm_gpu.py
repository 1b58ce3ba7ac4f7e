"""GPU time on a real vLLM: every second of its steps is charged to a request, and none of them twice.

The engine runs on the CPU, which counts as one GPU. What is right comes from outside of what is tested: the client's
usage, the wall clock of the test's own process, and steps that an app watches for itself.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from pennytrace import semconv
from tests.collectors.waiting import eventually
from tests.engines import environment
from tests.engines.beside import install
from tests.instrumentation import sink as sinks
from tests.instrumentation.processes import python, run
from tests.instrumentation.sink import Measured, Recorded, Sink
from tests.integration.engine import make_model, serving, surroundings

pytestmark = pytest.mark.engines

ROUNDED: Final = 1e-4
"""Seconds: each of these requests is charged to the microsecond."""
APPS: Final = Path(__file__).parent / "apps"

Record = Mapping[str, Any]


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {**install(tmp_path_factory.mktemp("beside")), "PENNYTRACE_SPOOL": "off"}


def of_engine(sink: Sink) -> list[Recorded]:
    """The engine's records, in the order in which they were made."""
    return [span for span in sink.spans if span.attributes.get(semconv.GPU_SOURCE) == semconv.FROM_ENGINE]


def seconds(spans: Sequence[Recorded], name: str = semconv.GPU_SECONDS) -> float:
    return float(sum(span.attributes[name] for span in spans))


def told(points: Sequence[Measured], name: str) -> float:
    return sum(point.value for point in points if point.name == name)


# --- the server, and a client that knows nothing of GPUs -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Served:
    """A client has asked a server, which has ended since."""

    calls: Sequence[Record]
    """What the client saw of each."""
    spans: Sequence[Recorded]
    points: Sequence[Measured]
    """Up to a heartbeat after the last of them."""

    def seen(self, feature: str) -> list[Record]:
        return [call for call in self.calls if call["feature"] == feature]

    def records(self, feature: str) -> list[Recorded]:
        return [span for span in self.spans if span.attributes[semconv.FEATURE] == feature]


@pytest.fixture(scope="module")
def served(beside: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("gpu")
    with sinks.running() as sink:
        recording = {"PENNYTRACE_ENDPOINT": sink.url, "PENNYTRACE_SPOOL": str(folder / "spool")}
        ours = {**beside, **recording, "PENNYTRACE_GPU_POOL": "lab", "PENNYTRACE_TEAM": "ops"}
        options = ("--max-num-seqs", "5", "--max-num-batched-tokens", "64", "--max-model-len", "512")
        with serving(folder, variables=ours, options=options) as engine:
            client = {"OPENAI_BASE_URL": engine.url, "OPENAI_API_KEY": "none", "PENNYTRACE_SPOOL": "off"}
            done = run(
                [sys.executable, APPS / "gpu_load.py"],
                environment={**client, "PENNYTRACE_ENDPOINT": sink.url},
                seconds=240,
            )
            assert done.returncode == 0, f"{done.stderr}\n{engine.last_words()}"
            until = time.time_ns()
            eventually(
                lambda: any(point.time_ns > until for point in sink.points), within_s=60, what="a heartbeat"
            )
            points = list(sink.points)
            ask(engine.url)
            time.sleep(1)
        # vLLM kills the engine's process at once. What it has begun to put on the disk any other process delivers.
        assert python("import pennytrace; pennytrace.init(); pennytrace.flush()", **recording).returncode == 0
        log = engine.log.read_text("utf-8")
        assert "pennytrace failed" not in log, log
        assert "pennytrace does not" not in log, log
        spans = {span.span_id: span for span in of_engine(sink)}  # one may be on the disk, and delivered too
        yield Served(list(map(json.loads, done.stdout.splitlines())), list(spans.values()), points)


def ask(url: str) -> None:
    """Ask by hand, with no client that could tell anything."""
    body = {"model": "tiny-llama", "prompt": "one more", "max_tokens": 3, "ignore_eos": True}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer)["usage"]["completion_tokens"] == 3


def test_the_records_are_the_clients_calls_and_agree_with_what_it_saw(served: Served) -> None:
    by_id = defaultdict(list)
    for span in served.spans:
        by_id[span.attributes[semconv.RESPONSE_ID]].append(span.attributes)
    finished = [call for call in served.calls if "output" in call]
    assert len(finished) > 20
    for call in finished:
        records = by_id[call["id"]]
        assert {record[semconv.FEATURE] for record in records} == {call["feature"]}
        used = {
            field: sum(record.get(name, 0) for record in records)
            for field, name in (
                ("input", semconv.INPUT_TOKENS),
                ("cached", semconv.CACHE_READ_INPUT_TOKENS),
                ("output", semconv.OUTPUT_TOKENS),
            )
        }
        assert used == {"cached": 0, **{name: call[name] or 0 for name in used.keys() & call.keys()}}, call


def test_a_record_says_who_where_and_how(served: Served) -> None:
    span = served.records("busy")[0]
    record = span.attributes
    assert (span.kind, span.failed, span.resource[semconv.SERVICE_NAME]) == (1, False, "vllm")
    expected = {
        semconv.OPERATION_NAME: "chat",
        semconv.PROVIDER_NAME: "vllm",
        semconv.REQUEST_MODEL: "tiny-llama",
        semconv.RESPONSE_MODEL: "tiny-llama",
        semconv.USAGE_SOURCE: semconv.MEASURED,
        semconv.GPU_POOL: "lab",
        semconv.GPU_MODEL: "cpu",
        semconv.GPU_COUNT: 1,
        semconv.GPU_METHOD: "steps:roofline",
        semconv.CUSTOMER: "acme",
        semconv.FEATURE_SOURCE: semconv.FROM_TAG,
        semconv.TEAM: "ops",
    }
    assert {name: record[name] for name in expected} == expected
    assert (
        record[semconv.GPU_SECONDS]
        == record[semconv.GPU_PREFILL_SECONDS] + record[semconv.GPU_DECODE_SECONDS]
    )
    assert 0 < record[semconv.GPU_SECONDS] < span.seconds


def test_operations_are_told_apart(served: Served) -> None:
    assert {span.attributes[semconv.OPERATION_NAME] for span in served.records("lines")} == {
        "text_completion"
    }
    assert len(served.records("lines")) == 2
    assert len(served.records("answers")) == 3


def test_a_stream_that_is_left_is_charged_for_what_it_took(served: Served) -> None:
    (span,) = served.records("left")
    assert (span.failed, span.attributes[semconv.ERROR_TYPE]) == (True, "aborted")
    assert 0 < span.attributes[semconv.OUTPUT_TOKENS] < 400
    assert span.attributes[semconv.GPU_DECODE_SECONDS] > 0


def test_requests_and_overhead_are_the_steps_and_with_idle_time_all_time(served: Served) -> None:
    busy, idle = told(served.points, semconv.GPU_BUSY_METRIC), told(served.points, semconv.GPU_IDLE_METRIC)
    charged = seconds([span for span in served.spans if span.attributes[semconv.FEATURE] != "vllm"])
    assert charged == pytest.approx(busy, rel=0.01)
    assert charged <= busy + ROUNDED
    held = [point for point in served.points if point.name == semconv.GPU_PROVISIONED_METRIC]
    loaded = held[0].value  # until then there was a process, and no engine that counts
    assert len(held) > 1
    assert busy + idle == pytest.approx(told(held, semconv.GPU_PROVISIONED_METRIC) - loaded, rel=0.01)


def test_a_request_shortly_before_the_end_is_not_lost_and_stands_for_itself(served: Served) -> None:
    (record,) = (span.attributes for span in served.records("vllm"))
    assert record[semconv.FEATURE_SOURCE] == semconv.FROM_SERVICE
    assert (record[semconv.RESPONSE_MODEL], record[semconv.OUTPUT_TOKENS]) == ("tiny-llama", 3)
    assert (record[semconv.TEAM], record[semconv.GPU_CONFIDENCE]) == ("ops", "high")


# --- steps that an app watches for itself ----------------------------------------------------------------------

MIXED: Final = {
    "max_num_batched_tokens": 64,
    "max_num_seqs": 8,
    "num_gpu_blocks_override": 24,
    "block_size": 32,
    "enable_lora": True,
    "max_lora_rank": 8,
}
GUESSED: Final = {
    "speculative_config": {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 4}
}
EMBEDDED: Final = {"runner": "pooling", "convert": "embed"}


@dataclass(frozen=True, slots=True)
class Watched:
    """What an app saw of the engine that was in its process, and what was recorded."""

    steps: Sequence[Record]
    requests: Sequence[Record]
    """In the order in which they ended."""
    stretch: float
    """Seconds of wall time."""
    since_ns: int
    """After the heartbeat with which that began."""
    spans: Sequence[Recorded]
    points: Sequence[Measured]

    def shares(self) -> dict[str, tuple[float, float]]:
        """What each request took of the steps to read and to write, by the formula in docs."""
        prompts = {request["id"]: request["prompt"] for request in self.requests}
        found: dict[str, list[float]] = {id: [0.0, 0.0] for id in prompts}
        last = 0.0
        for step in self.steps:
            busy, last = step["done"] - max(step["issued"], last), step["done"]
            members = {
                id: weight(tokens, step["before"][id], len(step["tokens"]))
                for id, tokens in step["tokens"].items()
            }
            for id, own in members.items():
                is_new = step["tokens"][id] <= 1 + step["drafts"].get(id, 0)
                place = 1 if step["before"][id] >= prompts[id] and is_new else 0
                found[id][place] += busy * own / sum(members.values())
        return {id: (read, written) for id, (read, written) in found.items()}


def weight(tokens: int, before: int, requests: int) -> float:
    """What the tiny model computes and reads for a request in a step, in FLOPs of a CPU; all of it in FP32."""
    hidden, inner, layers, heads, shared, size, vocabulary = 256, 512, 2, 4, 2, 64, 512
    weights = layers * (
        hidden * size * (heads + shared + shared) + heads * size * hidden + 3 * hidden * inner
    )
    flops = 2.0 * tokens * weights + 2 * hidden * vocabulary
    flops += 4 * layers * heads * size * sum(before + place + 0.5 for place in range(tokens))
    kept = 4 * layers * 2 * shared * size * (before + tokens)
    return flops + 10 * (kept + 4 * (weights + hidden * vocabulary) / requests)


def watched(work: str, options: Mapping[str, Any], beside: Mapping[str, str], folder: Path) -> Watched:
    model = make_model(folder)
    with sinks.running() as sink:
        ours = {**beside, "PENNYTRACE_ENDPOINT": sink.url, "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
        done = run(
            [environment.program("python"), APPS / "gpu_steps.py", model, work, json.dumps(options)],
            environment=surroundings(folder, ours),
            seconds=240,
        )
        assert done.returncode == 0, done.stderr
        assert "pennytrace failed" not in done.stderr, done.stderr
        seen = json.loads(done.stdout.splitlines()[-1])
        return Watched(**seen, spans=of_engine(sink), points=list(sink.points))


@pytest.fixture(scope="module")
def mixed(beside: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Watched:
    return watched("mixed", MIXED, beside, tmp_path_factory.mktemp("mixed"))


@pytest.fixture(scope="module")
def guessed(beside: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Watched:
    return watched("guessed", GUESSED, beside, tmp_path_factory.mktemp("guessed"))


@pytest.fixture(scope="module")
def embedded(beside: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Watched:
    return watched("embedded", EMBEDDED, beside, tmp_path_factory.mktemp("embedded"))


@pytest.fixture(params=["mixed", "guessed", "embedded"])
def any_work(request: pytest.FixtureRequest) -> Watched:
    found: Watched = request.getfixturevalue(request.param)
    return found


def test_each_request_is_charged_what_follows_from_the_steps(any_work: Watched) -> None:
    shares = any_work.shares()
    assert len(any_work.spans) == len(any_work.requests) > 0
    for span, request in zip(any_work.spans, any_work.requests, strict=True):
        read, written = shares[request["id"]]
        # The app reads its clock a moment before and after we do, and some other thread may run in that moment.
        assert span.attributes[semconv.GPU_PREFILL_SECONDS] == pytest.approx(read, rel=0.03, abs=0.015)
        assert span.attributes[semconv.GPU_DECODE_SECONDS] == pytest.approx(written, rel=0.03, abs=0.015)


def test_the_apps_own_clock_agrees(any_work: Watched) -> None:
    """Attributed and idle time, and nothing else, is the time that passed, by a clock of the app's."""
    points = [point for point in any_work.points if point.time_ns > any_work.since_ns]
    busy, idle = (told(points, name) for name in (semconv.GPU_BUSY_METRIC, semconv.GPU_IDLE_METRIC))
    assert busy + idle == pytest.approx(any_work.stretch, rel=0.01, abs=0.02)
    assert seconds(any_work.spans) == pytest.approx(busy, rel=0.02)
    assert seconds(any_work.spans) <= busy + ROUNDED


def test_two_features_split_the_bill_as_their_steps_do(mixed: Watched) -> None:
    shares, features = mixed.shares(), [span.attributes[semconv.FEATURE] for span in mixed.spans]
    derived: dict[str, float] = defaultdict(float)
    for request, feature in zip(mixed.requests, features, strict=True):
        derived[feature] += sum(shares[request["id"]])
    for feature in ("long", "short", "answers", "steady", "adapted"):
        spans = [span for span in mixed.spans if span.attributes[semconv.FEATURE] == feature]
        assert seconds(spans) == pytest.approx(derived[feature], rel=0.01, abs=1e-3)
    assert derived["long"] > 2 * derived["short"]


def test_a_prompt_that_is_in_the_cache_is_read_for_less(mixed: Watched) -> None:
    """The same prompt twice in one batch: the second one waits a step, and finds what the first has read."""
    first, second, third = (
        span.attributes for span in mixed.spans if span.attributes[semconv.FEATURE] == "short"
    )
    cached = [record[semconv.CACHE_READ_INPUT_TOKENS] for record in (first, second, third)]
    assert cached == [0, 96, 96]
    assert second[semconv.GPU_PREFILL_SECONDS] < first[semconv.GPU_PREFILL_SECONDS] / 2


def test_twice_the_output_takes_about_twice_the_decode_time_in_a_steady_batch(mixed: Watched) -> None:
    """In units of the step: a machine with other work may take twice as long for one as for the next."""
    units = {}
    for span, request in zip(mixed.spans, mixed.requests, strict=True):
        if span.attributes[semconv.FEATURE] == "steady":
            steps = [step for step in mixed.steps if request["id"] in step["tokens"]]
            average = sum(step["done"] - step["issued"] for step in steps) / len(steps)
            units[request["output"]] = span.attributes[semconv.GPU_DECODE_SECONDS] / average
    assert units.keys() == {40, 60, 80}
    assert units[80] / units[40] == pytest.approx(2, rel=0.1)


def test_what_is_given_up_pays_for_what_it_took_and_in_the_queue_that_is_nothing(mixed: Watched) -> None:
    spans = {span.attributes.get(semconv.RESPONSE_ID): span for span in mixed.spans}
    running, waiting, other = (spans[f"queue-{n}"] for n in (0, 8, 1))
    errors = [span.attributes.get(semconv.ERROR_TYPE) for span in (running, waiting, other)]
    assert (errors, running.failed) == (["aborted", "aborted", None], True)
    assert 0 < running.attributes[semconv.GPU_SECONDS] < other.attributes[semconv.GPU_SECONDS]
    assert waiting.attributes[semconv.GPU_SECONDS] == 0
    assert semconv.OUTPUT_TOKENS not in waiting.attributes
    waited = [span.attributes[semconv.QUEUE_SECONDS] for span in (waiting, other)]
    assert waited[0] > waited[1]


def test_preemptions_are_counted_and_what_is_computed_again_is_charged_again(mixed: Watched) -> None:
    for span, request in zip(mixed.spans, mixed.requests, strict=True):
        assert span.attributes.get(semconv.PREEMPTIONS, 0) == request["preemptions"]
        assert span.attributes.get(semconv.OUTPUT_TOKENS, 0) == request["output"]
    computed: dict[str, int] = defaultdict(int)
    for step in mixed.steps:
        for id, tokens in step["tokens"].items():
            computed[id] += tokens
    preempted = [request for request in mixed.requests if request["preemptions"]]
    assert preempted
    # Its last token is not computed; what was thrown away is, but for what the prefix cache has kept.
    assert any(computed[one["id"]] > one["prompt"] + one["output"] - 1 for one in preempted)


def test_answers_to_one_prompt_count_its_tokens_once(mixed: Watched) -> None:
    answers = [span.attributes for span in mixed.spans if span.attributes[semconv.FEATURE] == "answers"]
    assert [record.get(semconv.INPUT_TOKENS, 0) for record in answers].count(64) == 1
    assert sum(record.get(semconv.INPUT_TOKENS, 0) for record in answers) == 64
    assert [record[semconv.OUTPUT_TOKENS] for record in answers] == [10, 10, 10]


def test_an_adapter_is_a_model_of_its_own_and_who_is_alone_is_sure(mixed: Watched) -> None:
    (record,) = (span.attributes for span in mixed.spans if span.attributes[semconv.FEATURE] == "adapted")
    assert (record[semconv.RESPONSE_MODEL], record[semconv.GPU_CONFIDENCE]) == ("shop-adapter", "high")
    others = [span.attributes for span in mixed.spans if span.attributes[semconv.FEATURE] == "long"]
    assert {record[semconv.GPU_CONFIDENCE] for record in others} == {"medium"}


def test_guesses_are_paid_for_whether_they_are_right_or_not(guessed: Watched) -> None:
    drafted = sum(sum(step["drafts"].values()) for step in guessed.steps)
    scheduled = sum(sum(step["tokens"].values()) for step in guessed.steps)
    written = sum(request["prompt"] + request["output"] for request in guessed.requests)
    assert drafted > 0
    assert scheduled > written - len(guessed.requests)
    assert all(span.attributes[semconv.GPU_DECODE_SECONDS] > 0 for span in guessed.spans)


def test_embeddings_have_input_only(embedded: Watched) -> None:
    for span, request in zip(embedded.spans, embedded.requests, strict=True):
        record = span.attributes
        assert record[semconv.OPERATION_NAME] == "embeddings"
        assert (record[semconv.INPUT_TOKENS], semconv.OUTPUT_TOKENS in record) == (request["prompt"], False)
        assert record[semconv.GPU_DECODE_SECONDS] == 0
    by_length = {
        length: seconds([span for span in embedded.spans if span.attributes[semconv.INPUT_TOKENS] == length])
        for length in (10, 200)
    }
    assert by_length[200] > 10 * by_length[10]


# --- an app with the engine in a process beside it -------------------------------------------------------------


def test_an_app_tells_its_engine_how_to_record(beside: Mapping[str, str], tmp_path: Path) -> None:
    model = make_model(tmp_path)
    with sinks.running() as sink:
        done = run(
            [environment.program("python"), APPS / "gpu_offline.py", model, sink.url],
            environment=surroundings(tmp_path, beside),
            seconds=240,
        )
        assert done.returncode == 0, done.stderr
        records, points = of_engine(sink), list(sink.points)
    assert {span.resource[semconv.SERVICE_NAME] for span in records} == {"nightly"}
    who = [
        (
            span.attributes[semconv.FEATURE],
            span.attributes.get(semconv.CUSTOMER),
            span.attributes[semconv.TEAM],
            span.attributes[semconv.GPU_POOL],
            span.attributes[semconv.OUTPUT_TOKENS],
        )
        for span in records
    ]
    assert who == [
        ("summaries", "acme", "batch", "lab", 12),
        ("summaries", "acme", "batch", "lab", 12),
        ("gpu_offline.main", None, "batch", "lab", 12),
    ]
    assert all(semconv.RESPONSE_ID not in span.attributes for span in records)
    # Its process is killed soon after the app's end, and its last heartbeat has come by then.
    busy = told(points, semconv.GPU_BUSY_METRIC)
    assert 0.8 * busy < seconds(records) <= busy + ROUNDED  # a step without a request is no request's
