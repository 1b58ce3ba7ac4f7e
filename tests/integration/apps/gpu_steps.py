"""An app with vLLM inside, that watches the engine's steps itself: what the test derives each request's share from.

`gpu_steps.py MODEL WORK OPTIONS`: WORK names what is asked, OPTIONS are more arguments of `LLM`, as JSON. What it
prints is JSON: the steps, the requests, and the wall time of a stretch as the app's clock has it.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vllm import LLM, SamplingParams  # type: ignore[import-not-found, unused-ignore]
from vllm.lora.request import LoRARequest  # type: ignore[import-not-found, unused-ignore]
from vllm.v1.core.sched.scheduler import Scheduler  # type: ignore[import-not-found, unused-ignore]

import pennytrace

steps: list[dict[str, Any]] = []
ended: list[dict[str, Any]] = []
ask: dict[str, Callable[[Any, Path], None]] = {}


def watch() -> None:
    """Write down each step, and each request that ends, outside of what pennytrace does."""
    schedule, update, free = Scheduler.schedule, Scheduler.update_from_output, Scheduler._free_request

    def watched_schedule(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = schedule(self, *args, **kwargs)
        cached = output.scheduled_cached_reqs
        before = dict(zip(cached.req_ids, cached.num_computed_tokens, strict=True))
        before |= {new.req_id: new.num_computed_tokens for new in output.scheduled_new_reqs}
        steps.append(
            {
                "issued": time.perf_counter(),
                "tokens": dict(output.num_scheduled_tokens),
                "before": before,
                "drafts": {id: len(one) for id, one in output.scheduled_spec_decode_tokens.items()},
                "done": 0.0,
            }
        )
        return output

    def watched_update(self: Any, *args: Any, **kwargs: Any) -> Any:
        now = time.perf_counter()
        next(step for step in steps if not step["done"])["done"] = now
        return update(self, *args, **kwargs)

    def watched_free(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        ended.append(
            {
                "id": request.request_id,
                "prompt": request.num_prompt_tokens,
                "output": request.num_output_tokens,
                "preemptions": request.num_preemptions,
                "status": request.status.name,
            }
        )
        return free(self, request, *args, **kwargs)

    Scheduler.schedule, Scheduler.update_from_output = watched_schedule, watched_update
    Scheduler._free_request = watched_free


def work(name: str) -> Callable[[Callable[[Any, Path], None]], Callable[[Any, Path], None]]:
    """Name what may be asked of a model."""
    return lambda function: ask.setdefault(name, function)


def numbers(length: int, seed: int) -> dict[str, list[int]]:
    """A prompt of so many tokens that no other seed shares."""
    return {"prompt_token_ids": [3 + (seed * 31 + place * 7) % 500 for place in range(length)]}


def sampling(tokens: int, **more: Any) -> Any:
    """Parameters for an answer of exactly so many tokens."""
    return SamplingParams(max_tokens=tokens, ignore_eos=True, **more)


@work("mixed")
def mixed(llm: Any, folder: Path) -> None:
    """Two features, a shared prefix, several answers to one prompt, an adapter; too much for the cache at once."""
    prompts = [numbers(20 + 25 * (n % 6), seed=n) for n in range(10)]
    with pennytrace.tag(feature="long", customer="acme"):
        llm.generate(prompts, [sampling(20 + 60 * (n % 2)) for n in range(10)], use_tqdm=False)
    with pennytrace.tag(feature="short"):
        llm.generate(
            [numbers(100, seed=99)] * 2, sampling(4), use_tqdm=False
        )  # the same, one after the other
        llm.generate([numbers(100, seed=99)], sampling(4), use_tqdm=False)
    with pennytrace.tag(feature="answers"):
        llm.generate([numbers(64, seed=7)], sampling(10, n=3), use_tqdm=False)
    with pennytrace.tag(feature="steady"):  # a batch of 8 for as long as both of the first two are in it
        tokens = [40, 80, *([60] * 20)]
        llm.generate([numbers(8, seed=200 + n) for n in range(22)], [*map(sampling, tokens)], use_tqdm=False)
    with pennytrace.tag(feature="given up"):
        give_up(llm.llm_engine)
    with pennytrace.tag(feature="adapted"):
        adapter = LoRARequest("shop-adapter", 1, str(folder / "adapter"))
        llm.generate([numbers(30, seed=5)], sampling(5), lora_request=adapter, use_tqdm=False)


def give_up(engine: Any) -> None:
    """Ask for one more than the engine takes at once, and give up one that runs and the one that waits."""
    for n in range(9):
        engine.add_request(f"queue-{n}", numbers(8, seed=300 + n), sampling(6))
    for _ in range(3):
        engine.step()
    engine.abort_request(["queue-0", "queue-8"])
    while engine.has_unfinished_requests():
        engine.step()


@work("guessed")
def guessed(llm: Any, folder: Path) -> None:
    """Prompts that repeat themselves, which makes n-grams guess."""
    prompts = [{"prompt_token_ids": [11, 12, 13, 14 + n] * 12} for n in range(4)]
    llm.generate(prompts, sampling(40, temperature=0.0), use_tqdm=False)  # which repeats itself too


@work("embedded")
def embedded(llm: Any, folder: Path) -> None:
    """Texts of two lengths."""
    llm.embed([numbers(10 if n % 2 else 200, seed=n) for n in range(8)], use_tqdm=False)


def adapter(folder: Path) -> None:
    """Write a LoRA adapter that changes nothing."""
    import torch  # type: ignore[import-not-found, unused-ignore]
    from safetensors.torch import save_file  # type: ignore[import-not-found, unused-ignore]

    folder.mkdir(exist_ok=True)
    about = {"peft_type": "LORA", "r": 8, "lora_alpha": 8, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(about), "utf-8")
    name = "base_model.model.model.layers.{}.self_attn.q_proj.lora_{}.weight"
    weights = {name.format(n, "A"): torch.zeros(8, 256) for n in range(2)}
    weights |= {name.format(n, "B"): torch.zeros(256, 8) for n in range(2)}
    save_file(weights, str(folder / "adapter_model.safetensors"))


def main(model: str, name: str, options: str) -> None:
    """Ask, and print what was seen."""
    folder = Path(model).parent
    adapter(folder / "adapter")
    pennytrace.init(service="steps", gpu_pool="lab")
    watch()
    llm: Any = LLM(
        model, dtype="float32", max_model_len=256, enforce_eager=True, seed=1, **json.loads(options)
    )
    steps.clear()
    began = time.perf_counter()
    pennytrace.shutdown()  # beats once more at its beginning, so that the next heartbeat is of this stretch
    since_ns = time.time_ns()
    pennytrace.init(service="steps", gpu_pool="lab")
    ask[name](llm, folder)
    time.sleep(0.5)
    stretch = time.perf_counter() - began
    pennytrace.shutdown()
    told = {"steps": steps, "requests": ended, "stretch": stretch, "since_ns": since_ns}
    sys.stdout.write(json.dumps(told) + "\n")
    del llm
    gc.collect()


if __name__ == "__main__":
    main(*sys.argv[1:])
