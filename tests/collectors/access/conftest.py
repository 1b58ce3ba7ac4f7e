"""A store of each test's own, as the tests of the store have it."""

from __future__ import annotations

from tests.collectors.store.conftest import folder, store

__all__ = ["folder", "store"]
