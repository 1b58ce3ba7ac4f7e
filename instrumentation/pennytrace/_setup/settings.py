"""Puts together what `init` was given and what the environment says."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pennytrace import semconv
from pennytrace._attribution.identity import WITHHOLD
from pennytrace._attribution.propagation import KEYS
from pennytrace._attribution.tags import cleaned
from pennytrace._delivery.http import Papers
from pennytrace._delivery.spool import default_root
from pennytrace._setup.parse import (
    OFF,
    exact_url,
    hash_key,
    headers,
    is_yes,
    labels,
    metrics_url,
    name,
    pairs,
    queue_size,
    server_names,
    spool,
    spool_size,
    traces_url,
    travelling,
)
from pennytrace._setup.parse import host as host_of
from pennytrace.errors import ConfigurationError

Parser = Callable[[Any], Any]
Pairs = tuple[tuple[str, str], ...]

DEFAULT_URL: Final = "http://127.0.0.1:4318/v1/traces"
DEFAULT_QUEUE_SIZE: Final = 20_000
DEFAULT_SPOOL_SIZE: Final = 256 * 1024 * 1024
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})

ARGUMENTS: Final[Mapping[str, Parser]] = {
    "service": name,
    "environment": name,
    "endpoint": traces_url,
    "headers": headers,
    "feature": name,
    "team": name,
    "customer": name,
    "tags": labels,
    "queue_size": queue_size,
    "spool": spool,
    "spool_size": spool_size,
    "propagate": travelling,
    "engine_hosts": server_names,
    "gpu_pool": name,
}
"""How each argument of `init` is read."""

VARIABLES: Final[Mapping[str, Mapping[str, Parser]]] = {
    "service": {"PENNYTRACE_SERVICE": name, "OTEL_SERVICE_NAME": name},
    "environment": {"PENNYTRACE_ENVIRONMENT": name},
    "endpoint": {
        "PENNYTRACE_ENDPOINT": traces_url,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": exact_url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": traces_url,
    },
    "headers": {
        "PENNYTRACE_HEADERS": headers,
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": headers,
        "OTEL_EXPORTER_OTLP_HEADERS": headers,
    },
    "metrics_endpoint": {
        "PENNYTRACE_ENDPOINT": metrics_url,
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": exact_url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": metrics_url,
    },
    "metrics_headers": {
        "PENNYTRACE_HEADERS": headers,
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS": headers,
        "OTEL_EXPORTER_OTLP_HEADERS": headers,
    },
    "ca": {"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": name, "OTEL_EXPORTER_OTLP_CERTIFICATE": name},
    "certificate": {
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE": name,
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": name,
    },
    "key": {"OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY": name, "OTEL_EXPORTER_OTLP_CLIENT_KEY": name},
    "feature": {"PENNYTRACE_FEATURE": name},
    "team": {"PENNYTRACE_TEAM": name},
    "customer": {"PENNYTRACE_CUSTOMER": name},
    "tags": {"PENNYTRACE_TAGS": pairs},
    "queue_size": {"PENNYTRACE_QUEUE_SIZE": queue_size},
    "spool": {"PENNYTRACE_SPOOL": spool},
    "spool_size": {"PENNYTRACE_SPOOL_SIZE": spool_size},
    "propagate": {"PENNYTRACE_PROPAGATE": travelling},
    "engine_hosts": {"PENNYTRACE_ENGINE_HOSTS": server_names},
    "gpu_pool": {"PENNYTRACE_GPU_POOL": name},
    "hash_key": {"PENNYTRACE_HASH_KEY": hash_key},
    "resource": {"OTEL_RESOURCE_ATTRIBUTES": pairs},
}
"""Where each setting is looked for when `init` was not told, first to last, and how it is read there."""

SWITCHES: Final = ("PENNYTRACE_DISABLED", "OTEL_SDK_DISABLED")
"""Variables that switch everything off when they say `true`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that `init` can be told; two equal ones mean the same recorder."""

    service: str | None
    """None when nobody named it: the program's own name is taken."""
    environment: str | None
    url: str
    """The full URL that spans are posted to."""
    headers: Pairs = field(repr=False)
    metrics_url: str
    """The full URL that metrics of GPUs are posted to."""
    metrics_headers: Pairs = field(repr=False)
    papers: Papers
    """The files of TLS, for spans and for metrics."""
    defaults: Pairs
    """Feature, team, customer and tags that hold for the whole app, by attribute name."""
    resource: Pairs
    """The other attributes of OTEL_RESOURCE_ATTRIBUTES."""
    queue_size: int
    spool: str | None
    """The folder for calls that the collector does not take yet; None when there is none."""
    spool_size: int
    """Bytes."""
    propagate: tuple[str, ...]
    """The tags that travel to other services, by attribute name."""
    engine_hosts: tuple[str, ...] | None
    """Servers of one's own besides those in private places; None when no server is told who spends."""
    gpu_pool: str | None
    """Whose GPUs this process works on, as rates are named in the price file."""
    hash_key: str | None = field(repr=False)
    """None when user ids are sent as they are; `WITHHOLD` when a key is set that cannot be used."""

    @property
    def compress(self) -> bool:
        """Whether to spend CPU on compression: not for what stays on this machine."""
        return host_of(self.url) not in _LOOPBACK


def is_disabled(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a switch in the environment turns everything off."""
    return any(is_yes(environment.get(switch, "")) for switch in SWITCHES)


def resolve(given: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings: an argument wins over PENNYTRACE_*, and that over OpenTelemetry's own variables.

    Of a variable that cannot be used (`problems` names them), what would hold without it is taken: a wrong environment
    must not keep an app from starting.

    Args:
        given: The arguments of `init` by name; None is not given.
        environment: The variables to look in.

    Raises:
        ConfigurationError: An argument cannot be used.
    """
    found: dict[str, Any] = {
        setting: _first(variables, environment) for setting, variables in VARIABLES.items()
    }
    found.update(
        {argument: _argument(argument, value) for argument, value in given.items() if value is not None}
    )
    _let_metrics_go_beside(found, given)
    resource = dict(found["resource"] or ())
    service = resource.pop(semconv.SERVICE_NAME, None)
    stage = resource.pop(semconv.ENVIRONMENT, None)
    return Settings(
        service=found["service"] or service,
        environment=found["environment"] or stage,
        url=found["endpoint"] or DEFAULT_URL,
        headers=found["headers"] or (),
        metrics_url=found["metrics_endpoint"] or metrics_url(DEFAULT_URL),
        metrics_headers=found["metrics_headers"] or (),
        papers=Papers(found["ca"], found["certificate"], found["key"]),
        defaults=_defaults(found),
        resource=tuple(resource.items()),
        queue_size=found["queue_size"] or DEFAULT_QUEUE_SIZE,
        spool=None if found["spool"] == OFF else found["spool"] or default_root(environment),
        spool_size=found["spool_size"] or DEFAULT_SPOOL_SIZE,
        propagate=tuple(KEYS.values()) if found["propagate"] is None else found["propagate"],
        engine_hosts=() if found["engine_hosts"] is None else found["engine_hosts"] or None,
        gpu_pool=found["gpu_pool"],
        hash_key=found["hash_key"] or _no_key(environment),
    )


def problems(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return what is wrong with the variables that are set, as sentences that name them."""
    found = [
        _problem(variable, environment.get(variable), parse)
        for variables in VARIABLES.values()
        for variable, parse in variables.items()
    ]
    return list(dict.fromkeys(problem for problem in found if problem is not None))  # one may be read twice


def _let_metrics_go_beside(found: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Send metrics where spans go, unless there are variables for metrics; and no secret anywhere else."""
    told_where = given.get("endpoint") is not None
    if found["endpoint"] and (told_where or not found["metrics_endpoint"]):
        found["metrics_endpoint"] = metrics_url(found["endpoint"])
        found["metrics_headers"] = found["metrics_headers"] or found["headers"]
    if given.get("headers") is not None:
        found["metrics_headers"] = found["headers"]


def _first(variables: Mapping[str, Parser], environment: Mapping[str, str]) -> Any:
    for variable, parse in variables.items():
        value = environment.get(variable)
        if value and _problem(variable, value, parse) is None:
            return parse(value)
    return None


def _problem(variable: str, value: str | None, parse: Parser) -> str | None:
    try:
        if value or (value is not None and parse is hash_key):  # empty is as good as unset, but for a secret
            parse(value)
    except ValueError as error:
        return f"{variable}: {error}"
    return None


def _no_key(environment: Mapping[str, str]) -> str | None:
    # Somebody wanted no user's id to leave the process: a mistake in the key must not send them all.
    return WITHHOLD if any(variable in environment for variable in VARIABLES["hash_key"]) else None


def _argument(argument: str, value: Any) -> Any:
    try:
        return ARGUMENTS[argument](value)
    except ValueError as error:
        raise ConfigurationError(f"{argument}: {error}") from None


def _defaults(found: Mapping[str, Any]) -> Pairs:
    known = {
        semconv.FEATURE: found["feature"],
        semconv.TEAM: found["team"],
        semconv.CUSTOMER: found["customer"],
    }
    return tuple((cleaned(known, dict(found["tags"] or ())) or {}).items())
