"""Breaks each step of ours in turn, and tells whether the app's results are still what they were.

Runs in the engines' virtual environment: `python transformers_broken.py MODEL`. It prints the steps that
made no difference.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import torch  # type: ignore[import-not-found, unused-ignore]
from transformers import (  # type: ignore[import-not-found, unused-ignore]
    AutoModelForCausalLM,
    AutoTokenizer,
    ContinuousBatchingConfig,
    GenerationConfig,
    TextIteratorStreamer,
    pipeline,
)

import pennytrace
from pennytrace._calls import device_time
from pennytrace.providers._transformers import batches, generation, pipelines, work

MODULES = (device_time, batches, generation, pipelines, work)


def steps(module: ModuleType) -> Iterator[FunctionType]:
    """Find what stands behind the guard."""
    for thing in vars(module).values():
        if (
            isinstance(thing, FunctionType)
            and hasattr(thing, "guards")
            and thing.__module__ == module.__name__
        ):
            yield thing


def broken(step: FunctionType, work: Callable[[], Any]) -> Any:
    """Do `work` while a step raises whenever it is taken."""
    (cell,) = [cell for cell in step.__closure__ or () if isinstance(cell.cell_contents, FunctionType)]
    real = cell.cell_contents

    def raises(*args: object, **kwargs: object) -> object:
        raise RuntimeError("broken on purpose")

    cell.cell_contents = raises
    try:
        return work()
    finally:
        cell.cell_contents = real


def main(folder: Path) -> None:
    """Break all steps, one after the other."""
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    writes = pipeline("text-generation", model=model, tokenizer=tokenizer)
    given = tokenizer("A penny saved", return_tensors="pt", return_token_type_ids=False)
    small = ContinuousBatchingConfig(num_blocks=32, max_batch_tokens=64)
    config = GenerationConfig(max_new_tokens=4, do_sample=False, eos_token_id=-1)

    def everything() -> Any:
        torch.manual_seed(3)
        streamer = TextIteratorStreamer(tokenizer)
        rows = model.generate(**given, max_new_tokens=4, streamer=streamer)
        made = model.generate_batch(
            given["input_ids"].tolist(), generation_config=config, continuous_batching_config=small
        )
        manager = model.init_continuous_batching(generation_config=config, continuous_batching_config=small)
        manager.start()
        manager.cancel_request(manager.add_request([5, 6, 7], max_new_tokens=60))
        manager.stop(block=True)
        try:
            model.generate(**given, max_new_tokens=0)
        except ValueError as error:
            refused = str(error)
        said = writes("A penny earned", max_new_tokens=4)
        batched = [one.generated_tokens for one in made.values()]
        return rows.tolist(), "".join(streamer), batched, refused, said

    usual = everything()
    for module in MODULES:
        for step in steps(module):
            assert broken(step, everything) == usual, step.guards  # type: ignore[attr-defined]
            sys.stdout.write(f"{step.guards}\n")  # type: ignore[attr-defined]


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    pennytrace.init(service="shelf")
    main(Path(sys.argv[1]))
