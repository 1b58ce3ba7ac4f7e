"""The environments, made once for all tests here, and the servers that the apps talk to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.instrumentation import provider as providers
from tests.instrumentation import sink as sinks
from tests.instrumentation.provider import Provider
from tests.instrumentation.sink import Sink
from tests.integration.coexistence.environments import ENVIRONMENTS, make


@pytest.fixture(scope="session")
def python_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the interpreter of an environment, by its name."""
    return cache(lambda name: make(tmp_path_factory.mktemp("environments") / name, ENVIRONMENTS[name]))


@pytest.fixture(scope="session")
def answering() -> Iterator[Provider]:
    with providers.running() as provider:
        yield provider


@pytest.fixture(scope="session")
def refusing() -> Iterator[Provider]:
    with providers.running() as provider:
        provider.answer.status = 429
        yield provider


@pytest.fixture(scope="session")
def sink() -> Iterator[Sink]:
    with sinks.running() as sink:
        yield sink
