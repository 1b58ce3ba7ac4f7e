"""Listeners for the tests of receiving."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .receiver import Receiver, receiving


@pytest.fixture(scope="module")
def shared_receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def receiver(shared_receiver: Receiver) -> Receiver:
    """The module's listeners, with nothing kept and nothing refused yet."""
    shared_receiver.memory.bodies.clear()
    shared_receiver.memory.spans = 0
    shared_receiver.memory.refusal = None
    shared_receiver.memory.refusals = 1_000_000
    return shared_receiver
