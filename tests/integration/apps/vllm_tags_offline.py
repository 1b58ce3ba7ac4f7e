"""An app that runs vLLM in its own process: several features, one JSON line each with how many requests it made.

Run with MODEL, and with `AsyncLLM` or `LLM` as its argument.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from vllm import LLM, SamplingParams, TextPrompt  # type: ignore[import-not-found, unused-ignore]

import pennytrace

OPTIONS: Final[dict[str, Any]] = {"dtype": "float32", "max_model_len": 256, "enforce_eager": True}
FEW: Final = SamplingParams(max_tokens=4)
CHAT: Final[Any] = [{"role": "user", "content": "where is my parcel?"}]


def tell(feature: str, requests: int, **more: object) -> None:
    """Say what was done."""
    sys.stdout.write(json.dumps({"feature": feature, "requests": requests, **more}) + "\n")
    sys.stdout.flush()  # in one line, though the engine core's process writes there too


def recommend(llm: Any) -> None:
    """Ask without a tag: the feature is this function."""
    llm.generate(["one"], FEW, use_tqdm=False)
    tell("vllm_tags_offline.recommend", 1)


def traced(llm: Any) -> None:
    """Ask inside of a trace of the app's, which it does not keep."""
    tracer = TracerProvider(sampler=ALWAYS_OFF).get_tracer("app")
    with tracer.start_as_current_span("work") as span, pennytrace.tag(feature="traced"):
        llm.generate(["one"], FEW, use_tqdm=False)
        context = span.get_span_context()
    tell(
        "traced",
        1,
        trace=trace.format_trace_id(context.trace_id),
        span=trace.format_span_id(context.span_id),
    )


def offline() -> None:
    """Ask in all the ways that LLM has for a model that generates."""
    llm = LLM(os.environ["MODEL"], **OPTIONS)
    with pennytrace.tag(feature="summaries", customer="acme", user="u-1", experiment="short"):
        llm.generate(["one", "two"], FEW, use_tqdm=False)
    tell("summaries", 2)
    with pennytrace.tag(feature="chats"):
        llm.chat([CHAT, CHAT], FEW, use_tqdm=False)
    tell("chats", 2)
    with pennytrace.tag(feature="drafts"):
        llm.generate(["one"], SamplingParams(max_tokens=4, n=2), use_tqdm=False)
    tell("drafts", 2)
    with pennytrace.tag(feature="queued"):
        llm.enqueue(["one", "two"], FEW, use_tqdm=False)
    llm.wait_for_completion(use_tqdm=False)
    tell("queued", 2)
    recommend(llm)
    traced(llm)
    pennytrace.shutdown()
    llm.generate(["one"], FEW, use_tqdm=False)
    tell("", 1)


async def asynchronous() -> None:
    """Ask AsyncLLM: by a text, which it reads in a thread; for two answers; and with headers of the app's own."""
    from vllm import AsyncEngineArgs
    from vllm.sampling_params import RequestOutputKind  # type: ignore[import-not-found, unused-ignore]
    from vllm.v1.engine.async_llm import AsyncLLM  # type: ignore[import-not-found, unused-ignore]

    llm = AsyncLLM.from_engine_args(AsyncEngineArgs(os.environ["MODEL"], **OPTIONS))

    async def ask(id: str, feature: str, n: int = 1, **more: object) -> None:
        kind = RequestOutputKind.FINAL_ONLY
        few = SamplingParams(max_tokens=4, n=n, output_kind=kind)
        with pennytrace.tag(feature=feature):
            async for _ in llm.generate(TextPrompt(prompt="one"), few, id, **more):
                pass

    await asyncio.gather(*(ask(str(place), f"task-{place}") for place in range(3)))
    for place in range(3):
        tell(f"task-{place}", 1)
    await ask("a", "drafts", n=2)
    tell("drafts", 2)
    await ask("b", "merged", trace_headers={"tracestate": "congo=t61rcWkgMzE"})
    tell("merged", 1)
    theirs = "pennytrace=feature:theirs"
    await ask("c", "not this one", trace_headers={"tracestate": theirs})
    tell("theirs", 1)
    llm.shutdown()


if __name__ == "__main__":
    pennytrace.init(team="shop", spool="off")
    if sys.argv[1] == "AsyncLLM":
        asyncio.run(asynchronous())
    else:
        offline()
    pennytrace.shutdown()
