"""Starts and stops the recording of a whole process."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Final

from . import _active, providers, semconv
from ._call import Recorder
from ._caller import main_module
from ._delivery import Delivery, QueuedDelivery
from ._guard import logger
from ._http import HttpTransport
from ._otlp import encode_resource, encode_scope
from ._parse import seconds
from ._patch import Patches
from ._provider import Hook, Provider
from ._settings import Settings, is_disabled, resolve
from ._version import __version__
from .errors import ConfigurationError

_PATIENCE: Final = 5.0  # seconds; what flush and shutdown wait when nobody says how long

# One at a time; reentrant, because an app may call `init` from what an import inside it sets off.
_changing = threading.RLock()
_settings: Settings | None = None
_patches: Patches | None = None


def init(
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

    Raises:
        ConfigurationError: An argument cannot be used. Variables that cannot be used are logged and ignored.
    """
    settings = resolve(dict(locals()))  # nothing but the arguments, by name
    if is_disabled():
        logger.info("pennytrace is switched off by the environment")
        return
    with _changing:
        _apply(settings)


def flush(timeout: float = _PATIENCE) -> bool:
    """Wait until the calls recorded so far have been accepted by the collector.

    Args:
        timeout: The longest to wait, in seconds.

    Returns:
        True when the collector has them all; False when time ran out or it refused some.

    Raises:
        ConfigurationError: `timeout` is not a number of at least 0.
    """
    patience = _seconds("timeout", timeout)
    recorder = _active.recorder
    return recorder is None or recorder.delivery.flush(patience)


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
    with _changing:
        delivery = _stop()
    return delivery is None or delivery.close(patience)


def discover() -> Sequence[Provider]:
    """Return the providers: one for each file in `providers`."""
    return [
        import_module(f"{providers.__name__}.{found.name}").PROVIDER
        for found in iter_modules(providers.__path__)
    ]


def hooks() -> Sequence[Hook]:
    """Return what is wrapped, over all providers."""
    return [hook for provider in discover() for hook in provider.shape.hooks(provider)]


def _apply(settings: Settings) -> None:
    global _settings, _patches
    if settings == _settings:
        return
    previous = _active.recorder
    _active.use(_recorder(settings))
    if previous is not None:
        previous.delivery.close(0.0)  # its sender goes on until it has delivered what it has
    if _patches is None:
        _patches = Patches(hooks())
    if _settings is None:
        _patches.place()
    _settings = settings


def _stop() -> Delivery | None:
    global _settings
    recorder = _active.recorder
    _active.use(None)
    _settings = None
    if _patches is not None:
        _patches.remove()
    return None if recorder is None else recorder.delivery


def _recorder(settings: Settings) -> Recorder:
    service = settings.service or main_module()
    transport = HttpTransport(
        settings.url,
        headers=dict(settings.headers),
        resource=encode_resource(_resource(settings, service)),
        scope=encode_scope(semconv.SCOPE_NAME, __version__),
        compress=settings.compress,
    )
    delivery = QueuedDelivery(transport, capacity=settings.queue_size)
    return Recorder(delivery=delivery, service=service, defaults=dict(settings.defaults))


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
