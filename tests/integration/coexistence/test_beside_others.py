"""An app that another instrumentation watches goes on as it was when pennytrace joins it and when it leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.instrumentation.provider import Provider
from tests.instrumentation.sink import Recorded, Sink
from tests.integration.coexistence.environments import run

OTHERS: Final = {
    "openllmetry": "newest",
    "openinference": "newest",
    "genai-openai": "newest",
    "logfire": "newest",
    "langfuse": "newest",
    "ddtrace": "newest",
    "openlit": "below-openai-3",
    "openai-v2": "below-openai-3",
}
ORDERS: Final = ("first", "after")
"""When pennytrace is started, relative to the other."""

_MEASURED: Final = ("chat", "measured", 21, 9, None)
_CUT: Final = ("chat", "estimated")
_REFUSED: Final = ("chat", "missing", None, None, "openai.RateLimitError")
RECORDED: Final[dict[str, tuple[Any, ...]]] = {
    "chat": _MEASURED,
    "embed": ("embeddings", "measured", 21, None, None),
    "read_stream": _MEASURED,
    "read_stream_with_usage": _MEASURED,
    "read_stream_in_context": _MEASURED,
    "close_stream": _CUT,
    "drop_stream": _CUT,
    "raw_response": _MEASURED,
    "raw_stream": _MEASURED,
    "streaming_response": _MEASURED,
    "refused": _REFUSED,
    "refused_stream": _REFUSED,
    "achat": _MEASURED,
    "aread_stream": _MEASURED,
    "aread_stream_in_a_task": _MEASURED,
    "aclose_stream": _CUT,
    "araw_response": _MEASURED,
    "astreaming_response": _MEASURED,
    "arefused": _REFUSED,
}
"""What pennytrace records of each call: operation, source of the usage, tokens in and out, error."""

_PUT_BACK_WHAT_WAS_BEFORE_US: Final = {("openinference", "after"), ("logfire", "after")}
"""These leave the client's class with the method that they found when they came, and so take out what came later."""
_READ_BENEATH_US: Final = {"logfire"}
"""Its stream is made by the library itself, so that it sees the usage that pennytrace has asked for."""

Run = dict[str, dict[str, Any]]
"""What an app prints, for each order and for `alone`."""


@pytest.fixture(scope="module", params=OTHERS)
def other(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def ran(
    other: str, python_of: Callable[[str], Path], answering: Provider, refusing: Provider, sink: Sink
) -> Run:
    python = python_of(OTHERS[other])
    return run(python, "beside", other, answering.url, refusing.url, sink=sink)


@pytest.mark.parametrize("order", ORDERS)
def test_the_app_gets_what_it_got_before(ran: Run, order: str) -> None:
    for name, stage in ran[order]["stages"].items():
        assert stage["told"] == ran["alone"]["stages"][name]["told"], name


def test_the_other_tells_the_same_as_without_anybody_but_for_types_of_its_own(ran: Run) -> None:
    stages = ran["first"]["stages"]

    assert _values(stages["both 0"]["told"]) == _values(stages["bare"]["told"])


@pytest.mark.parametrize("order", ORDERS)
def test_the_others_spans_stay_as_they_were(ran: Run, order: str, other: str) -> None:
    spans = _without_usage if other in _READ_BENEATH_US else _whole
    for name, stage in ran[order]["stages"].items():
        assert spans(stage["seen"]) == spans(ran["alone"]["stages"][name]["seen"]), name


@pytest.mark.parametrize("order", ORDERS)
def test_every_call_is_recorded_once(ran: Run, order: str, other: str, sink: Sink) -> None:
    recorded = [span for span in sink.spans if span.resource["service.name"] == f"{other} {order}"]
    stages = {"both 0", "both 1", "pennytrace remains"}
    if (other, order) in _PUT_BACK_WHAT_WAS_BEFORE_US:
        stages.discard("pennytrace remains")

    assert {span.attributes["pennytrace.tag.stage"] for span in recorded} == stages
    for stage in stages:
        calls = [span for span in recorded if span.attributes["pennytrace.tag.stage"] == stage]
        assert Counter(_feature(call) for call in calls) == Counter(list(RECORDED)), stage
        told = {_feature(call): _told(call)[: len(RECORDED[_feature(call)])] for call in calls}
        assert told == RECORDED, stage


@pytest.mark.parametrize("order", ORDERS)
def test_nothing_is_logged_that_was_not_before(ran: Run, order: str) -> None:
    assert Counter(ran[order]["log"]) == Counter(ran["alone"]["log"])


@pytest.mark.parametrize("order", ORDERS)
def test_the_library_is_put_back(ran: Run, order: str) -> None:
    for name in ("bare", "other remains", "neither 0", "neither 1"):
        assert ran[order]["stages"][name]["changed"] == ran["alone"]["stages"][name]["changed"], name


def _feature(call: Recorded) -> str:
    feature: str = call.attributes["pennytrace.feature"]
    return feature


def _told(call: Recorded) -> tuple[Any, ...]:
    names = (
        "gen_ai.operation.name",
        "pennytrace.usage.source",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "error.type",
    )
    return tuple(call.attributes.get(name) for name in names)


def _values(told: Any) -> Any:
    """Return what calls gave without the types, which some of the others change."""
    if isinstance(told, dict):
        return {name: _values(value) for name, value in told.items() if name != "type"}
    return told


def _whole(seen: list[Any]) -> list[Any]:
    return seen


def _without_usage(seen: list[Any]) -> list[Any]:
    return sorted([name, [field for field in fields if ".usage." not in field]] for name, fields, _ in seen)
