"""What `pennytrace doctor` looks at on the app's side."""

from __future__ import annotations

import inspect
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Any, Final

from pennytrace._calls.provider import Hook, Provider
from pennytrace._capacity.devices import missing, visible
from pennytrace._delivery.cargo import CALLS, READINGS, Cargo
from pennytrace._delivery.ledger import NAME as LEDGER
from pennytrace._delivery.ledger import kept
from pennytrace._delivery.losses import Loss
from pennytrace._delivery.spool import Spool
from pennytrace._setup.lifecycle import discover
from pennytrace._setup.parse import base_url
from pennytrace._setup.settings import Settings, is_disabled, problems, resolve
from pennytrace._version import __version__
from pennytrace.finding import Finding

_PATIENCE: Final = 3.0  # seconds
_GRPC_PORT: Final = 4317
_INSTRUMENTORS: Final = "opentelemetry_instrumentor"


def environment() -> Sequence[Finding]:
    """Check the variables that are set."""
    found = [
        Finding(area="settings", state="failure", what=problem, advice="correct it; it is ignored until then")
        for problem in problems()
    ]
    if is_disabled():
        switched_off = "switched off by PENNYTRACE_DISABLED or OTEL_SDK_DISABLED"
        found.append(
            Finding(area="settings", state="warning", what=switched_off, advice="unset it to record")
        )
    return found or [Finding(area="settings", state="ok", what="every variable that is set can be used")]


def versions() -> Sequence[Finding]:
    """Say which versions are at work."""
    what = f"pennytrace {__version__}, Python {platform.python_version()}, opentelemetry-api "
    return [Finding(area="versions", state="ok", what=what + (_version("opentelemetry-api") or "missing"))]


def libraries() -> Sequence[Finding]:
    """Check that the methods which are wrapped are where they are expected."""
    return list(dict.fromkeys(map(_library, discover())))  # a library with several providers is named once


def others() -> Sequence[Finding]:
    """Name the other instrumentations of the same client libraries."""
    names = {provider.id for provider in discover()}
    found = [entry for entry in entry_points(group=_INSTRUMENTORS) if entry.name in names]
    return [
        Finding(
            area="others",
            state="warning",
            what=f"{entry.dist.name if entry.dist else entry.module} instruments {entry.name} too",
            advice="both work; send only one of them to the collector, or calls are charged twice",
        )
        for entry in found
    ]


def collector() -> Sequence[Finding]:
    """Check that somebody takes what is sent."""
    settings = resolve({})
    url = base_url(settings.url)
    try:
        status = _get_status(f"{url}/health", settings)
    except OSError as error:
        return [_unreachable(url, error)]
    if status == 200:
        return [Finding(area="endpoint", state="ok", what=f"{url} accepts")]
    what = f"{url}/health answered {status}"
    advice = "a pennytrace collector answers 200 there; another OTLP receiver may not, and works all the same"
    return [Finding(area="endpoint", state="warning", what=what, advice=advice)]


def spool() -> Sequence[Finding]:
    """Say what waits for the collector on disk, and what was lost on the way to it."""
    settings = resolve({})
    if settings.spool is None:
        what = "there is none: what the collector does not take waits in memory, and ends with the process"
        return [Finding(area="spool", state="ok", what=what)]
    places = [(CALLS, settings.url), (READINGS, settings.metrics_url)]
    try:
        return [
            finding
            for cargo, url in places
            for finding in _in_spool(cargo, Spool(settings.spool, url, limit=settings.spool_size))
        ]
    except OSError as error:
        advice = "let this user write there, or point PENNYTRACE_SPOOL at another folder"
        return [Finding(area="spool", state="failure", what=f"it cannot be used: {error}", advice=advice)]


def gpus() -> Sequence[Finding]:
    """Say which GPUs are seen here, and who reports that they are held."""
    models = Counter(device.model for device in visible())
    if not models:
        reasons = "; ".join(f"{one.library}: {one.reason}" for one in missing())
        return [Finding(area="gpus", state="ok", what=f"none is seen here ({reasons})")]
    what = ", ".join(f"{count} {model}" for model, count in models.items())
    who = (
        "each process with pennytrace that runs a model on them reports them while it lives,"
        " `pennytrace gpu-agent` at any time"
    )
    return [Finding(area="gpus", state="ok", what=f"{what}: {who}")]


CHECKS: Final[Sequence[Callable[[], Sequence[Finding]]]] = (
    versions,
    environment,
    libraries,
    others,
    collector,
    spool,
    gpus,
)
"""All checks, in the order in which they are shown."""


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _library(provider: Provider) -> Finding:
    # By its distribution: that a module of its name is there says nothing, `google` is there with protobuf.
    name, installed = provider.distribution, _version(provider.distribution)
    if installed is None:
        return Finding(area=name, state="ok", what="not installed: nothing to record")
    hooks = provider.shape.hooks(provider)
    missing = [f"{hook.module}.{hook.name}" for hook in hooks if not hook.optional and not _is_there(hook)]
    if not missing:
        return Finding(area=name, state="ok", what=f"{name} {installed}: every call will be seen")
    return Finding(
        area=name,
        state="failure",
        what=f"{name} {installed} has no {', '.join(missing)}: its calls cannot be seen",
        advice=f"use a version of {name} that this pennytrace knows, or a newer pennytrace",
    )


def _is_there(hook: Hook) -> bool:
    thing: Any
    try:
        thing = import_module(hook.module)
        for step in hook.name.split("."):
            thing = inspect.getattr_static(thing, step)
    except (ImportError, AttributeError):
        return False
    return callable(thing)


def _in_spool(cargo: Cargo, here: Spool) -> Iterator[Finding]:
    if cargo is CALLS or os.path.isdir(here.folder):  # most processes have no GPUs to tell of
        yield _waiting(cargo, here)
        yield from (_lost(cargo, here.folder, loss) for loss in kept(here.folder))


def _waiting(cargo: Cargo, here: Spool) -> Finding:
    entries = here.entries()
    number = sum(entry.calls for entry in entries)
    if not number:
        return Finding(
            area="spool", state="ok", what=f"no {cargo.name.removesuffix('s')} waits in {here.folder}"
        )
    what = f"{number:,} {cargo.name} wait in {here.folder}, the oldest since {_moment(entries[0].since_ns)}"
    advice = "an app that runs sends them by itself as soon as the endpoint accepts"
    return Finding(area="spool", state="warning", what=what, advice=advice)


def _lost(cargo: Cargo, folder: str, loss: Loss) -> Finding:
    what = f"{loss.calls:,} {cargo.name} lost since {_moment(loss.since_ns)} ({loss.reason}): {loss.detail}"
    advice = f"they are in no report; remove {os.path.join(folder, LEDGER)} to forget them"
    return Finding(area="spool", state="warning", what=what, advice=advice)


def _moment(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, tz=UTC).isoformat(sep=" ", timespec="seconds")


def _get_status(url: str, settings: Settings) -> int:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    try:
        request = Request(url, headers=dict(settings.headers))
        context = settings.papers.context() if url.startswith("https:") else None
        with urlopen(request, timeout=_PATIENCE, context=context) as response:
            return int(response.status)
    except HTTPError as error:
        return error.code


def _unreachable(url: str, error: OSError) -> Finding:
    advice = "start one with `pennytrace collect`, or point PENNYTRACE_ENDPOINT at yours"
    if f":{_GRPC_PORT}" in url:
        advice = (
            f"port {_GRPC_PORT} is OTLP over gRPC; pennytrace speaks OTLP over HTTP, usually on port 4318"
        )
    reason = getattr(error, "reason", error)
    return Finding(area="endpoint", state="failure", what=f"{url} does not answer: {reason}", advice=advice)
