"""Real models of transformers on the CPU: every token is counted, and every second charged once.

What is right for each call is counted by the app itself, in plain Python, from what the library returned to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from pennytrace import semconv
from tests.engines import beside, environment
from tests.instrumentation import sink as sinks
from tests.instrumentation.processes import run
from tests.instrumentation.sink import Measured, Recorded

from .engine import make_model, surroundings

pytestmark = pytest.mark.engines

APP: Final = Path(__file__).parent / "apps" / "transformers_calls.py"
BROKEN: Final = APP.with_name("transformers_broken.py")
WAYS: Final = (
    "plain",
    "positional",
    "padded",
    "beams",
    "sampled",
    "embedded",
    "assisted",
    "looked_up",
    "own_loop",
    "stopped",
    "encoder_decoder",
    "streamed",
    "refused",
    "text_pipeline",
    "chat_pipeline",
    "embeddings_pipeline",
    "class_pipeline",
    "failing_pipeline",
    "batched",
    "siblings",
    "paged",
    "at_once",
)
SHARED: Final = "shared_manager"
OPERATIONS: Final = {
    "chat_pipeline": "chat",
    "embeddings_pipeline": "embeddings",
    "class_pipeline": "classification",
    "failing_pipeline": "embeddings",
}
IN_STEPS: Final = {"batched", "siblings", "paged"}
SLACK: Final = 1e-6  # seconds; sums of floats
BETWEEN_MARKS: Final = (
    2e-3  # seconds; what a busy machine may do between a call's own clock and the device's mark
)


@dataclass(frozen=True, slots=True)
class Scene:
    """The app has run with pennytrace and without."""

    told: Mapping[str, Mapping[str, Any]]
    without: Mapping[str, Mapping[str, Any]]
    spans: list[Recorded]
    points: list[Measured]

    def of(self, feature: str) -> list[Recorded]:
        """The calls of a feature."""
        return [span for span in self.spans if span.attributes[semconv.FEATURE] == feature]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("transformers")
    beside_them = beside.install(folder)
    model = make_model(folder)
    with sinks.running() as sink:
        variables = {**beside_them, "PENNYTRACE_ENDPOINT": sink.url, "XDG_STATE_HOME": str(folder)}
        told = _run(folder, model, variables)
        spans, points = [*sink.spans], [*sink.points]
        without = _run(folder, model, {**variables, "PENNYTRACE_DISABLED": "true"})
        assert sink.spans == spans
    return Scene(told, without, spans, points)


def _run(folder: Path, model: Path, variables: Mapping[str, str]) -> Mapping[str, Mapping[str, Any]]:
    command = [environment.program("python"), APP, model]
    done = run(command, environment=surroundings(folder, variables), cwd=folder, seconds=400)
    assert done.returncode == 0, done.stderr
    assert "pennytrace failed" not in done.stderr, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["feature"]: line for line in lines}


def tokens(span: Recorded) -> tuple[int | None, int | None]:
    return span.attributes.get(semconv.INPUT_TOKENS), span.attributes.get(semconv.OUTPUT_TOKENS)


def seconds(span: Recorded) -> float:
    used: float = span.attributes[semconv.GPU_SECONDS]
    return used


def test_every_way_is_taken(scene: Scene) -> None:
    assert set(scene.told) == {*WAYS, SHARED}


@pytest.mark.parametrize("way", WAYS)
def test_tokens_are_those_that_the_app_counts(scene: Scene, way: str) -> None:
    expected = sorted(map(tuple, scene.told[way]["counts"]), key=str)
    assert sorted(map(tokens, scene.of(way)), key=str) == expected


@pytest.mark.parametrize("way", WAYS)
def test_who_what_and_where_is_said_of_each_call(scene: Scene, way: str) -> None:
    for span in scene.of(way):
        said = span.attributes
        assert said[semconv.OPERATION_NAME] == OPERATIONS.get(way, "text_completion")
        assert said[semconv.PROVIDER_NAME] == "transformers"
        assert said[semconv.REQUEST_MODEL] == said[semconv.RESPONSE_MODEL] != ""
        assert said[semconv.USAGE_SOURCE] == semconv.MEASURED
        assert said[semconv.TEAM] == "shelf"
        assert said[semconv.GPU_POOL] == "desk"
        assert said[semconv.GPU_MODEL] == semconv.CPU
        assert said[semconv.GPU_COUNT] == 1
        assert said[semconv.GPU_SOURCE] == semconv.FROM_PROCESS
        assert said[semconv.GPU_METHOD] == ("steps:roofline" if way in IN_STEPS else "wall")
        assert not {semconv.RESPONSE_ID, semconv.SERVER_ADDRESS, semconv.SERVER_PORT} & set(said)


def test_a_model_is_called_what_it_was_loaded_by_and_else_its_class(scene: Scene) -> None:
    (plain,) = scene.of("plain")
    assert plain.attributes[semconv.REQUEST_MODEL] == "model"  # the last part of the folder's path
    names = {span.attributes[semconv.REQUEST_MODEL] for span in scene.of("encoder_decoder")}
    assert names == {"T5ForConditionalGeneration"}


def test_results_are_the_same_without_pennytrace(scene: Scene) -> None:
    for way in scene.told:
        assert scene.told[way]["made"] == scene.without[way]["made"], way


@pytest.mark.parametrize("way", WAYS)
def test_seconds_are_there_and_not_more_than_have_passed(scene: Scene, way: str) -> None:
    spans = scene.of(way)
    for span in spans:
        assert 0 < seconds(span) <= span.seconds + BETWEEN_MARKS
        phases = [
            span.attributes[name]
            for name in (semconv.GPU_PREFILL_SECONDS, semconv.GPU_DECODE_SECONDS)
            if name in span.attributes
        ]
        assert not phases or sum(phases) == pytest.approx(seconds(span), abs=SLACK)
        assert all(phase >= 0 for phase in phases)
    assert sum(map(seconds, spans)) <= scene.told[way]["seconds"] + SLACK


def test_reading_and_writing_are_told_apart(scene: Scene) -> None:
    for way in ("plain", "padded", "beams", "encoder_decoder", "streamed", "text_pipeline", "batched"):
        for span in scene.of(way):
            assert span.attributes[semconv.GPU_PREFILL_SECONDS] > 0
            assert span.attributes[semconv.GPU_DECODE_SECONDS] > 0


def test_calls_at_the_same_time_share_the_seconds(scene: Scene) -> None:
    spans = scene.of("at_once")
    lasted = sum(span.seconds for span in spans)
    assert sum(map(seconds, spans)) < 0.9 * lasted  # in turn they would have used all of it
    assert "medium" in {span.attributes[semconv.GPU_CONFIDENCE] for span in spans}


def test_a_call_that_was_alone_is_known_for_sure(scene: Scene) -> None:
    (plain,) = scene.of("plain")
    assert plain.attributes[semconv.GPU_CONFIDENCE] == "high"


def test_a_streamer_tells_when_the_first_token_was_there(scene: Scene) -> None:
    (span,) = scene.of("streamed")
    assert span.attributes[semconv.REQUEST_STREAM] is True
    assert 0 < span.attributes[semconv.TIME_TO_FIRST_CHUNK] < span.seconds


def test_what_fails_is_charged_for_the_time_that_it_took(scene: Scene) -> None:
    (refused,) = scene.of("refused")
    assert refused.failed
    assert refused.attributes[semconv.ERROR_TYPE].endswith("OutOfPennies")
    (failing,) = scene.of("failing_pipeline")
    assert failing.failed
    assert failing.attributes[semconv.ERROR_TYPE] == scene.told["failing_pipeline"]["made"]


class TestRequestsThatShareSteps:
    """Two features in the batches of one manager, and a request that is cancelled."""

    def test_are_calls_of_who_added_them(self, scene: Scene) -> None:
        (short,) = scene.of("shared: short")
        (long,) = scene.of("shared: long")
        prompt = scene.told["plain"]["counts"][0][0]
        assert (tokens(short), tokens(long)) == ((prompt, 20), (prompt, 60))

    def test_are_charged_until_they_are_cancelled(self, scene: Scene) -> None:
        (span,) = scene.of("shared: cancelled")
        assert span.attributes[semconv.ERROR_TYPE] == "cancelled"
        assert 0 < span.attributes[semconv.OUTPUT_TOKENS] < 200
        assert seconds(span) > 0

    def test_share_the_time_of_the_steps(self, scene: Scene) -> None:
        features = ("shared: short", "shared: long", "shared: cancelled")
        spans = [span for feature in features for span in scene.of(feature)]
        assert sum(map(seconds, spans)) <= max(span.seconds for span in spans) + BETWEEN_MARKS

    def test_tell_how_long_they_waited(self, scene: Scene) -> None:
        (long,) = scene.of("shared: long")
        first = long.attributes[semconv.TIME_TO_FIRST_CHUNK]
        assert 0 < long.attributes[semconv.QUEUE_SECONDS] < first < long.seconds


def test_less_is_charged_than_the_process_held(scene: Scene) -> None:
    held = [point for point in scene.points if point.name == semconv.GPU_PROVISIONED_METRIC]
    assert {point.attributes[semconv.HW_TYPE] for point in held} == {"cpu"}
    assert {point.attributes[semconv.GPU_POOL] for point in held} == {"desk"}
    assert 0 < sum(map(seconds, scene.spans)) < sum(point.value for point in held)


def test_a_step_of_ours_that_fails_changes_nothing_for_the_app(tmp_path: Path) -> None:
    variables = {**beside.install(tmp_path), "PENNYTRACE_ENDPOINT": "http://127.0.0.1:9"}
    command = [environment.program("python"), BROKEN, make_model(tmp_path)]
    environ = surroundings(tmp_path, {**variables, "XDG_STATE_HOME": str(tmp_path)})
    done = run(command, environment=environ, cwd=tmp_path, seconds=400)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 15, done.stdout
