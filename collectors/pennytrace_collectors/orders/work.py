"""The collector's side of orders: one portion of the oldest at a time, between the segments that it loads."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from typing import Final, TypeAlias

from pydantic import ValidationError

from pennytrace_collectors.errors import CollectorError
from pennytrace_collectors.orders.folder import OrderFolder
from pennytrace_collectors.orders.order import Answer, Order
from pennytrace_collectors.store.selection import Progress

_log = logging.getLogger(__name__)

Steps: TypeAlias = Generator[Progress, None, Answer]
_SAID_EVERY_S: Final = 60.0


class OrderWork:
    """Carries out what is asked for in a folder; used on one thread, the one that owns the store."""

    def __init__(self, folder: OrderFolder, perform: Callable[[Order, str], Steps]) -> None:
        """Work on the orders of `folder`; `perform` gets an order and its name."""
        self._folder = folder
        self._perform = perform
        self._name = ""
        self._steps: Steps | None = None
        self._unsaid: Answer | str | None = None
        self._complained_at = 0.0

    def step(self) -> bool:
        """Do one portion, if there is any; return whether there is more to do at once. Never raises."""
        try:
            return self._step()
        except OSError as error:
            if time.monotonic() - self._complained_at > _SAID_EVERY_S:
                self._complained_at = time.monotonic()
                _log.error("cannot work on the orders in %s: %s", self._folder.path, error)
            return False

    def stop(self) -> None:
        """Leave an order that was begun to the next collector, with nothing of it open in the store."""
        if self._steps is not None:
            self._steps.close()
            self._steps = None

    def _step(self) -> bool:
        if self._unsaid is not None:
            self._reply(self._unsaid)
            return False
        if self._steps is None and not self._begin():
            return False
        return self._advance()

    def _begin(self) -> bool:
        name = self._folder.oldest()
        if name is None:
            return False
        self._name = name
        try:
            order = self._folder.take(name)
        except (CollectorError, ValueError) as error:
            self._reply(_why_unreadable(error))
            return False
        if order is None:
            return False
        _log.info("working on order %s: %s", name, order)
        self._steps = self._perform(order, name)
        return True

    def _advance(self) -> bool:
        assert self._steps is not None
        try:
            self._folder.tell(self._name, next(self._steps))
        except StopIteration as done:
            self._reply(done.value)
        except CollectorError as error:
            self._reply(str(error))
        # A bug in an order must not end loading, and whoever waits must not wait for ever.
        except Exception as error:  # noqa: BLE001
            _log.exception("order %s failed", self._name)
            self._reply(f"{type(error).__name__}: {error}; the collector's log says more")
        return self._steps is not None

    def _reply(self, answer: Answer | str) -> None:
        self._steps = None
        self._unsaid = answer
        self._folder.reply(self._name, answer)
        self._unsaid = None
        _log.info("order %s is done", self._name)
        self._folder.tidy(now=time.time())


def _why_unreadable(error: Exception) -> str:
    if isinstance(error, CollectorError):
        return str(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the order"
        return f"the collector cannot read the order: {place}: {first['msg']}; if it is of another version, restart it"
    return f"the order cannot be read: {error}"
