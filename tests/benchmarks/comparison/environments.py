"""Makes the virtual environments of the comparison: one for each peer, and a bare one for each openai in them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
BARE: Final = "bare"
_OTLP: Final = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
_VERSIONS: Final = """
import importlib.metadata, json
print(json.dumps({one.name.lower(): one.version for one in importlib.metadata.distributions()}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One way to record the calls of an app; `starts.py` says how it is started."""

    name: str
    package: str | None = None
    """Whose newest version is taken; what else is installed bends to it."""
    with_packages: tuple[str, ...] = ()
    content: bool = False
    """Whether it records prompts and completions unless it is told not to."""


PENNYTRACE: Final = Peer(name="pennytrace")
OTEL_SDK: Final = Peer(name="otel-sdk", with_packages=_OTLP)
PEERS: Final = (
    PENNYTRACE,
    OTEL_SDK,
    Peer(
        name="openai-v2",
        package="opentelemetry-instrumentation-openai-v2",
        # It imports what openai brings no longer, and what is gone from newer versions of util-genai.
        with_packages=(*_OTLP, "httpx", "opentelemetry-util-genai>=0.4b0,<1"),
    ),
    Peer(name="genai-openai", package="opentelemetry-instrumentation-genai-openai", with_packages=_OTLP),
    Peer(name="openlit", package="openlit", content=True),
    Peer(
        name="openllmetry", package="opentelemetry-instrumentation-openai", with_packages=_OTLP, content=True
    ),
    Peer(
        name="openinference",
        package="openinference-instrumentation-openai",
        with_packages=_OTLP,
        content=True,
    ),
    Peer(name="langfuse", package="langfuse", content=True),
)


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment that is there."""

    python: Path
    versions: Mapping[str, str] = field(compare=False)
    """Of everything in it, by name in small letters."""

    @property
    def openai(self) -> str:
        """The version of the client library."""
        return self.versions["openai"]


@dataclass(frozen=True, slots=True)
class Contestant:
    """A peer, where it runs, and where the same calls run without it."""

    peer: Peer
    environment: Environment
    bare: Environment

    @property
    def version(self) -> str:
        """The peer's own version; for the hand-written span, that of OpenTelemetry's SDK."""
        return self.environment.versions[self.peer.package or _VERSION_OF[self.peer.name]]


_VERSION_OF: Final = {PENNYTRACE.name: "pennytrace", OTEL_SDK.name: "opentelemetry-sdk"}


def contestants(peers: Sequence[Peer], folder: Path) -> list[Contestant]:
    """Return the peers, each in an environment under `folder`; what is there already is taken as it is.

    Raises:
        subprocess.CalledProcessError: uv could not make one; what it said is on the standard error.
    """
    made = [_made(peer, folder / peer.name) for peer in peers]
    versions = sorted({environment.openai for environment in made})
    bare = {
        version: _environment(folder / f"{BARE}-{version}", (f"openai=={version}",)) for version in versions
    }
    return [
        Contestant(peer, environment, bare[environment.openai])
        for peer, environment in zip(peers, made, strict=True)
    ]


def here() -> Environment:
    """Return the environment that this runs in: enough for pennytrace and the hand-written span."""
    return Environment(Path(sys.executable), _versions(Path(sys.executable)))


def _made(peer: Peer, place: Path) -> Environment:
    beside = ("openai", *peer.with_packages)
    if peer.name == PENNYTRACE.name:
        return _environment(place, ("--editable", str(ROOT), *beside))
    if peer.package is None:
        return _environment(place, beside)
    return _environment(place, beside, newest=peer.package)


def _environment(place: Path, packages: Sequence[str], *, newest: str | None = None) -> Environment:
    python, complete = place / "bin" / "python", place / ".complete"
    if not complete.exists():
        _uv("venv", "--clear", "--python", sys.executable, str(place))
        held = () if newest is None else _held(python, newest)
        _uv("pip", "install", "--python", str(python), *held, *packages)
        complete.touch()
    return Environment(python, _versions(python))


def _held(python: Path, package: str) -> tuple[str]:
    # Alone first: asked for together, uv may take an older peer for the sake of a newer openai.
    _uv("pip", "install", "--python", str(python), package)
    return (f"{package}=={_versions(python)[package]}",)


def _uv(*arguments: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "--quiet", *arguments], check=True, stdin=subprocess.DEVNULL)


def _versions(python: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads(subprocess.check_output([python, "-c", _VERSIONS]))
    return found
