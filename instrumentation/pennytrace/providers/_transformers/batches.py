"""Continuous batching: a step is shared among the requests in it, and each request is a call of who has added it.

The model runs in a thread of the library's, step by step, with tokens of many requests in each. A request has, of the
time of a step on the devices, its part of the sum of all weights (`_calls.cost`). So the shares of a step sum to the
step, and what is between steps, and warming up, is nobody's.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from pennytrace import semconv
from pennytrace._calls import cost, device_time
from pennytrace._calls.device_time import Timed, Timing
from pennytrace._calls.ending import end_with_the_process
from pennytrace._calls.provider import Provider
from pennytrace._guard import never_break_the_host
from pennytrace.providers._transformers.models import devices_of
from pennytrace.providers._transformers.work import Begun, begin, outcome

OPERATION: Final = "generate_batch"
_SIBLING: Final = "__child#"
"""Between the id of a request and the number of a further sequence that it asked for."""
_CANCELLED: Final = "cancelled"
_FAILED: Final = "failed"


class _Member(NamedTuple):
    """A request in a step."""

    request: _Request | None
    """None when it is not recorded: it has its share all the same."""
    is_prefill: bool
    weight: float


class _Request:
    """What is known of a request; the lock of its ledger is held by whoever changes it."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.begun: Begun | None = None
        self.prompt = 0
        self.sequences = 1
        self.added = time.perf_counter()
        self.waited: float | None = None
        self.cached: int | None = None
        self.prefill = 0.0
        self.decode = 0.0
        self.steps = 0
        """Steps that it is in, and whose time is not known."""
        self.written: dict[str, int] = {}
        """Tokens of each of its sequences so far, by id."""
        self.ended = 0
        """Sequences that are complete, or given up."""
        self.error: str | None = None
        self.method = semconv.BY_TOKENS
        self.confidence = semconv.HIGH

    def scheduled(self, id: str, before: int, writes: bool) -> None:
        """Note that it is in a step that begins now.

        Args:
            id: Of the sequence.
            before: Tokens of it that were computed before.
            writes: Whether the step ends with a new token of it.
        """
        if self.waited is None:
            self.waited, self.cached = time.perf_counter() - self.added, before
        self.steps += 1
        self.written[id] = self.written.get(id, 0) + writes

    def charge(self, seconds: float, *, is_prefill: bool, method: str, confidence: str) -> None:
        """Charge a step that is done."""
        self.steps -= 1
        self.method = method
        if is_prefill:
            self.prefill += seconds
        else:
            self.decode += seconds
        if confidence != semconv.HIGH and self.confidence != semconv.LOW:
            self.confidence = confidence

    @property
    def is_over(self) -> bool:
        """Whether all of it has ended; it may still be charged for steps."""
        return self.ended >= self.sequences

    def end(self, error: BaseException | None = None, *, complete: bool = False) -> None:
        """End its call with what is known; only the first time counts."""
        begun = self.begun
        if begun is None:
            return
        how = Timed(self.prefill + self.decode, self.prefill, self.method, self.confidence)
        end = outcome(begun, self._usage(begun.model.ranks), how, self.error)
        begun.call.finish(lambda: (end,))

    def disown(self) -> None:
        """Leave its call to the process that began it."""
        if self.begun is not None:
            self.begun.call.disown()

    def _usage(self, ranks: int) -> Mapping[str, int | float]:
        usage: dict[str, int | float] = {
            semconv.INPUT_TOKENS: self.prompt,
            semconv.OUTPUT_TOKENS: sum(self.written.values()),
            semconv.GPU_SECONDS: (self.prefill + self.decode) * ranks,
            semconv.GPU_PREFILL_SECONDS: self.prefill * ranks,
            semconv.GPU_DECODE_SECONDS: self.decode * ranks,
        }
        if self.waited is not None:
            usage[semconv.QUEUE_SECONDS] = self.waited
        if self.cached:
            usage[semconv.CACHE_READ_INPUT_TOKENS] = self.cached
        return usage


class _Ledger:
    """The requests of one manager."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.cancelled: set[str] = set()
        self.cost: cost.Cost | None = None
        """How the model's steps are shared; None until the first of them."""
        self._adding = 0
        self._requests: dict[str, _Request] = {}

    def of(self, id: str) -> _Request | None:
        """Return what is known of a request; None when it is not recorded."""
        name = id.partition(_SIBLING)[0]
        request = self._requests.get(name)
        if request is None and self._adding:  # its id is told to who adds it only after it may have begun
            request = self._requests[name] = _Request(name)
        return request

    def adding(self) -> None:
        """Expect requests that nobody has told of."""
        with self.lock:
            self._adding += 1

    def added(self, id: str | None, begun: Begun, prompt: int, sequences: int) -> None:
        """Note whose a request is, which has been added if it has an id."""
        with self.lock:
            request = None if id is None else self.of(id)
            self._adding -= 1
            if not self._adding:
                self._forget_the_unknown(request)
            if request is None:
                begun.call.disown()
                return
            request.begun, request.prompt, request.sequences = begun, prompt, sequences
            end_with_the_process(request)
            self._close(request)

    def _forget_the_unknown(self, but: _Request | None) -> None:
        known = self._requests.items()
        self._requests = {id: one for id, one in known if one.begun is not None or one is but}

    def ended(self, id: str, written: int | None, error: str | None) -> None:
        """Note that a sequence has ended, with so many tokens where that is known."""
        with self.lock:
            request = self.of(id)
            if request is None:
                return
            request.ended += 1
            request.error = request.error or error
            if written is not None:
                request.written[id] = written
            self._close(request)

    def charge(self, members: Sequence[_Member], by: cost.Cost, timed: Timed) -> None:
        """Share the time of a step among those that were in it."""
        each = timed.seconds / sum(member.weight for member in members)
        alone = len({id(member.request) for member in members}) == 1
        confidence = by.confidence if not alone and timed.confidence != semconv.LOW else timed.confidence
        with self.lock:
            for request, is_prefill, weight in members:
                if request is not None:
                    request.charge(
                        each * weight, is_prefill=is_prefill, method=by.method, confidence=confidence
                    )
                    self._close(request)

    def _close(self, request: _Request) -> None:
        """End the call of a request that is over, when the time of its last step is known."""
        if request.begun is not None and request.is_over:
            request.begun.call.over()
            if not request.steps:
                self._requests.pop(request.id, None)
                request.end()


_ledgers: WeakKeyDictionary[Any, _Ledger] = WeakKeyDictionary()
"""By what a manager delivers outputs with: all that has to do with requests knows it."""


def add(
    provider: Provider,
    wrapped: Callable[..., Any],
    manager: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Take the place of `ContinuousBatchingManager.add_request`, which runs where the request comes from."""
    begun = _begin(provider, manager, kwargs)
    if begun is None:
        return wrapped(*args, **kwargs)
    id = None
    try:
        id = wrapped(*args, **kwargs)
    finally:
        _added(manager, begun, id, args, kwargs)
    return id


def cancel(wrapped: Callable[..., Any], manager: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Take the place of `ContinuousBatchingManager.cancel_request`."""
    result = wrapped(*args, **kwargs)
    _cancel(manager, args[0] if args else kwargs.get("request_id"))
    return result


def prepare(
    wrapped: Callable[..., Any], processor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Take the place of `ContinuousBatchProcessor.prepare_next_batch`, which leaves out what was cancelled."""
    result = wrapped(*args, **kwargs)
    _leave_out(processor)
    return result


def step(wrapped: Callable[..., Any], processor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Take the place of `ContinuousBatchProcessor._generation_step`."""
    begun = _begin_step(processor, args[0] if args else kwargs.get("model"))
    try:
        return wrapped(*args, **kwargs)
    finally:
        if begun is not None:
            _end_step(*begun)


def deliver(wrapped: Callable[..., Any], router: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Take the place of `OutputRouter.deliver`."""
    _delivered(router, (args[0] if args else kwargs.get("output"),))
    return wrapped(*args, **kwargs)


def deliver_batch(
    wrapped: Callable[..., Any], router: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Take the place of `OutputRouter.deliver_batch`."""
    _delivered(router, args[0] if args else kwargs.get("outputs", ()))
    return wrapped(*args, **kwargs)


@never_break_the_host("beginning a request of continuous batching")
def _begin(provider: Provider, manager: Any, kwargs: Mapping[str, Any]) -> Begun | None:
    begun = begin(provider, OPERATION, manager.model, stream=bool(kwargs.get("streaming")))
    if begun is not None:
        _ledgers.setdefault(manager.output_router, _Ledger()).adding()
    return begun


@never_break_the_host("recording a request of continuous batching")
def _added(
    manager: Any, begun: Begun, id: str | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    ids = args[0] if args else kwargs.get("input_ids", ())
    _ledgers[manager.output_router].added(id, begun, len(ids), manager.num_return_sequences)


@never_break_the_host("cancelling a request of continuous batching")
def _cancel(manager: Any, id: Any) -> None:
    ledger = _ledgers.get(manager.output_router)
    if ledger is not None:
        with ledger.lock:
            ledger.cancelled.add(id)


@never_break_the_host("leaving out cancelled requests of continuous batching")
def _leave_out(processor: Any) -> None:
    ledger = _ledgers.get(processor.output_router)
    if ledger is None or not ledger.cancelled:
        return
    gone = {id for id in [*ledger.cancelled] if processor.scheduler.request_is_cancelled(id)}
    for id in gone:
        ledger.ended(id, None, _CANCELLED)
    with ledger.lock:
        ledger.cancelled -= gone


@never_break_the_host("beginning a step of continuous batching")
def _begin_step(processor: Any, model: Any) -> tuple[_Ledger, Sequence[_Member], cost.Cost, Timing] | None:
    ledger = _ledgers.get(processor.output_router)
    if ledger is None:
        return None
    devices = devices_of(model)
    by = ledger.cost = ledger.cost or _cost(model, devices[0])
    members = _members(ledger, _in_this_step(processor.inputs_and_outputs), by)
    if all(member.request is None for member in members):
        return None
    timing = device_time.begin(devices, getattr(processor.inputs_and_outputs, "compute_stream", None))
    return ledger, members, by, timing


def _cost(model: Any, device: Any) -> cost.Cost:
    balance = cost.CPU if device.type == "cpu" else cost.GPU
    size = getattr(getattr(model, "dtype", None), "itemsize", None)
    text = getattr(model.config, "get_text_config", lambda: model.config)()
    found = size and cost.of_model(text, balance=balance, weight_bytes=size, cache_bytes=size)
    return found or cost.by_tokens(balance=balance)


@never_break_the_host("ending a step of continuous batching")
def _end_step(ledger: _Ledger, members: Sequence[_Member], by: cost.Cost, timing: Timing) -> None:
    timing.stop(functools.partial(ledger.charge, members, by))


@never_break_the_host("reading what continuous batching delivers")
def _delivered(router: Any, outputs: Sequence[Any]) -> None:
    ledger = _ledgers.get(router)
    if ledger is None:
        return
    for output in outputs:
        _note_first(ledger, output)
        if output.is_finished():
            error = None if output.error is None else _FAILED
            ledger.ended(output.request_id, len(output.generated_tokens), error)


def _note_first(ledger: _Ledger, output: Any) -> None:
    """Note when the first token of a streamed request was there."""
    with ledger.lock:
        request = ledger.of(output.request_id)
        if request is None or request.begun is None or len(output.generated_tokens) != 1:
            return
        if request.begun.call.request.stream:
            request.begun.call.first_chunk()


def _in_this_step(ios: Any) -> Sequence[Any]:
    pairs = getattr(ios, "io_pairs", None)  # of which one is prepared while the device works on the other
    return tuple((ios if pairs is None else pairs[ios.current_pair].host_io).requests_in_batch)


def _members(ledger: _Ledger, batch: Sequence[Any], by: cost.Cost) -> Sequence[_Member]:
    tokens = [one.query_length for one in batch]
    before = [one.state.position_offset - own for one, own in zip(batch, tokens, strict=True)]
    members = []
    with ledger.lock:
        for one, ahead, weight in zip(batch, before, by.weights(tokens, before, sum(tokens)), strict=True):
            request = ledger.of(one.state.request_id)
            if request is not None:
                request.scheduled(one.state.request_id, ahead, one.has_new_token)
            members.append(_Member(request, ahead < len(one.state.initial_tokens), weight))
    return members
