"""An app with vLLM in a process beside it: it records, the engine's process is told its settings, and nothing else.

`gpu_offline.py MODEL ENDPOINT`
"""

from __future__ import annotations

import sys
from typing import Any

from vllm import LLM, SamplingParams  # type: ignore[import-not-found, unused-ignore]

import pennytrace


def main(model: str, endpoint: str) -> None:
    """Ask three times, for two features."""
    pennytrace.init(endpoint=endpoint, service="nightly", team="batch", gpu_pool="lab", spool="off")
    llm: Any = LLM(model, dtype="float32", max_model_len=256, enforce_eager=True)
    sampling = SamplingParams(max_tokens=12, ignore_eos=True)
    with pennytrace.tag(feature="summaries", customer="acme", batch="7"):
        llm.generate(
            [{"prompt_token_ids": [5] * 20}, {"prompt_token_ids": [6] * 40}], sampling, use_tqdm=False
        )
    llm.chat([{"role": "user", "content": "where is my parcel?"}], sampling, use_tqdm=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
