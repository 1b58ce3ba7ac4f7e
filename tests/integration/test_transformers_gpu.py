"""Models of transformers on a real GPU: its seconds by its own events, and nobody waits for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

import pennytrace
from pennytrace import semconv
from pennytrace._calls import device_time
from pennytrace._calls.device_time import Timed
from tests.instrumentation import sink as sinks
from tests.instrumentation.sink import Recorded, Sink

torch: Any = pytest.importorskip("torch", reason="needs torch")
transformers: Any = pytest.importorskip("transformers", reason="needs transformers")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

WITHIN: Final = 0.05
PAD: Final = 0


@pytest.fixture
def sink(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with sinks.running() as sink:
        pennytrace.init(endpoint=sink.url, service="desk")
        yield sink
        pennytrace.shutdown(10)


@pytest.fixture(scope="module")
def llama() -> Any:
    """Large enough that the device, and not Python, takes the time."""
    config = transformers.LlamaConfig(
        vocab_size=32_000,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=8,
        num_attention_heads=32,
        num_key_value_heads=8,
        pad_token_id=PAD,
        eos_token_id=1,
    )
    with torch.device("cuda:0"):
        model = transformers.LlamaForCausalLM(config).to(torch.bfloat16).eval()
    model.generation_config.pad_token_id = PAD
    return model


def spans(sink: Sink) -> list[Recorded]:
    assert pennytrace.flush(60)
    return [*sink.spans]


def test_seconds_by_events_are_those_of_a_saturated_device() -> None:
    matrix = torch.randn(8192, 8192, device="cuda:0", dtype=torch.bfloat16)
    for _ in range(3):
        matrix @ matrix
    torch.cuda.synchronize()
    told: list[Timed] = []
    began = time.perf_counter()
    timing = device_time.begin([torch.device("cuda:0")])
    for _ in range(1000):
        matrix @ matrix
    timing.stop(told.append)
    torch.cuda.synchronize()
    wall = time.perf_counter() - began
    assert device_time.wait(30)
    (timed,) = told
    assert (timed.method, timed.confidence) == ("events", "high")
    assert timed.seconds == pytest.approx(wall, rel=WITHIN)


def test_the_end_of_work_does_not_wait_for_the_device() -> None:
    matrix = torch.randn(8192, 8192, device="cuda:0", dtype=torch.bfloat16)
    matrix @ matrix
    torch.cuda.synchronize()
    told: list[Timed] = []
    timing = device_time.begin([torch.device("cuda:0")])
    for _ in range(1000):
        matrix @ matrix
    timing.stop(told.append)
    assert not torch.cuda.current_stream().query(), "the device was done before it could be seen"
    assert told == []
    assert device_time.wait(30)
    assert told[0].seconds > 0


def test_streams_at_the_same_time_share_the_device() -> None:
    matrices = [torch.randn(4096, 4096, device="cuda:0", dtype=torch.bfloat16) for _ in range(2)]
    streams = [torch.cuda.Stream() for _ in range(2)]
    for matrix in matrices:
        matrix @ matrix
    torch.cuda.synchronize()
    told: list[Timed] = []
    began = time.perf_counter()
    timings = [device_time.begin([torch.device("cuda:0")], stream) for stream in streams]
    for _ in range(2000):
        for matrix, stream in zip(matrices, streams, strict=True):
            with torch.cuda.stream(stream):
                matrix @ matrix
    for timing in timings:
        timing.stop(told.append)
    torch.cuda.synchronize()
    wall = time.perf_counter() - began
    assert device_time.wait(30)
    assert sum(timed.seconds for timed in told) == pytest.approx(wall, rel=WITHIN)
    assert {timed.confidence for timed in told} == {"medium"}


def test_a_generation_is_charged_for_the_time_of_the_gpu(sink: Sink, llama: Any) -> None:
    ids = torch.randint(2, 32_000, (128, 256), device="cuda:0")
    asked = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 64, "eos_token_id": None}
    llama.generate(ids, **asked)
    torch.cuda.synchronize()
    began = time.perf_counter()
    llama.generate(ids, **asked)
    torch.cuda.synchronize()
    wall = time.perf_counter() - began
    *_, span = spans(sink)
    said = span.attributes
    assert said[semconv.GPU_SECONDS] == pytest.approx(wall, rel=WITHIN)
    assert 0 < said[semconv.GPU_PREFILL_SECONDS] < said[semconv.GPU_SECONDS]
    assert said[semconv.GPU_METHOD] == "events"
    assert said[semconv.GPU_COUNT] == 1
    assert said[semconv.GPU_MODEL] == torch.cuda.get_device_name(0)
    assert said[semconv.INPUT_TOKENS] == 128 * 256
    assert said[semconv.OUTPUT_TOKENS] == 128 * 64


def test_tokens_are_counted_in_the_memory_of_the_gpu(sink: Sink, llama: Any) -> None:
    ids = torch.randint(2, 32_000, (4, 32), device="cuda:0")
    mask = torch.ones_like(ids)
    ids[1, :5], mask[1, :5] = PAD, 0
    free = llama.generate(ids, attention_mask=mask, max_new_tokens=16, eos_token_id=None, do_sample=False)
    ends = [int(free[0, 32 + 3])]
    rows = llama.generate(ids, attention_mask=mask, max_new_tokens=16, eos_token_id=ends, do_sample=False)
    written = [row[32:] for row in rows.tolist()]
    expected = sum(row.index(ends[0]) + 1 if ends[0] in row else len(row) for row in written)
    *_, span = spans(sink)
    assert span.attributes[semconv.INPUT_TOKENS] == 4 * 32 - 5
    assert span.attributes[semconv.OUTPUT_TOKENS] == expected


def test_continuous_batching_shares_the_time_of_the_gpu(sink: Sink, llama: Any) -> None:
    config = transformers.GenerationConfig(
        max_new_tokens=32, do_sample=False, eos_token_id=-1, pad_token_id=PAD
    )
    prompts = torch.randint(2, 32_000, (64, 128)).tolist()
    began = time.perf_counter()
    made = llama.generate_batch(prompts, generation_config=config)
    wall = time.perf_counter() - began
    recorded = spans(sink)
    assert len(recorded) == len(made) == 64
    assert {span.attributes[semconv.OUTPUT_TOKENS] for span in recorded} == {32}
    assert 0 < sum(span.attributes[semconv.GPU_SECONDS] for span in recorded) <= wall
