"""vLLM's engine core: measures what each request uses of the GPUs, from the scheduler's steps. Tried with vLLM 0.32.

Hooked are

- `EngineArgs.create_engine_config`: an app that records hands its settings on to the engine, which may be another
  process;
- `Executor.__init__`: this is the process that has the engine; when its workers have loaded the model, it holds GPUs;
- `EngineCore.shutdown`: the process ends, or is killed soon;
- `Scheduler.__init__`, `.schedule` (a step is issued), `.update_from_output` (it is done), `._free_request` (a request
  has ended, by itself or by an abort).

Workers and the front end have none of these, or never call them.

Tokens from the prefix cache are not scheduled, and cost nothing but being attended to; guesses of speculative decoding
are scheduled, and paid for whether they are accepted or not; what a preemption threw away is computed, and paid for,
again; a request with `n` answers is `n` requests with one response id, the first of which counts the tokens of the
input; each rank of data parallelism has its own engine core.

Not covered: executors whose workers are on other nodes (Ray) report no devices of theirs; steps that data parallelism
makes without a request are idle time; sessions that stream their input count the tokens of their last turn.
"""

from __future__ import annotations

import re
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from pennytrace import semconv
from pennytrace._calls import cost
from pennytrace._calls.call import Recorder
from pennytrace._calls.provider import NOTHING, Hook
from pennytrace._capacity import devices, holding
from pennytrace._capacity.devices import Device
from pennytrace._guard import never_break_the_host, tell_once
from pennytrace.engines import record
from pennytrace.engines.steps import Account, Part, Steps

PROVIDER: Final = "vllm"
_TOLD: Final = "_pennytrace_told"
_METER: Final = "_pennytrace_meter"

_CHILD: Final = re.compile(r"(\d+)_(.+)")
"""One of `n` answers: its number, and the id of the request (vllm/v1/engine/parallel_sampling.py)."""
_RANDOM: Final = re.compile(r"-[0-9a-f]{8}")
"""What vLLM adds to the id that a request came with (`assign_request_id` in vllm/v1/engine/input_processor.py)."""
_BEAM: Final = re.compile(r"-[0-9a-f]{32}-beam-\d+")
_PLACES: Final[Mapping[str, re.Pattern[str]]] = {
    "chatcmpl-": re.compile(r"(?<=-[0-9a-f]{16})_\d+|(?<=-[0-9a-f]{32})_\d+"),
    "cmpl-": re.compile(r"-\d+"),
    "resp_": re.compile(r"_\d+"),
    **dict.fromkeys(("embd-", "pooling-", "classify-"), re.compile(r"-\d+|-prompt-\d+-chunk-\d+")),
    "score-": re.compile(r"-(query|doc|\d+)(-\d+)?"),
}
"""What the front end adds for the parts of a request, by the prefix of the id that the client sees.

A chat's id may be the client's own (`X-Request-Id`), and end like that by itself.
"""
_OPERATIONS: Final[Mapping[str, str]] = {
    "chatcmpl-": "chat",
    "resp_": "chat",
    "embd-": "embeddings",
    "classify-": "classification",
    "score-": "rerank",
    "transcribe-": "transcription",
    "translate-": "translation",
}
_TASKS: Final[Mapping[str, str]] = {
    "embed": "embeddings",
    "token_embed": "embeddings",
    "classify": "classification",
    "token_classify": "classification",
}
_ERRORS: Final[Mapping[str, str]] = {"FINISHED_ABORTED": "aborted", "FINISHED_ERROR": "error"}


class Recording(NamedTuple):
    """How the process of an engine records."""

    recorder: Callable[[], Recorder | None]
    """Returns what records now, None while nothing does."""
    pool: str | None
    end: Callable[[], object] | None = None
    """Puts what there is out of harm's way, because the process is about to be killed; None where it is the app's."""


class Process(NamedTuple):
    """What the process that vLLM runs in says of recording."""

    told: Callable[[], Mapping[str, Any] | None]
    """Returns the settings of an app that records here, as plain values for another process."""
    begin: Callable[[Mapping[str, Any] | None], Recording]
    """Begins to record an engine that is in this process, with what `told` returned where its settings were made."""


class _Engine(NamedTuple):
    """An engine whose model is loaded."""

    config: weakref.ref[Any]
    recording: Recording
    devices: Sequence[Device]
    books: list[Steps]
    """Those of its schedulers, which is one."""
    readings: Callable[[], Mapping[str, float]]
    now: float
    """When its model was loaded, by the clock of steps: it is idle from then on."""
    wall: float

    def hold(self) -> None:
        """Let its devices be reported from now on, if they are not."""
        if self.devices:
            holding.hold(self.devices, self.readings)


class _Known:
    """A request, and what has been said of it."""

    __slots__ = ("preemptions", "read", "request", "written")

    def __init__(self, request: Any) -> None:
        self.request = request
        self.read = 0
        self.written = 0
        self.preemptions = 0


_process: Process | None = None
_engines: list[_Engine] = []


def use(process: Process) -> None:
    """Record, from now on, the engines that are made in this process."""
    global _process
    _process = process


class _Meter:
    """Between one scheduler and its books."""

    def __init__(self, scheduler: Any, engine: _Engine) -> None:
        config = scheduler.vllm_config
        self._cost = _cost(config) or cost.by_tokens(balance=_balance(config))
        self._scheduler = weakref.ref(scheduler)
        self._recorder = engine.recording.recorder
        self._hold = engine.hold
        self._model = _text(config.model_config.served_model_name)
        self._served = record.Served(
            engine=PROVIDER,
            gpu_model=engine.devices[0].model if engine.devices else None,
            gpus=_gpus(config),
            pool=engine.recording.pool,
            method=self._cost.method,
        )
        self.steps = Steps(
            gpus=self._served.gpus,
            cost=self._cost,
            opened=self._opened,
            report=self._report,
            now=engine.now,
            wall=engine.wall,
        )

    def issued(self, output: Any) -> None:
        """Note a step by what the scheduler decided."""
        cached = output.scheduled_cached_reqs
        ids, before = cached.req_ids, cached.num_computed_tokens
        new = output.scheduled_new_reqs
        if new:
            ids = [*ids, *(request.req_id for request in new)]
            before = [*before, *(request.num_computed_tokens for request in new)]
        tokens, drafts = output.num_scheduled_tokens, output.scheduled_spec_decode_tokens
        self.steps.issued(
            output,
            ids=ids,
            scheduled=[1] * len(ids) if sum(tokens.values()) == len(ids) else [tokens[id] for id in ids],
            before=before,
            drafted=lambda id: len(drafts.get(id, ())),
            besides=self._encoded(output.scheduled_encoder_inputs, ids),
            now=time.perf_counter(),
        )

    def _encoded(self, inputs: Mapping[str, Sequence[int]], ids: Sequence[str]) -> Sequence[tuple[int, int]]:
        if not inputs:
            return ()
        requests = self._requests()
        return [
            (ids.index(id), sum(map(requests[id].get_num_encoder_embeds, places)))
            for id, places in inputs.items()
        ]

    def _requests(self) -> Mapping[str, Any]:
        scheduler = self._scheduler()
        return NOTHING if scheduler is None else scheduler.requests

    def _opened(self, id: str) -> Account:
        request = self._requests()[id]
        return Account(_Known(request), prompt=request.num_prompt_tokens, arrived=request.arrival_time)

    def _report(self, account: Account, part: Part) -> None:
        recorder = self._recorder()
        if recorder is not None:
            self._hold()  # again, because the app may have stopped and begun to record since
            request = self._described(account, part)
            recorder.delivery.put(partial(record.encoded, recorder, self._served, request, part))

    def _described(self, account: Account, part: Part) -> record.Request:
        known: _Known = account.request
        request = known.request
        id, answer = known_as(request.request_id)
        ran = account.cached is not None
        is_read_for_all = ran and not answer  # the input of `n` answers is what the client pays for once
        read, written = min(account.prompt, account.computed), request.num_output_tokens
        described = record.Request(
            operation=operation(id, getattr(request.pooling_params, "task", None)),
            model=self._model if request.lora_request is None else _text(request.lora_request.lora_name),
            id=None if id.isdigit() else id,  # `LLM` only counts its requests
            input_tokens=read - known.read if is_read_for_all else None,
            cached_tokens=account.cached if is_read_for_all and part.waited is not None else None,
            output_tokens=written - known.written if ran and request.pooling_params is None else None,
            preemptions=request.num_preemptions - known.preemptions,
            confidence=semconv.HIGH if account.alone else self._cost.confidence,
            error=_error(request) if account.over else None,
            headers={name.lower(): value for name, value in (request.trace_headers or NOTHING).items()},
        )
        known.read, known.written, known.preemptions = read, written, request.num_preemptions
        return described


def known_as(request_id: str) -> tuple[str, int]:
    """Return the id that the client of a request saw, and which of its `n` answers this is, from 0 on.

    Args:
        request_id: The engine core's own id of it.
    """
    child = _CHILD.fullmatch(request_id)
    answer, id = (int(child[1]), child[2]) if child else (0, request_id)
    for ending in (_RANDOM, _BEAM, _places(id)):
        found = None if ending is None else _at_the_end(ending, id)
        id = id if found is None else id[: found.start()]
    return id, answer


def operation(id: str, task: str | None) -> str:
    """Return the value of `gen_ai.operation.name`, by the id that the client saw and the task of a pooling model."""
    for prefix, name in _OPERATIONS.items():
        if id.startswith(prefix):
            return name
    return "text_completion" if task is None else _TASKS.get(task, "embeddings")


def _places(id: str) -> re.Pattern[str] | None:
    return next((pattern for prefix, pattern in _PLACES.items() if id.startswith(prefix)), None)


def _at_the_end(pattern: re.Pattern[str], id: str) -> re.Match[str] | None:
    return next((found for found in pattern.finditer(id) if found.end() == len(id)), None)


def _error(request: Any) -> str | None:
    status = request.status.name
    if status == "FINISHED_ABORTED" and getattr(request.sampling_params, "stop", None):
        return None  # the front end ends a request so, too, when it has found one of these texts
    return _ERRORS.get(status)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _gpus(config: Any) -> int:
    return max(1, int(config.parallel_config.world_size))


def _is_on_cpu(config: Any) -> bool:
    return str(config.device_config.device_type) == "cpu"


def _balance(config: Any) -> float:
    return cost.CPU if _is_on_cpu(config) else cost.GPU


@never_break_the_host("reading the model that vLLM serves")
def _cost(config: Any) -> cost.Cost | None:
    model = config.model_config
    of_a_number = float(model.dtype.itemsize)
    return cost.of_model(
        model.hf_text_config,
        balance=_balance(config),
        weight_bytes=cost.weight_bytes(model.quantization, of_a_number),
        cache_bytes=1.0 if "8" in str(config.cache_config.cache_dtype) else of_a_number,
    )


def _devices(config: Any) -> Sequence[Device]:
    """Return the devices of an engine, as far as they are of this machine."""
    parallel, count = config.parallel_config, _gpus(config)
    rank = parallel.data_parallel_rank_local or 0
    if _is_on_cpu(config):
        # Each rank has cores of its own, and counts as one: all of them together are not one device.
        whole = devices.cpu()
        return [
            replace(whole, id=f"{whole.id}/{n}") if n else whole
            for n in range(rank * count, (rank + 1) * count)
        ]
    if parallel.nnodes > 1 or "ray" in str(parallel.distributed_executor_backend):
        return ()
    chosen = parallel.assigned_physical_gpu_ids
    if chosen is None:
        found = devices.visible(to_this_process=True)[rank * count :][:count]
    else:
        seen = devices.visible()
        found = tuple(seen[place] for place in chosen if place < len(seen))
    return found or _as_vllm_sees(range(count) if chosen else range(rank * count, (rank + 1) * count)) or ()


@never_break_the_host("asking vLLM for its GPUs")
def _as_vllm_sees(places: Iterable[int]) -> Sequence[Device]:
    """Return devices without the driver's library, of which vLLM brings a copy of its own."""
    platform = sys.modules["vllm.platforms"].current_platform
    return [
        Device(id=platform.get_device_uuid(place), model=platform.get_device_name(place)) for place in places
    ]


def _config_made(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    config = wrapped(*args, **kwargs)
    _tell(config)
    return config


@never_break_the_host("handing the settings on to vLLM's engine")
def _tell(config: Any) -> None:
    told = _process.told() if _process else None
    if told is not None:
        # Plain values: where they are unpickled there may be no pennytrace. VllmConfig has no slots.
        setattr(config, _TOLD, told)


def _executor_made(
    wrapped: Callable[..., Any], executor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    config = args[0] if args else kwargs.get("vllm_config")
    told = vars(config).pop(_TOLD, None) if hasattr(config, "__dict__") else None  # not for the workers
    made = wrapped(*args, **kwargs)
    # Not before, because executors fork their workers, and what we begin here has threads.
    _begin(config, told)
    return made


@never_break_the_host("beginning to measure vLLM's engine")
def _begin(config: Any, told: Mapping[str, Any] | None) -> None:
    if _process is None:
        return
    books: list[Steps] = []
    recording = _process.begin(told)
    engine = _Engine(
        config=weakref.ref(config),
        recording=recording,
        devices=_devices(config),
        books=books,
        readings=partial(_so_far, books),
        now=time.perf_counter(),
        wall=time.time(),
    )
    _engines[:] = [*(other for other in _engines if other.config() is not None), engine]
    engine.hold()


def _so_far(books: Sequence[Steps]) -> Mapping[str, float]:
    totals = [steps.totals(time.perf_counter()) for steps in books]
    return {
        semconv.GPU_BUSY_METRIC: sum(each.busy for each in totals),
        semconv.GPU_IDLE_METRIC: sum(each.idle for each in totals),
    }


def _scheduler_made(
    wrapped: Callable[..., Any], scheduler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    made = wrapped(*args, **kwargs)
    _open_books(scheduler)
    return made


@never_break_the_host("opening the books of vLLM's engine")
def _open_books(scheduler: Any) -> None:
    for engine in _engines:
        if engine.config() is scheduler.vllm_config:
            meter = _Meter(scheduler, engine)
            engine.books.append(meter.steps)
            setattr(scheduler, _METER, meter)
            weakref.finalize(scheduler, _close_books, meter.steps).atexit = False


def _close_books(steps: Steps) -> None:
    steps.close(now=time.perf_counter())


def _schedule(
    wrapped: Callable[..., Any], scheduler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    output = wrapped(*args, **kwargs)
    meter = getattr(scheduler, _METER, None)
    if meter is not None and not _issued(meter, output):
        _give_up(scheduler)
    return output


def _update(
    wrapped: Callable[..., Any], scheduler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    meter = getattr(scheduler, _METER, None)
    if meter is not None and not _done(meter, args[0] if args else kwargs.get("scheduler_output")):
        _give_up(scheduler)
    return wrapped(*args, **kwargs)


def _free(wrapped: Callable[..., Any], scheduler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    meter = getattr(scheduler, _METER, None)
    if meter is not None and not _ended(meter, args[0] if args else kwargs.get("request")):
        _give_up(scheduler)
    return wrapped(*args, **kwargs)


@never_break_the_host("measuring a step of vLLM's engine")
def _issued(meter: _Meter, output: Any) -> bool:
    meter.issued(output)
    return True


@never_break_the_host("charging a step of vLLM's engine")
def _done(meter: _Meter, output: Any) -> bool:
    meter.steps.done(output, now=time.perf_counter(), wall=time.time())
    return True


@never_break_the_host("measuring a request of vLLM's engine")
def _ended(meter: _Meter, request: Any) -> bool:
    meter.steps.end(request.request_id, wall=time.time())
    return True


def _give_up(scheduler: Any) -> None:
    """Measure nothing more of an engine whose inside is not what we know: half of it would be wrong."""
    setattr(scheduler, _METER, None)
    tell_once(
        "vllm's engine", "pennytrace does not know the inside of this vLLM; its GPU time is not measured"
    )


def _shut_down(wrapped: Callable[..., Any], core: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    _deliver(getattr(core, "vllm_config", None))
    return wrapped(*args, **kwargs)


@never_break_the_host("delivering the last of vLLM's engine")
def _deliver(config: Any) -> None:
    # vLLM's front end kills this process at once or, for `LLM`, when its workers take more than 5 seconds to end.
    for engine in _engines:
        if engine.config() is not config:
            continue
        for steps in engine.books:
            steps.report()
        if engine.recording.end is not None:
            engine.recording.end()


_SCHEDULER: Final = "vllm.v1.core.sched.scheduler"

HOOKS: Final[Sequence[Hook]] = (
    Hook("vllm.engine.arg_utils", "EngineArgs.create_engine_config", _config_made, optional=True),
    Hook("vllm.v1.engine.core", "EngineCore.shutdown", _shut_down, optional=True),
    Hook("vllm.v1.executor.abstract", "Executor.__init__", _executor_made),
    Hook(_SCHEDULER, "Scheduler.__init__", _scheduler_made),
    Hook(_SCHEDULER, "Scheduler.schedule", _schedule),
    Hook(_SCHEDULER, "Scheduler.update_from_output", _update),
    Hook(_SCHEDULER, "Scheduler._free_request", _free),
)
