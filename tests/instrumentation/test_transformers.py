"""What of transformers needs no torch: names and places of models, and requests whose steps end late.

The rest is in tests/integration/test_transformers.py, on real models.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import pennytrace
from pennytrace import semconv
from pennytrace._calls import device_time
from pennytrace._calls.device_time import Line
from pennytrace.providers._transformers import batches
from pennytrace.providers._transformers.models import name_of, placed
from pennytrace.providers.transformers import PROVIDER
from tests.instrumentation.sink import Recorded, Sink
from tests.instrumentation.test_device_time import Device

Calls = Callable[[], list[Recorded]]


class FakeDevice(SimpleNamespace):
    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __hash__(self) -> int:  # type: ignore[override]  # a torch.device has one
        return hash(str(self))


def device(place: Any, index: int | None = None) -> FakeDevice:
    if isinstance(place, FakeDevice):
        return place
    if isinstance(place, int):
        return FakeDevice(type="cuda", index=place)
    kind, _, number = place.partition(":")
    return FakeDevice(type=kind, index=int(number) if number else index)


@pytest.fixture(autouse=True)
def torch(monkeypatch: pytest.MonkeyPatch) -> None:
    accelerator = SimpleNamespace(current_device_index=lambda: 2)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(device=device, accelerator=accelerator))


def model(name: str = "shop/penny-7b", place: str = "cuda:0", **more: Any) -> Any:
    return SimpleNamespace(config=SimpleNamespace(_name_or_path=name), device=device(place), **more)


@pytest.mark.parametrize(
    ("loaded_by", "name"),
    [
        ("shop/penny-7b", "shop/penny-7b"),
        ("/models/penny-7b/", "penny-7b"),
        ("./penny-7b", "penny-7b"),
        ("C:\\models\\penny-7b", "penny-7b"),
        ("", "SimpleNamespace"),
    ],
)
def test_a_model_is_called_what_it_was_loaded_by(loaded_by: str, name: str) -> None:
    assert name_of(model(loaded_by)) == name


@pytest.mark.parametrize(
    ("parts", "devices"),
    [
        ({"": 0}, ["cuda:0"]),
        ({"first": 0, "second": "cuda:1", "third": 1, "head": "cpu", "rest": "disk"}, ["cuda:0", "cuda:1"]),
        ({"": "cpu"}, ["cpu"]),
        ({"a": "cpu", "b": "disk"}, ["cpu"]),
    ],
)
def test_a_model_is_on_the_devices_of_its_map(parts: dict[str, Any], devices: list[str]) -> None:
    assert [*map(str, placed(model(hf_device_map=parts)).devices)] == devices


def test_a_model_without_a_map_is_where_it_says() -> None:
    assert [*map(str, placed(model(place="cuda")).devices)] == ["cuda:2"]  # the current one
    assert [*map(str, placed(model(place="cpu")).devices)] == ["cpu"]


@pytest.mark.parametrize(
    ("coordinate", "leads"), [([0], True), ([1], False), ([0, 1], False), ([0, 0], True)]
)
def test_the_first_of_the_processes_of_a_model_records(coordinate: list[int], leads: bool) -> None:
    mesh = SimpleNamespace(size=lambda: 4, get_coordinate=lambda: coordinate)
    where = placed(model(_device_mesh=mesh))
    assert (where.ranks, where.leads, len(where.devices)) == (4, leads, 1)


class Router:
    """What outputs are delivered with."""


class Batching:
    """Continuous batching as the library does it on a GPU: a step is prepared while the one before it runs."""

    def __init__(self, gpu: Device) -> None:
        self.gpu = gpu
        self.pairs = [SimpleNamespace(host_io=SimpleNamespace(requests_in_batch=[])) for _ in range(2)]
        ios = SimpleNamespace(io_pairs=self.pairs, current_pair=0)
        self.router = Router()
        self.model = model()
        self.gone: set[str] = set()
        self.manager = SimpleNamespace(model=self.model, output_router=self.router, num_return_sequences=1)
        self.processor = SimpleNamespace(
            output_router=self.router,
            inputs_and_outputs=ios,
            scheduler=SimpleNamespace(request_is_cancelled=lambda id: id in self.gone),
        )

    def add(self, id: str, prompt: int) -> SimpleNamespace:
        batches.add(PROVIDER, lambda *a, **k: id, self.manager, ([1] * prompt,), {"request_id": id})
        return SimpleNamespace(request_id=id, initial_tokens=[1] * prompt, position_offset=0)

    def step(self, seconds: float, *tokens: tuple[SimpleNamespace, int]) -> None:
        ios = self.processor.inputs_and_outputs
        batch = []
        for state, count in tokens:
            state.position_offset += count
            writes = state.position_offset >= len(state.initial_tokens)
            batch.append(SimpleNamespace(state=state, query_length=count, has_new_token=writes))
        self.pairs[ios.current_pair].host_io.requests_in_batch = batch

        def issued(model: Any) -> None:
            ios.current_pair = 1 - ios.current_pair
            self.gpu.works(seconds)

        batches.step(issued, self.processor, (self.model,), {})

    def finished(self, state: SimpleNamespace, written: int, error: str | None = None) -> None:
        output = SimpleNamespace(
            request_id=state.request_id,
            generated_tokens=[7] * written,
            error=error,
            is_finished=lambda: True,
        )
        batches.deliver_batch(lambda outputs: None, self.router, ([output],), {})


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Device:
    gpu = Device()
    monkeypatch.setitem(device_time._lines, "cuda:0", Line(gpu.clock, semconv.BY_EVENTS))
    return gpu


def used(span: Recorded, name: str) -> float:
    value: float = span.attributes[name]
    return value


class TestContinuousBatchingOnAGpu:
    def test_the_shares_of_a_step_sum_to_the_step(self, gpu: Device, calls: Calls) -> None:
        batching = Batching(gpu)
        one, other = batching.add("one", 100), batching.add("other", 300)
        batching.step(4, (one, 100), (other, 300))
        batching.step(1, (one, 1), (other, 1))
        for state in (one, other):
            batching.finished(state, 2)
        gpu.works(0)
        first, second = sorted(calls(), key=lambda span: used(span, semconv.INPUT_TOKENS))
        # 200 tokens for the model's weights, half of them for each: (100 + 100) and (300 + 100) of 600.
        assert used(first, semconv.GPU_PREFILL_SECONDS) == pytest.approx(4 * 200 / 600)
        assert used(second, semconv.GPU_PREFILL_SECONDS) == pytest.approx(4 * 400 / 600)
        assert used(first, semconv.GPU_DECODE_SECONDS) == used(second, semconv.GPU_DECODE_SECONDS)
        assert sum(used(span, semconv.GPU_SECONDS) for span in (first, second)) == pytest.approx(5)

    def test_shares_follow_what_is_computed_and_read_where_the_models_size_is_known(
        self, gpu: Device, calls: Calls
    ) -> None:
        batching = Batching(gpu)
        batching.model.dtype = SimpleNamespace(itemsize=2)
        sizes = {"num_hidden_layers": 1, "hidden_size": 4, "num_attention_heads": 2, "intermediate_size": 8}
        batching.model.config = SimpleNamespace(_name_or_path="m", vocab_size=10, **sizes)
        one, other = batching.add("one", 10), batching.add("other", 30)
        batching.step(3, (one, 10), (other, 30))
        for state in (one, other):
            batching.finished(state, 1)
        gpu.works(0)
        first, second = sorted(calls(), key=lambda span: used(span, semconv.INPUT_TOKENS))
        # 4 * 2 * (2 + 2) * 2 weights of attention and 3 * 4 * 8 others; 16 bytes of keys and values a token.
        weights = [
            q * (2 * 160 + 4 * 2 * 2 * q / 2) + 2 * 10 * 4 + 200 * (q * 16 + 2 * (160 + 4 * 10) / 2)
            for q in (10, 30)
        ]
        assert used(first, semconv.GPU_SECONDS) == pytest.approx(3 * weights[0] / sum(weights))
        assert used(second, semconv.GPU_SECONDS) == pytest.approx(3 * weights[1] / sum(weights))
        assert first.attributes[semconv.GPU_METHOD] == semconv.BY_ROOFLINE
        assert first.attributes[semconv.GPU_CONFIDENCE] == semconv.MEDIUM

    def test_a_request_is_recorded_when_its_last_step_is_done(
        self, gpu: Device, sink: Sink, calls: Calls
    ) -> None:
        batching = Batching(gpu)
        state = batching.add("one", 8)
        batching.step(1, (state, 8))
        batching.step(2, (state, 1))  # issued before it is known that the first token was the last
        batching.finished(state, 1)
        assert not device_time.wait(0.05)
        assert sink.spans == []
        gpu.works(0)
        (span,) = calls()
        assert used(span, semconv.GPU_SECONDS) == pytest.approx(3)
        assert span.attributes[semconv.OUTPUT_TOKENS] == 1
        assert span.attributes[semconv.GPU_CONFIDENCE] == "high"

    def test_what_was_cached_is_told_and_not_charged(self, gpu: Device, calls: Calls) -> None:
        batching = Batching(gpu)
        state = batching.add("one", 40)
        state.position_offset = 32  # found in the cache
        batching.step(1, (state, 8))
        batching.finished(state, 1)
        gpu.works(0)
        (span,) = calls()
        assert span.attributes[semconv.INPUT_TOKENS] == 40
        assert span.attributes[semconv.CACHE_READ_INPUT_TOKENS] == 32

    def test_requests_that_nobody_records_have_their_share(
        self, gpu: Device, sink: Sink, calls: Calls
    ) -> None:
        batching = Batching(gpu)
        pennytrace.shutdown(0)
        unknown = batching.add("unknown", 100)
        pennytrace.init(endpoint=sink.url)
        known = batching.add("known", 100)
        batching.step(3, (unknown, 100), (known, 100))
        for state in (unknown, known):
            batching.finished(state, 1)
        gpu.works(0)
        (span,) = calls()
        assert used(span, semconv.GPU_SECONDS) == pytest.approx(1.5)

    def test_a_cancelled_request_is_charged_for_what_was_done(self, gpu: Device, calls: Calls) -> None:
        batching = Batching(gpu)
        state = batching.add("one", 8)
        batching.step(1, (state, 8))
        gpu.works(0)
        batches.cancel(lambda id: None, batching.manager, ("one",), {})
        batches.prepare(lambda: True, batching.processor, (), {})
        assert calls() == []  # the library has not left it out yet
        batching.gone.add("one")
        batches.prepare(lambda: True, batching.processor, (), {})
        (span,) = calls()
        assert span.attributes[semconv.ERROR_TYPE] == "cancelled"
        assert used(span, semconv.GPU_SECONDS) == pytest.approx(1)

    def test_a_request_that_was_dropped_is_no_call(self, gpu: Device, calls: Calls) -> None:
        batching = Batching(gpu)
        dropped = batches.add(PROVIDER, lambda *a: None, batching.manager, ([1, 2],), {})
        assert dropped is None
        assert calls() == []

    def test_a_request_that_fails_says_so(self, gpu: Device, calls: Calls) -> None:
        batching = Batching(gpu)
        state = batching.add("one", 8)
        batching.finished(state, 0, error="out of memory")
        (span,) = calls()
        assert span.attributes[semconv.ERROR_TYPE] == "failed"
        assert span.attributes[semconv.GPU_SECONDS] == 0
