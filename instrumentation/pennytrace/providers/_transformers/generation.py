"""`generate`: what it was given, what it wrote, and when a streamer was handed the first of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final

from pennytrace import semconv
from pennytrace._calls.asking import inside
from pennytrace._calls.provider import Provider
from pennytrace._guard import never_break_the_host
from pennytrace.providers._transformers.tokens import Written, given, written
from pennytrace.providers._transformers.work import Work, at_work, begin_work, end_work

OPERATION: Final = "generate"
_PAGED: Final = "paged"

_running: Final[ContextVar[Generation | None]] = ContextVar(
    "pennytrace.transformers.generation", default=None
)


class Generation:
    """One run of `generate`, which is a call, or a part of one that a pipeline makes."""

    __slots__ = ("_config", "_ids", "_length", "_mask", "_others_end", "model", "work")

    def __init__(self, work: Work, model: Any, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        self.work = work
        self.model = model
        self._ids = _given_to(model, arguments, named)
        self._mask = named.get("attention_mask")
        self._others_end = any(named.get(name) for name in ("stopping_criteria", "stop_strings"))
        self._config = named.get("generation_config") or getattr(model, "generation_config", None)
        self._length: int | None = None

    def prepared(self, config: Any, length: int) -> None:
        """Note with what the model begins; only the first time counts: what comes inside is a part of it."""
        if self._length is None:
            self._config, self._length = config, length

    def ended(self, result: Any) -> None:
        """Let the tokens be counted: those of the input also where nothing has come of it."""
        ids, mask = self._ids, self._mask
        by = self._written(getattr(result, "sequences", result))

        def count() -> Mapping[str, int]:
            tokens = {}
            if ids is not None:
                tokens[semconv.INPUT_TOKENS] = given(ids, mask)
            if by is not None:
                tokens[semconv.OUTPUT_TOKENS] = written(by)
            return tokens

        self.work.used(count)

    def _written(self, rows: Any) -> Written | None:
        if not hasattr(rows, "is_floating_point") or rows.is_floating_point() or rows.dim() != 2:
            return None  # sounds, or what a loop of the app's own returns
        config = self._config
        others_end = self._others_end or bool(getattr(config, "stop_strings", None))
        return Written(
            rows=rows,
            given=self._prompt_length() if self._length is None else self._length,
            ends=_ids_of(getattr(config, "eos_token_id", None)),
            filler=_first(getattr(config, "pad_token_id", None)) if others_end else None,
        )

    def _prompt_length(self) -> int:
        """Return how long the output's beginning is that was not written, where nobody told."""
        if getattr(self.model.config, "is_encoder_decoder", False):
            return 1
        return int(self._ids.shape[1]) if self._ids is not None and self._ids.dim() == 2 else 0


def generate(
    provider: Provider, wrapped: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Take the place of `GenerationMixin.generate`."""
    if _running.get() is not None or kwargs.get("cache_implementation") == _PAGED:
        return wrapped(*args, **kwargs)  # a part of a call; or requests, which are recorded one by one
    enclosing = at_work.get()
    work = enclosing or begin_work(provider, OPERATION, model, stream=kwargs.get("streamer") is not None)
    if work is None:
        return wrapped(*args, **kwargs)
    generation = _begun(work, model, args, kwargs)
    running = _running.set(generation)
    try:
        with inside(work.call):
            result = wrapped(*args, **kwargs)
    except BaseException as error:
        _end(generation, work, enclosing, None, error)
        raise
    finally:
        _running.reset(running)
    _end(generation, work, enclosing, result)
    return result


def prepare_length(
    wrapped: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Take the place of `GenerationMixin._prepare_generated_length`, which knows what is generated from."""
    config = wrapped(*args, **kwargs)
    _prepared(model, config, kwargs.get("input_ids_length"))
    return config


def prefill(wrapped: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Take the place of `GenerationMixin._prefill`, at whose end the model has read its input."""
    outputs = wrapped(*args, **kwargs)
    _has_read(model)
    return outputs


@never_break_the_host("reading what a model in this process is given")
def _begun(work: Work, model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Generation:
    streamer = kwargs.get("streamer")
    if streamer is not None:
        _listen(work, streamer)
    return Generation(work, model, args, kwargs)


def _end(
    generation: Generation | None,
    work: Work,
    enclosing: Work | None,
    result: Any,
    error: BaseException | None = None,
) -> None:
    if generation is not None:
        _ended(generation, result)
    if enclosing is None:
        end_work(work, error)


@never_break_the_host("reading what a model in this process wrote")
def _ended(generation: Generation, result: Any) -> None:
    generation.ended(result)


@never_break_the_host("reading how a generation begins")
def _prepared(model: Any, config: Any, length: int | None) -> None:
    generation = _running.get()
    if generation is not None and generation.model is model and length is not None:
        generation.prepared(config, length)


@never_break_the_host("noting that a model has read its input")
def _has_read(model: Any) -> None:
    generation = _running.get()
    if generation is not None and generation.model is model:
        generation.work.read()


def _listen(work: Work, streamer: Any) -> None:
    """Note when a streamer is handed the first token: the second thing, after the prompt.

    On the instance, and only until then: its type stays what it is, and the app may look at its methods.
    """
    put, own = streamer.put, vars(streamer).get("put")
    puts = 0

    def listening(value: Any) -> Any:
        nonlocal puts
        puts += 1
        if puts == 2:
            work.call.first_chunk()
            _restore(streamer, own)
        return put(value)

    streamer.put = listening


@never_break_the_host("leaving a streamer as it was")
def _restore(streamer: Any, own: Any) -> None:
    if own is None:
        del streamer.put
    else:
        streamer.put = own


def _given_to(model: Any, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    """Return the tensor that holds the input's tokens or their embeddings; None where the input is something else."""
    embeddings = named.get("inputs_embeds")
    if embeddings is not None:
        return embeddings
    ids = named.get("input_ids")
    if ids is None and getattr(model, "main_input_name", "") == "input_ids":
        ids = arguments[0] if arguments else named.get("inputs")
    return ids


def _ids_of(ids: Any) -> tuple[int, ...]:
    if ids is None:
        return ()
    if hasattr(ids, "tolist"):
        ids = ids.tolist()
    return (ids,) if isinstance(ids, int) else tuple(ids)


def _first(ids: Any) -> int | None:
    return next(iter(_ids_of(ids)), None)
