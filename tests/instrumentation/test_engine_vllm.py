"""What is read of vLLM's engine core, on classes with vLLM's names: what no CPU does, and what goes wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

import pytest

from pennytrace import semconv
from pennytrace.engines.vllm import known_as, operation
from tests.instrumentation import sink as sinks
from tests.instrumentation.processes import ROOT, run
from tests.instrumentation.sink import Measured, Recorded, Sink

ROUNDED = 5e-6
"""Seconds: what is said is said to the microsecond, of the few requests here."""

_BEFORE = """
import time
from tests.instrumentation.engine_stub import *
from importlib.metadata import entry_points
(plugin,) = entry_points(group="vllm.general_plugins", name="pennytrace")
plugin.load()()
plugin.load()()  # vLLM may
"""


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a process with an engine in it."""

    spans: list[Recorded]
    points: list[Measured]
    said: str

    def of(self, id: str) -> dict[str, Any]:
        (found,) = (span.attributes for span in self.spans if span.attributes.get(semconv.RESPONSE_ID) == id)
        return found

    @property
    def charged(self) -> float:
        return float(sum(span.attributes[semconv.GPU_SECONDS] for span in self.spans))

    @property
    def busy(self) -> float:
        return sum(point.value for point in self.points if point.name == semconv.GPU_BUSY_METRIC)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with sinks.running() as running:
        yield running


def engine(sink: Sink, code: str, **variables: str) -> Told:
    """Run code with an engine in it to the end of its process."""
    environment = {
        "PENNYTRACE_ENDPOINT": sink.url,
        "PENNYTRACE_SPOOL": "off",
        "PYTHONPATH": str(ROOT),
        **variables,
    }
    done: subprocess.CompletedProcess[str] = run(
        [sys.executable, "-c", _BEFORE + code], environment=environment
    )
    assert done.returncode == 0, done.stderr
    return Told(list(sink.spans), list(sink.points), done.stdout + done.stderr)


def test_the_plugin_is_an_entry_point_of_vllm() -> None:
    assert [found.value for found in entry_points(group="vllm.general_plugins", name="pennytrace")] == [
        "pennytrace._setup.plugin:register"
    ]


@pytest.mark.parametrize(
    ("request_id", "known", "answer"),
    [
        ("chatcmpl-9f86d081884c7d65-1a2b3c4d", "chatcmpl-9f86d081884c7d65", 0),
        ("2_chatcmpl-9f86d081884c7d65-1a2b3c4d", "chatcmpl-9f86d081884c7d65", 2),
        (
            "chatcmpl-9f86d081884c7d659a2feaa0c55ad015_1-1a2b3c4d",
            "chatcmpl-9f86d081884c7d659a2feaa0c55ad015",
            0,
        ),
        ("chatcmpl-order_7-1a2b3c4d", "chatcmpl-order_7", 0),
        ("chatcmpl-order-1a2b3c4d-1a2b3c4d", "chatcmpl-order-1a2b3c4d", 0),
        ("cmpl-9f86d081884c7d65-0-1a2b3c4d", "cmpl-9f86d081884c7d65", 0),
        ("1_cmpl-order-66-12-1a2b3c4d", "cmpl-order-66", 1),
        ("resp_9f86d081884c7d65_0-1a2b3c4d", "resp_9f86d081884c7d65", 0),
        ("embd-9f86d081884c7d65-3-1a2b3c4d", "embd-9f86d081884c7d65", 0),
        ("embd-9f86d081884c7d65-prompt-0-chunk-2-1a2b3c4d", "embd-9f86d081884c7d65", 0),
        ("score-9f86d081884c7d65-1-1a2b3c4d", "score-9f86d081884c7d65", 0),
        ("classify-9f86d081884c7d65-0-1a2b3c4d", "classify-9f86d081884c7d65", 0),
        (f"chatcmpl-order-{'ab' * 16}-beam-3-1a2b3c4d", "chatcmpl-order", 0),
        ("17-1a2b3c4d", "17", 0),
        ("chatcmpl-9f86d081884c7d65", "chatcmpl-9f86d081884c7d65", 0),
    ],
)
def test_a_request_is_known_by_the_id_that_its_client_saw(request_id: str, known: str, answer: int) -> None:
    assert known_as(request_id) == (known, answer)


def test_what_a_request_is_follows_from_its_id_or_its_task() -> None:
    found = [
        operation("chatcmpl-1", None),
        operation("cmpl-1", None),
        operation("17", None),
        operation("resp_1", None),
        operation("embd-1", "embed"),
        operation("17", "embed"),
        operation("17", "classify"),
        operation("score-1", "classify"),
        operation("17", "of_tomorrow"),
    ]
    assert found == [
        "chat",
        "text_completion",
        "text_completion",
        "chat",
        "embeddings",
        "embeddings",
        "classification",
        "rerank",
        "embeddings",
    ]


def test_steps_that_overlap_are_charged_once_and_an_abort_pays_for_what_it_is_in(sink: Sink) -> None:
    """Asynchronous scheduling: the next step is issued before the last one is done; one request is aborted between."""
    told = engine(
        sink,
        """
core = EngineCore(Config(gpus=4))
core.add(Request("chatcmpl-a-00000000"), Request("chatcmpl-b-00000000", num_output_tokens=3))
began = time.perf_counter()
first = core.issue({"chatcmpl-a-00000000": 10, "chatcmpl-b-00000000": 10})
second = core.issue({}, {"chatcmpl-a-00000000": (1, 10), "chatcmpl-b-00000000": (1, 10)})
time.sleep(0.05)
core.done(first)
core.end("chatcmpl-a-00000000", status="FINISHED_ABORTED")
third = core.issue({}, {"chatcmpl-b-00000000": (1, 11)})
time.sleep(0.05)
core.done(second)
core.done(third)
core.end("chatcmpl-b-00000000", status="FINISHED_LENGTH_CAPPED")
print(4 * (time.perf_counter() - began))
""",
    )
    aborted, whole = told.of("chatcmpl-a"), told.of("chatcmpl-b")
    assert aborted[semconv.ERROR_TYPE] == "aborted"
    assert semconv.ERROR_TYPE not in whole
    assert whole[semconv.GPU_COUNT] == 4
    assert aborted[semconv.GPU_DECODE_SECONDS] > 0
    assert (whole[semconv.INPUT_TOKENS], whole[semconv.OUTPUT_TOKENS]) == (10, 3)
    assert told.charged == pytest.approx(told.busy, abs=ROUNDED)
    assert 4 * 0.1 < told.charged < float(told.said)


def test_engines_in_one_process_are_not_mixed(sink: Sink) -> None:
    told = engine(
        sink,
        """
cores = [EngineCore(Config("one")), EngineCore(Config("two"))]
outputs = []
for core in cores:
    core.add(Request("cmpl-x-0-00000000", num_prompt_tokens=len(outputs) + 1))
    outputs.append(core.issue({"cmpl-x-0-00000000": 1}))
for core, output in zip(cores, outputs):
    time.sleep(0.01)
    core.done(output)
    core.end("cmpl-x-0-00000000")
""",
    )
    found = {span.attributes[semconv.RESPONSE_MODEL]: span.attributes for span in told.spans}
    assert {name: record[semconv.INPUT_TOKENS] for name, record in found.items()} == {"one": 1, "two": 1}
    assert {record[semconv.GPU_CONFIDENCE] for record in found.values()} == {"high"}
    assert told.charged == pytest.approx(told.busy, abs=ROUNDED)


def test_who_spends_and_the_trace_come_with_the_request_else_from_the_engines_own_settings(
    sink: Sink,
) -> None:
    told = engine(
        sink,
        """
core = EngineCore(Config())
headers = {
    "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "other=1,pennytrace=feature:search;customer:acme",
}
core.add(Request("chatcmpl-a-00000000", trace_headers=headers), Request("chatcmpl-b-00000000"))
core.add(Request("chatcmpl-c-00000000", trace_headers={"traceparent": "00-" + 32 * "0" + "-b7ad6b7169203331-01"}))
for id in list(core.scheduler.requests):
    core.done(core.issue({id: 10}))
    core.end(id)
""",
        PENNYTRACE_TEAM="ops",
        PENNYTRACE_SERVICE="house-model",
        PENNYTRACE_GPU_POOL="lab",
    )
    by_id = {span.attributes[semconv.RESPONSE_ID]: span for span in told.spans}
    asked, unasked, wrong = (by_id[f"chatcmpl-{name}"] for name in "abc")
    assert asked.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert asked.parent_id.hex() == "b7ad6b7169203331"
    assert (unasked.parent_id, wrong.parent_id) == (b"", b"")
    who = (semconv.FEATURE, semconv.FEATURE_SOURCE, semconv.TEAM, semconv.CUSTOMER, semconv.GPU_POOL)
    assert [asked.attributes.get(name) for name in who] == ["search", "baggage", "ops", "acme", "lab"]
    assert [unasked.attributes.get(name) for name in who] == ["house-model", "service", "ops", None, "lab"]


def test_a_text_that_stops_a_request_is_no_error(sink: Sink) -> None:
    """The front end finds it, and has the engine core abort the request."""
    told = engine(
        sink,
        """
core = EngineCore(Config())
core.add(Request("chatcmpl-a-00000000", sampling_params=SimpleNamespace(stop=["END"])))
core.done(core.issue({"chatcmpl-a-00000000": 10}))
core.end("chatcmpl-a-00000000", status="FINISHED_ABORTED")
core.add(Request("chatcmpl-b-00000000"))
core.end("chatcmpl-b-00000000", status="FINISHED_ERROR")
""",
    )
    assert semconv.ERROR_TYPE not in told.of("chatcmpl-a")
    assert told.of("chatcmpl-b")[semconv.ERROR_TYPE] == "error"
    assert told.of("chatcmpl-b")[semconv.GPU_SECONDS] == 0


def test_an_image_weighs_by_its_tokens(sink: Sink) -> None:
    told = engine(
        sink,
        """
core = EngineCore(Config())
core.add(Request("chatcmpl-a-00000000"), Request("chatcmpl-b-00000000", embeds=500))
images = {"chatcmpl-b-00000000": [0, 1]}
output = core.issue({"chatcmpl-a-00000000": 10, "chatcmpl-b-00000000": 10}, scheduled_encoder_inputs=images)
time.sleep(0.01)
core.done(output)
core.end("chatcmpl-a-00000000", "chatcmpl-b-00000000")
""",
    )
    text, image = (told.of(f"chatcmpl-{name}")[semconv.GPU_SECONDS] for name in "ab")
    assert image > 10 * text


def test_a_model_of_unknown_size_is_shared_by_tokens_and_says_so(sink: Sink) -> None:
    told = engine(
        sink,
        """
core = EngineCore(Config(model={}))
core.add(Request("chatcmpl-a-00000000"), Request("chatcmpl-b-00000000"))
core.done(core.issue({"chatcmpl-a-00000000": 10, "chatcmpl-b-00000000": 10}))
core.end("chatcmpl-a-00000000", "chatcmpl-b-00000000")
""",
    )
    for name in "ab":
        record = told.of(f"chatcmpl-{name}")
        assert (record[semconv.GPU_METHOD], record[semconv.GPU_CONFIDENCE]) == ("steps:tokens", "low")
    assert told.charged == pytest.approx(told.busy, abs=ROUNDED)


def test_ranks_of_data_parallelism_are_devices_of_their_own(sink: Sink) -> None:
    told = engine(sink, "cores = [EngineCore(Config(gpus=2, rank=rank)) for rank in range(2)]")
    held = {
        point.attributes[semconv.HW_ID]: point.attributes[semconv.HW_MODEL]
        for point in told.points
        if point.name == semconv.GPU_PROVISIONED_METRIC
    }
    assert sorted(id.partition("/")[2] for id in held) == ["", "1", "2", "3"]
    assert set(held.values()) == {"cpu"}


def test_without_the_drivers_library_vllm_says_which_gpus_it_has(sink: Sink) -> None:
    told = engine(
        sink,
        """
core = EngineCore(Config(gpus=2, rank=1, device="cuda"))
core.add(Request("chatcmpl-a-00000000"))
core.done(core.issue({"chatcmpl-a-00000000": 10}))
core.end("chatcmpl-a-00000000")
""",
        CUDA_VISIBLE_DEVICES="",  # whatever this machine has
    )
    held = {
        (point.attributes[semconv.HW_ID], point.attributes[semconv.HW_MODEL])
        for point in told.points
        if point.name == semconv.GPU_PROVISIONED_METRIC
    }
    assert held == {("GPU-2", "NVIDIA Made-up"), ("GPU-3", "NVIDIA Made-up")}
    assert told.of("chatcmpl-a")[semconv.GPU_MODEL] == "NVIDIA Made-up"


@pytest.mark.parametrize(
    "spoil",
    [
        "del output.scheduled_cached_reqs",
        "output.num_scheduled_tokens = {}",
        "core.scheduler.requests.clear()",
        "del core.scheduler.requests['chatcmpl-a-00000000'].num_prompt_tokens",
    ],
)
def test_a_vllm_with_another_inside_serves_on_unmeasured_and_one_warning_says_so(
    sink: Sink, spoil: str
) -> None:
    told = engine(
        sink,
        f"""
core = EngineCore(Config())
core.add(SimpleNamespace(request_id="chatcmpl-a-00000000", num_prompt_tokens=10, arrival_time=0.0))
def spoil(output):
    {spoil}
    core.scheduler.spoil = lambda output: None
core.scheduler.spoil = spoil
for _ in range(3):
    output = core.issue({{"chatcmpl-a-00000000": 10}})
    assert output is core.scheduler.next
    assert core.scheduler.update_from_output(output, None) == {{}}
""",
    )
    assert told.spans == []
    assert told.said.count("its GPU time is not measured") == 1


def test_a_switch_in_the_environment_leaves_vllm_as_it_is(sink: Sink) -> None:
    told = engine(
        sink,
        """
assert not hasattr(Scheduler.schedule, "__wrapped__")
core = EngineCore(Config())
core.add(Request("chatcmpl-a-00000000"))
core.done(core.issue({"chatcmpl-a-00000000": 10}))
core.end("chatcmpl-a-00000000")
""",
        PENNYTRACE_DISABLED="true",
    )
    assert (told.spans, told.points) == ([], [])


def test_an_app_that_records_hands_its_settings_to_the_engine_and_not_to_its_workers(sink: Sink) -> None:
    told = engine(
        sink,
        """
import pickle, pennytrace
pennytrace.init(service="app", team="shop", gpu_pool="lab")
config = EngineArgs().create_engine_config()
config = pickle.loads(pickle.dumps(config))
pennytrace.shutdown()  # as in the process of the engine core, which does not record by itself
handed = set(vars(config)) - set(vars(Config()))
core = EngineCore(config)
assert handed and not set(vars(config)) & handed
core.add(Request("chatcmpl-a-00000000"))
core.done(core.issue({"chatcmpl-a-00000000": 10}))
core.end("chatcmpl-a-00000000")
core.shutdown()
""",
    )
    (span,) = told.spans
    assert span.resource[semconv.SERVICE_NAME] == "app"
    assert (span.attributes[semconv.TEAM], span.attributes[semconv.GPU_POOL]) == ("shop", "lab")


def test_an_app_that_stops_recording_stops_its_engines_records_too(sink: Sink) -> None:
    told = engine(
        sink,
        """
import pennytrace
pennytrace.init(service="app")
core = EngineCore(EngineArgs().create_engine_config())
for name in "abc":
    id = f"chatcmpl-{name}-00000000"
    core.add(Request(id))
    core.done(core.issue({id: 10}))
    core.end(id)
    pennytrace.shutdown() if name == "a" else pennytrace.init(service="app")
""",
    )
    assert [span.attributes[semconv.RESPONSE_ID] for span in told.spans] == ["chatcmpl-a", "chatcmpl-c"]
    assert told.busy >= told.charged - ROUNDED
