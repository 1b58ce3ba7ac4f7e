"""An app on a self-hosted engine, instrumented or not: features of different size, at the same time.

Run with OPENAI_BASE_URL and OPENAI_API_KEY. Prints one JSON line a feature: its tokens, and the ids of its responses.
With `plain` as its argument it does not use pennytrace.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Final

import openai

import pennytrace

MODEL: Final = "tiny-llama"
PROMPT: Final = "summarise what the customer asked, and translate the answer of the cashier. "

# name: (calls, repetitions of the prompt, tokens of output)
FEATURES: Final = {"search": (6, 1, 16), "report": (6, 6, 64)}

instrumented = sys.argv[1:] != ["plain"]
if instrumented:
    pennytrace.init(service="gpu_shop")
client = openai.OpenAI(max_retries=0)


def ask(feature: str, number: int) -> tuple[str, int, int]:
    """Make one call of a feature, and return its response's id and tokens."""
    _, repetitions, output = FEATURES[feature]
    tagged = pennytrace.tag(feature=feature, team="shop") if instrumented else nullcontext()
    with tagged:
        answer = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": f"{number}: {PROMPT * repetitions}"}],
            max_tokens=output,
            temperature=0,
            extra_body={"ignore_eos": True},
        )
    assert answer.usage is not None
    return answer.id, answer.usage.prompt_tokens, answer.usage.completion_tokens


def main() -> None:
    """Make the calls of all features at once."""
    with ThreadPoolExecutor(8) as pool:
        asked = {
            feature: [pool.submit(ask, feature, number) for number in range(calls)]
            for feature, (calls, _, _) in FEATURES.items()
        }
        for feature, futures in asked.items():
            answers = [future.result() for future in futures]
            told = {
                "feature": feature,
                "ids": [id for id, _, _ in answers],
                "input_tokens": sum(tokens for _, tokens, _ in answers),
                "output_tokens": sum(tokens for _, _, tokens in answers),
            }
            sys.stdout.write(json.dumps(told) + "\n")


main()
