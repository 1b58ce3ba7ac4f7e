"""Whom the sample shop's calls go to: the simulated provider, or the reader's own endpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pennytrace.errors import ConfigurationError
from pennytrace_collectors.demo.provider import Books, serving
from pennytrace_collectors.demo.provider.app import application

KEY: Final = "OPENAI_API_KEY"
BASE_URL: Final = "OPENAI_BASE_URL"
_ALSO_PASSED_ON: Final = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint that speaks OpenAI's language."""

    url: str
    """Without a password, so that it can be shown."""
    environment: Mapping[str, str] = field(repr=False)
    """What the shop needs to reach it."""
    model: str | None = None
    """The model for all calls; None for each feature's own."""
    prices: Path | None = None
    """A price file for its models; None when the built-in list is enough."""
    books: Books | None = None
    """What it has billed, if it is simulated."""


@contextlib.contextmanager
def simulated(prices: Path) -> Iterator[Endpoint]:
    """Serve the simulated provider until the block is left."""
    books = Books()
    with serving(application(books)) as url:
        environment = {
            KEY: "simulated",
            BASE_URL: f"{url}/v1",
            "PENNYTRACE_ENVIRONMENT": "simulated",
            "PENNYTRACE_TAGS": "simulated=yes",
        }
        yield Endpoint(url=url, environment=environment, prices=prices, books=books)


def real(model: str, environment: Mapping[str, str]) -> Endpoint:
    """Return the reader's own endpoint.

    Raises:
        ConfigurationError: The environment does not say which, or holds no key.
    """
    advice = {
        KEY: "set it to the key of your endpoint (any text will do, if that wants none)",
        BASE_URL: "set it to your endpoint, such as https://api.openai.com/v1 or http://127.0.0.1:8000/v1",
    }
    for name, what in advice.items():
        if not environment.get(name, "").strip():
            raise ConfigurationError(f"--real needs {name}, which is not set: {what}")
    parts = urlsplit(environment[BASE_URL])
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{BASE_URL} must be an http(s) URL; {advice[BASE_URL]}")
    passed_on = {name: environment[name] for name in (KEY, BASE_URL, *_ALSO_PASSED_ON) if name in environment}
    return Endpoint(
        url=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}",
        environment={**passed_on, "PENNYTRACE_ENVIRONMENT": "demo"},
        model=model,
    )
