"""Stands in for vLLM where it is not installed: the classes that are hooked, and the field names that are read.

Imported in a process of its own, because it takes vLLM's place there. What a step holds, the test says.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

MODEL = {
    "num_hidden_layers": 2,
    "hidden_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 512,
    "vocab_size": 512,
}


class Config:
    """A VllmConfig."""

    def __init__(
        self,
        name: str = "tiny",
        *,
        model: dict[str, int] = MODEL,
        gpus: int = 1,
        rank: int = 0,
        device: str = "cpu",
    ) -> None:
        self.model_config = SimpleNamespace(
            served_model_name=name,
            hf_text_config=SimpleNamespace(**model),
            dtype=SimpleNamespace(itemsize=4),
            quantization=None,
        )
        self.cache_config = SimpleNamespace(cache_dtype="auto")
        self.device_config = SimpleNamespace(device_type=device)
        self.parallel_config = SimpleNamespace(
            world_size=gpus,
            data_parallel_rank_local=rank,
            nnodes=1,
            distributed_executor_backend="uni",
            assigned_physical_gpu_ids=None,
        )


class current_platform:  # lower case because vLLM's is an instance
    @staticmethod
    def get_device_uuid(device_id: int) -> str:
        return f"GPU-{device_id}"

    @staticmethod
    def get_device_name(device_id: int) -> str:
        return "NVIDIA Made-up"


class EngineArgs:
    def create_engine_config(self) -> Config:
        return Config()


class Executor:
    def __init__(self, vllm_config: Config) -> None:
        self.vllm_config = vllm_config


@dataclass
class Request:
    """A Request of the engine core."""

    request_id: str
    num_prompt_tokens: int = 10
    arrival_time: float = 0.0
    num_output_tokens: int = 0
    num_preemptions: int = 0
    lora_request: Any = None
    pooling_params: Any = None
    sampling_params: Any = None
    trace_headers: dict[str, str] | None = None
    status: Any = field(default_factory=lambda: SimpleNamespace(name="FINISHED_STOPPED"))
    embeds: int = 0

    def get_num_encoder_embeds(self, place: int) -> int:
        return self.embeds


class Scheduler:
    """A scheduler that does what it is told."""

    def __init__(self, vllm_config: Config) -> None:
        self.vllm_config = vllm_config
        self.requests: dict[str, Request] = {}
        self.next: Any = None
        self.spoil: Callable[[Any], object] = lambda output: None
        """Makes what is scheduled different from what it should be."""

    def schedule(self) -> Any:
        self.spoil(self.next)
        return self.next

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> dict[str, Any]:
        return {}

    def _free_request(self, request: Request) -> tuple[None, None]:
        del self.requests[request.request_id]
        return None, None


class AsyncScheduler(Scheduler):
    """One that inherits, as vLLM's own does."""


class EngineCore:
    """An engine, by hand: `issue` and `done` are its steps."""

    def __init__(self, config: Config, kind: type[Scheduler] = AsyncScheduler) -> None:
        self.vllm_config = config
        self.executor = Executor(config)
        self.scheduler = kind(vllm_config=config)

    def shutdown(self) -> None:
        return

    def add(self, *requests: Request) -> None:
        self.scheduler.requests.update({request.request_id: request for request in requests})

    def issue(self, new: dict[str, int], running: dict[str, tuple[int, int]] = {}, **more: Any) -> Any:  # noqa: B006
        """Schedule tokens of new requests, and of others with what was computed before."""
        cached = SimpleNamespace(
            req_ids=list(running), num_computed_tokens=[ahead for _, ahead in running.values()]
        )
        self.scheduler.next = SimpleNamespace(
            scheduled_new_reqs=[SimpleNamespace(req_id=id, num_computed_tokens=0) for id in new],
            scheduled_cached_reqs=cached,
            num_scheduled_tokens={**new, **{id: tokens for id, (tokens, _) in running.items()}},
            **{"scheduled_spec_decode_tokens": {}, "scheduled_encoder_inputs": {}, **more},
        )
        return self.scheduler.schedule()

    def done(self, output: Any) -> None:
        self.scheduler.update_from_output(output, None)

    def end(self, *ids: str, status: str = "FINISHED_STOPPED") -> None:
        for id in ids:
            request = self.scheduler.requests[id]
            request.status = SimpleNamespace(name=status)
            self.scheduler._free_request(request)


_MODULES: dict[str, dict[str, Any]] = {
    "vllm": {},
    "vllm.engine": {},
    "vllm.engine.arg_utils": {"EngineArgs": EngineArgs},
    "vllm.platforms": {"current_platform": current_platform},
    "vllm.v1": {},
    "vllm.v1.engine": {},
    "vllm.v1.engine.core": {"EngineCore": EngineCore},
    "vllm.v1.executor": {},
    "vllm.v1.executor.abstract": {"Executor": Executor},
    "vllm.v1.core": {},
    "vllm.v1.core.sched": {},
    "vllm.v1.core.sched.scheduler": {"Scheduler": Scheduler},
}
for path, names in _MODULES.items():
    module = sys.modules[path] = ModuleType(path)
    vars(module).update(names)
