"""Measures what the meter takes of vLLM's scheduler thread: `python -m tests.benchmarks.engine` prints it as JSON.

The engine is real: vLLM on the CPU, inside one process, with a tiny model. Needs the virtual environment with the real
engines, and makes nothing in it. For 1, 32 and 256 running requests it prints medians over the steps that have so many:

- `step_ms`: the step of the engine, without the meter;
- `meter_us`: what our hooks add to it, in CPU time of the thread: around vLLM's methods less inside of them;
- `share`: one by the other;
- `share_of_20_ms`: what it would be of a step of 20 ms, as a model of 8 to 70 billion weights takes on its GPUs. The
  tiny model's step is shorter than one of use, so the share of that is the smaller one;
- `alone_us`: the same hooks on stand-ins of vLLM's classes, in a loop with nothing between steps. Between the steps
  above the same cores compute the model, which drives all else out of their caches; where GPUs do that, the truth is
  between the two.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

RUNNING: Final = (1, 32, 256)
_TOKENS: Final = 60
_STEP: Final = 0.02  # seconds
_ALONE: Final = "--alone"
_REPEATS: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Medians over steps with so many running requests."""

    running: int
    step_ms: float
    meter_us: float
    alone_us: float

    @property
    def share(self) -> float:
        """The part of the step."""
        return self.meter_us / 1000 / self.step_ms

    @property
    def share_of_20_ms(self) -> float:
        """The part of a step that takes 20 ms."""
        return self.meter_us / 1e6 / _STEP


def measure(running: Sequence[int] = RUNNING) -> list[Figures]:
    """Run the engine in its own environment, and return what was measured there."""
    from tests.engines import environment
    from tests.engines.beside import install
    from tests.integration.engine import make_model, surroundings

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        variables = {
            **install(folder),
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "PENNYTRACE_SPOOL": "off",
            "PENNYTRACE_ENDPOINT": "http://127.0.0.1:9",  # where nobody listens
        }
        done = subprocess.run(
            [environment.program("python"), __file__, make_model(folder), *map(str, running)],
            env=surroundings(folder, variables),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    alone = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.engine", _ALONE, *map(str, running)],
        env={**os.environ, "PENNYTRACE_SPOOL": "off", "PENNYTRACE_ENDPOINT": "http://127.0.0.1:9"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = zip(*(json.loads(out.stdout.splitlines()[-1]) for out in (done, alone)), strict=True)
    return [Figures(**figures, alone_us=round(us, 1)) for figures, us in found]


def _alone(running: Sequence[int]) -> list[float]:
    """Return what the hooks add to a step of each size, in microseconds: with the plugin less without it."""
    from tests.instrumentation import engine_stub

    def microseconds(count: int) -> float:
        core = engine_stub.EngineCore(engine_stub.Config())
        core.add(*(engine_stub.Request(f"chatcmpl-{number:032x}") for number in range(count)))
        taken = []
        for step in range(_REPEATS):
            batch = {id: (1, 20 + step) for id in core.scheduler.requests}
            core.done(core.issue({}, batch))
            before = time.thread_time()
            core.scheduler.schedule()
            core.done(core.scheduler.next)
            taken.append(time.thread_time() - before)
        return statistics.median(taken) * 1e6

    without = [microseconds(count) for count in running]
    (plugin,) = entry_points(group="vllm.general_plugins", name="pennytrace")
    plugin.load()()
    return [microseconds(count) - base for count, base in zip(running, without, strict=True)]


@dataclass(slots=True)
class _Clock:
    """CPU time of the scheduler thread: in steps, and around and inside of the methods that are hooked."""

    around: float = 0.0
    inside: float = 0.0
    steps: list[tuple[int, float, float]] = field(default_factory=list)
    """For each: its requests, its time, and the meter's."""

    def outer(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            before = time.thread_time()
            try:
                return method(*args, **kwargs)
            finally:
                self.around += time.thread_time() - before

        return timed

    def inner(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            before = time.thread_time()
            try:
                return method(*args, **kwargs)
            finally:
                self.inside += time.thread_time() - before

        return timed

    def step(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(core: Any, *args: Any, **kwargs: Any) -> Any:
            running, around, inside = len(core.scheduler.running), self.around, self.inside
            before = time.thread_time()
            result = method(core, *args, **kwargs)
            taken = time.thread_time() - before
            meter = (self.around - around) - (self.inside - inside)
            if len(core.scheduler.running) == running:
                self.steps.append((running, taken - meter, meter))
            return result

        return timed


def _inside(model: str, running: Sequence[int]) -> list[dict[str, float]]:
    from vllm import LLM, SamplingParams  # type: ignore[import-not-found, unused-ignore]
    from vllm.v1.core.sched.scheduler import Scheduler  # type: ignore[import-not-found, unused-ignore]
    from vllm.v1.engine.core import EngineCore  # type: ignore[import-not-found, unused-ignore]

    clock = _Clock()
    for name in ("schedule", "update_from_output"):  # before the plugin wraps them
        setattr(Scheduler, name, clock.inner(getattr(Scheduler, name)))
    EngineCore.step = clock.step(EngineCore.step)
    llm: Any = LLM(model, dtype="float32", max_model_len=256, max_num_seqs=max(running), enforce_eager=True)
    for name in ("schedule", "update_from_output"):
        wrapper = vars(Scheduler)[name]
        assert hasattr(wrapper, "_self_wrapper"), "the plugin has wrapped nothing"
        setattr(Scheduler, name, clock.outer(_bound(wrapper)))
    sampling = SamplingParams(max_tokens=_TOKENS, ignore_eos=True)
    found = []
    for count in running:
        prompts = [{"prompt_token_ids": [3 + n, *([5] * 15)]} for n in range(count)]
        llm.generate(prompts, sampling, use_tqdm=False)  # to warm up
        clock.steps.clear()
        llm.generate(prompts, sampling, use_tqdm=False)
        steps = [(step, meter) for number, step, meter in clock.steps if number == count]
        found.append(
            {
                "running": count,
                "step_ms": round(statistics.median(step for step, _ in steps) * 1e3, 3),
                "meter_us": round(statistics.median(meter for _, meter in steps) * 1e6, 1),
            }
        )
    return found


def _bound(method: Any) -> Callable[..., Any]:
    """Return a function that calls a method as an instance would."""
    return lambda instance, *args, **kwargs: method.__get__(instance, type(instance))(*args, **kwargs)


def _report() -> None:
    for figures in measure():
        shares = {
            "share": f"{figures.share:.2%}",
            "share_of_20_ms": f"{figures.share_of_20_ms:.2%}",
        }
        sys.stdout.write(json.dumps({**asdict(figures), **shares}) + "\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            _report()
        case [first, *counts] if first == _ALONE:
            sys.stdout.write(json.dumps(_alone(list(map(int, counts)))))
        case [first, *counts]:
            sys.stdout.write(json.dumps(_inside(first, list(map(int, counts)))))
