"""Starts and stops the recording of a whole process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from os import PathLike
from pkgutil import iter_modules
from typing import Any, Final

from pennytrace import providers, semconv
from pennytrace._attribution import carriage, identity, propagation
from pennytrace._attribution.caller import main_module
from pennytrace._calls import active, device_time, own_servers
from pennytrace._calls.call import Recorder
from pennytrace._calls.provider import Hook, Provider
from pennytrace._capacity import holding
from pennytrace._capacity.heartbeat import INTERVAL, Heartbeat
from pennytrace._delivery.body import Envelope
from pennytrace._delivery.cargo import READINGS
from pennytrace._delivery.exit import catch_sigterm, release_sigterm
from pennytrace._delivery.http import HttpTransport
from pennytrace._delivery.otlp import encode_resource, encode_scope
from pennytrace._delivery.queue import PAUSE, Delivery, QueuedDelivery
from pennytrace._delivery.spool import Spool
from pennytrace._guard import logger
from pennytrace._setup.parse import seconds
from pennytrace._setup.patch import Patches
from pennytrace._setup.settings import Settings, is_disabled, problems, resolve
from pennytrace._version import __version__
from pennytrace.errors import ConfigurationError

_PATIENCE: Final = 5.0  # seconds; what flush and shutdown wait when nobody says how long

# One at a time; reentrant, because an app may call `init` from what an import inside it sets off.
_changing = threading.RLock()
_settings: Settings | None = None
_patches: Patches | None = None


def init(  # noqa: PLR0913 - one argument for each setting, by name
    *,
    service: str | None = None,
    environment: str | None = None,
    endpoint: str | None = None,
    headers: Mapping[str, str] | None = None,
    feature: str | None = None,
    team: str | None = None,
    customer: str | None = None,
    tags: Mapping[str, str] | None = None,
    queue_size: int | None = None,
    spool: str | PathLike[str] | None = None,
    spool_size: str | int | None = None,
    propagate: str | Iterable[str] | None = None,
    engine_hosts: str | Iterable[str] | None = None,
    gpu_pool: str | None = None,
) -> None:
    """Record what every model call of this process uses, from now on.

    Works before and after the client libraries are imported, and for clients made before it. Calling it again
    changes the settings; with the same ones it does nothing. Each argument can be set by an environment
    variable instead: PENNYTRACE_ and its name in capitals, or OpenTelemetry's own where there is one.
    PENNYTRACE_DISABLED=true makes it do nothing.

    Args:
        service: The app's name (OTEL_SERVICE_NAME); its program's name by default.
        environment: `production`, `staging` and so on (`deployment.environment.name`).
        endpoint: The collector's base URL (OTEL_EXPORTER_OTLP_ENDPOINT); http://127.0.0.1:4318 by default.
        headers: HTTP headers for the collector (OTEL_EXPORTER_OTLP_HEADERS), for example for a token.
        feature: What calls count for that nothing in the code assigns to a feature.
        team: Who owns the app's calls, where no tag says otherwise.
        customer: On whose behalf they are made, where no tag says otherwise.
        tags: Further tags for every call.
        queue_size: Calls that may wait in memory for the collector, at 1.3 kB each; 20,000 by default.
        spool: The folder where calls wait while the collector does not take them, or `off`; one in the user's
            folder for state by default.
        spool_size: Bytes that may wait there, with k, M or G for more; 256M by default. The oldest go first.
        propagate: The tags that travel to other services and Celery tasks: some of `feature`, `team`,
            `customer` and `session`, which are the default, or `none`.
        engine_hosts: Servers that run an inference engine of yours, by name or pattern (`*.gpu.example.com`): they are
            told the same tags with each call, as those in private networks always are. `none` tells nobody.
        gpu_pool: The pool that this process's GPUs belong to, as rates are named in the price file.

    Raises:
        ConfigurationError: An argument cannot be used. Variables that cannot be used are logged and ignored.
    """
    settings = resolve(dict(locals()))  # nothing but the arguments, by name
    for problem in problems():
        logger.error("pennytrace ignores %s", problem)
    if is_disabled():
        logger.info("pennytrace is switched off by the environment")
        return
    with _changing:
        _apply(settings)


def flush(timeout: float = _PATIENCE) -> bool:
    """Wait until the calls recorded so far have been accepted by the collector.

    What it has not accepted by then is put on disk, so that nothing is in memory only: after a flush a process
    may be frozen or killed.

    Args:
        timeout: The longest to wait, in seconds.

    Returns:
        True when the collector has them all; False when time ran out or it refused some.

    Raises:
        ConfigurationError: `timeout` is not a number of at least 0.
    """
    patience = _seconds("timeout", timeout)
    until = time.monotonic() + patience
    recorder = active.recorder
    if recorder is None:
        return True
    device_time.wait(patience)  # for calls that are over, and whose devices are not
    return recorder.delivery.flush(max(0.0, until - time.monotonic()))


def shutdown(timeout: float = _PATIENCE) -> bool:
    """Stop recording, put the client libraries back as they were, and deliver what was recorded.

    Nothing is lost by leaving it out: the end of the process does the same. `init` starts again.

    Args:
        timeout: The longest to wait for the collector, in seconds.

    Returns:
        What `flush` would have.

    Raises:
        ConfigurationError: `timeout` is not a number of at least 0.
    """
    patience = _seconds("timeout", timeout)
    until = time.monotonic() + patience
    with _changing:
        delivery, heartbeat = _stop()
    device_time.wait(patience)
    delivered = delivery is None or delivery.close(max(0.0, until - time.monotonic()))
    if heartbeat is not None:
        heartbeat.close(max(0.0, until - time.monotonic()))
    with _changing:
        if _settings is None:
            release_sigterm()
    return delivered


def discover() -> Sequence[Provider]:
    """Return the providers: one for each file in `providers`."""
    return [
        import_module(f"{providers.__name__}.{found.name}").PROVIDER
        for found in iter_modules(providers.__path__)
        if not found.ispkg
    ]


def hooks() -> Sequence[Hook]:
    """Return what is wrapped, over all providers."""
    return [hook for provider in discover() for hook in provider.shape.hooks(provider)]


def _apply(settings: Settings) -> None:
    global _settings, _patches
    if settings == _settings:
        return
    previous = active.recorder
    identity.use(settings.hash_key)
    propagation.allow(settings.propagate)
    own_servers.use(settings.engine_hosts)
    active.use(recorder_for(settings))
    former = holding.use(heartbeat_for(settings))
    if settings.spool:
        catch_sigterm()
    if previous is not None:
        previous.delivery.close(0.0)  # its sender goes on until it has delivered what it has
    if former is not None:
        former.close(0.0)
    if _patches is None:
        _patches = Patches(hooks())
    if _settings is None:
        _patches.place()
        carriage.place()
    _settings = settings


def _stop() -> tuple[Delivery | None, Heartbeat | None]:
    global _settings
    recorder = active.recorder
    active.use(None)
    heartbeat = holding.use(None)
    _settings = None
    carriage.remove()
    if _patches is not None:
        _patches.remove()
    return None if recorder is None else recorder.delivery, heartbeat


def in_use() -> Settings | None:
    """Return the settings that this process records by, its service named; None while nothing is recorded."""
    settings = _settings
    return None if settings is None else replace(settings, service=settings.service or main_module())


def recorder_for(settings: Settings, *, pause: float = PAUSE) -> Recorder:
    """Return a recorder that delivers as these settings say, `pause` seconds after a call at the latest."""
    service = settings.service or main_module()
    delivery = QueuedDelivery(
        HttpTransport(
            settings.url, headers=dict(settings.headers), compress=settings.compress, papers=settings.papers
        ),
        Envelope(
            resource=encode_resource(_resource(settings, service)),
            scope=encode_scope(semconv.SCOPE_NAME, __version__),
        ),
        capacity=settings.queue_size,
        spool=Spool(settings.spool, settings.url, limit=settings.spool_size) if settings.spool else None,
        pause=pause,
    )
    return Recorder(
        delivery=delivery, service=service, defaults=dict(settings.defaults), gpu_pool=settings.gpu_pool
    )


def heartbeat_for(settings: Settings, *, interval: float = INTERVAL) -> Heartbeat:
    """Return a heartbeat that reports as these settings say, every `interval` seconds."""
    return Heartbeat(partial(_metrics_delivery, settings), pool=settings.gpu_pool, interval=interval)


def _metrics_delivery(settings: Settings, before_the_end: Callable[[], object]) -> QueuedDelivery:
    url = settings.metrics_url
    resource = {
        semconv.HOST_NAME: os.uname().nodename,
        **_resource(settings, settings.service or main_module()),
    }
    resource[semconv.SERVICE_INSTANCE_ID] = os.urandom(16).hex()
    return QueuedDelivery(
        HttpTransport(
            url,
            headers=dict(settings.metrics_headers),
            compress=settings.compress,
            optional=True,
            papers=settings.papers,
        ),
        Envelope(
            resource=encode_resource(resource),
            scope=encode_scope(semconv.SCOPE_NAME, __version__),
        ),
        capacity=settings.queue_size,
        spool=Spool(settings.spool, url, limit=settings.spool_size) if settings.spool else None,
        cargo=READINGS,
        before_the_end=before_the_end,
    )


def _resource(settings: Settings, service: str) -> dict[str, str]:
    resource = dict(settings.resource)
    resource[semconv.SERVICE_NAME] = service
    if settings.environment:
        resource[semconv.ENVIRONMENT] = settings.environment
    resource[semconv.TELEMETRY_SDK_NAME] = "pennytrace"
    resource[semconv.TELEMETRY_SDK_LANGUAGE] = "python"
    resource[semconv.TELEMETRY_SDK_VERSION] = __version__
    return resource


def _seconds(argument: str, value: Any) -> float:
    try:
        return seconds(value)
    except ValueError as error:
        raise ConfigurationError(f"{argument}: {error}") from None
