"""What vLLM loads in each of its processes: the entry point `vllm.general_plugins`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final

from pennytrace._attribution import identity
from pennytrace._calls import active
from pennytrace._calls.call import Recorder
from pennytrace._capacity import holding
from pennytrace._capacity.heartbeat import Heartbeat
from pennytrace._guard import logger, never_break_the_host
from pennytrace._setup import lifecycle
from pennytrace._setup.patch import Patches
from pennytrace._setup.settings import Settings, is_disabled, problems, resolve
from pennytrace.engines import vllm, vllm_frontend

_SERVICE: Final = "vllm"  # of an engine that nobody has named
# Seconds that records wait for others: not long, because vLLM's front end kills the engine's process without notice.
_PAUSE: Final = 0.05

_placed: Patches | None = None


def register() -> None:
    """Measure the engine, if vLLM makes one in this process; it may be called again, and never raises.

    `pennytrace.init` is not called: the clients of an app are its own, and an engine needs none of them.
    """
    _register()


@never_break_the_host("preparing to measure vLLM's engine")
def _register() -> None:
    global _placed
    if _placed is not None or is_disabled():
        return
    vllm.use(vllm.Process(told=_told, begin=_begin))
    _placed = Patches([*vllm.HOOKS, *vllm_frontend.HOOKS])
    _placed.place()


def _told() -> Mapping[str, Any] | None:
    settings = lifecycle.in_use()
    return None if settings is None else asdict(settings)


def _begin(told: Mapping[str, Any] | None) -> vllm.Recording:
    in_use = lifecycle.in_use()
    if in_use is not None:  # an app that has the engine in its own process
        return vllm.Recording(lambda: active.recorder, in_use.gpu_pool)
    settings = _from_the_environment() if told is None else Settings(**told)
    identity.use(settings.hash_key)
    recorder = lifecycle.recorder_for(settings, pause=_PAUSE)
    heartbeat = lifecycle.heartbeat_for(settings)
    holding.use(heartbeat)
    return vllm.Recording(lambda: recorder, settings.gpu_pool, partial(_end, heartbeat, recorder))


@never_break_the_host("delivering the last of an engine")
def _end(heartbeat: Heartbeat, recorder: Recorder) -> None:
    # Without waiting: what is not accepted by now is on disk, and is being sent for as long as the process lives.
    recorder.delivery.flush(0.0)
    heartbeat.close(0.0)


def _from_the_environment() -> Settings:
    for problem in problems():
        logger.error("pennytrace ignores %s", problem)
    settings = resolve({})
    return settings if settings.service else replace(settings, service=_SERVICE)
