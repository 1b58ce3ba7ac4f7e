"""The real engine, started once for all tests that talk to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.engine import Engine, serving


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with serving(tmp_path_factory.mktemp("vllm")) as engine:
        yield engine
