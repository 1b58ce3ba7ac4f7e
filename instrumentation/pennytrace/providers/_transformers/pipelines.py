"""Pipelines: each batch that a pipeline puts through its model is a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pennytrace import semconv
from pennytrace._calls.asking import inside
from pennytrace._calls.provider import Provider
from pennytrace._guard import never_break_the_host
from pennytrace.providers._transformers.tokens import given
from pennytrace.providers._transformers.work import Work, at_work, begin_work, end_work

OPERATION: Final = "pipeline"
CHAT: Final = "chat"
_CHAT_CLASS: Final = "Chat"


def forward(
    provider: Provider,
    wrapped: Callable[..., Any],
    pipeline: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Take the place of `Pipeline.forward`, through which all batches of all pipelines go, when it is their turn."""
    if at_work.get() is not None:
        return wrapped(*args, **kwargs)
    work = _begin(provider, pipeline, args, kwargs)
    if work is None:
        return wrapped(*args, **kwargs)
    token = at_work.set(work)
    try:
        with inside(work.call):
            outputs = wrapped(*args, **kwargs)
    except BaseException as error:
        end_work(work, error)
        raise
    finally:
        at_work.reset(token)
    end_work(work)
    return outputs


@never_break_the_host("reading what a pipeline is about to do")
def _begin(
    provider: Provider, pipeline: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Work | None:
    inputs = args[0] if args else kwargs.get("model_inputs")
    streams = kwargs.get("streamer") is not None
    work = begin_work(provider, f"{OPERATION} {_task(pipeline, inputs)}", pipeline.model, stream=streams)
    if work is not None and not _generates(pipeline):
        _read(work, inputs)
    return work


def _generates(pipeline: Any) -> bool:
    """Tell whether a pipeline's model generates: `generate` counts then, inside of it."""
    return bool(getattr(pipeline, "_pipeline_calls_generate", False) and pipeline.model.can_generate())


def _read(work: Work, inputs: Any) -> None:
    ids = inputs.get("input_ids") if hasattr(inputs, "get") else None
    if ids is not None and hasattr(ids, "dim") and ids.dim() >= 2:
        # Counted now: they are in the host's memory still.
        tokens = {semconv.INPUT_TOKENS: given(ids, inputs.get("attention_mask"))}
        work.used(lambda: tokens)


def _task(pipeline: Any, inputs: Any) -> str:
    text = inputs.get("prompt_text") if hasattr(inputs, "get") else None
    if isinstance(text, Sequence) and not isinstance(text, str) and text:
        text = text[0]
    return CHAT if type(text).__name__ == _CHAT_CLASS else str(pipeline.task)
