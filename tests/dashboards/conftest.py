"""A store with the shop's calls in it, once for all tests of the boards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import shop
from .engine import Engine


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("boards")
    price_file = folder / "prices.toml"
    price_file.write_text(shop.price_file(), "utf-8")
    engine = Engine(folder / "store", price_file)
    try:
        messages = shop.otlp(shop.calls())
        engine.load(messages)
        # A replay: the boards must not see any call twice.
        engine.load(messages)
        yield engine
    finally:
        engine.close()
