"""Reads what a response says of its call: at once from a whole one, bit by bit from a stream of events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from pennytrace import semconv
from pennytrace._calls.call import Call, Outcome
from pennytrace._calls.provider import Body, Fields, Identity, Operation, Usage
from pennytrace._calls.tokens import estimated
from pennytrace._calls.usage import fields, text, texts


class Asked(NamedTuple):
    """A call on its way, and what was asked."""

    call: Call
    operation: Operation
    body: Body


class Reading:
    """What was read so far of the answer to one request."""

    __slots__ = (
        "_about",
        "_beside",
        "_body",
        "_delivered",
        "_error",
        "_id",
        "_identity",
        "_measured",
        "_model",
        "_operation",
        "_reported",
        "_tier",
        "_usage",
        "began",
        "fresh",
    )

    def __init__(self, operation: Operation, body: Body) -> None:
        self._operation = operation
        self._body = body
        self._usage: dict[str, int | float] = {}
        self._about: dict[str, str | bool | None] = {}
        self._delivered: list[str] = []
        self._id: str | None = None
        self._model: str | None = None
        self._tier: str | None = None
        self._error: str | None = None
        self._identity: Identity | None = None
        self._reported = False
        self._measured = False
        self._beside: list[tuple[Operation, Fields]] = []
        self.began = False
        """Whether there was an answer at all."""
        self.fresh = False
        """Whether usage was reported after all that was delivered: it is accounted for."""

    def take(self, answer: Any) -> None:
        """Read a response or an event: an object of the client library, or parsed JSON."""
        self.began = True
        held = fields(answer)
        self._describe(self._operation.describes(held))
        usage = self._operation.usage(held, self._body)
        self._reported = bool(usage)
        self._measured = self._measured or usage is not None
        if usage:
            self.fresh = True
            self._usage.update(usage)
        self._about.update(self._operation.about(held, self._body))
        self._beside = list(self._operation.beside(held, self._body)) or self._beside

    def take_text(self, answer: Any) -> None:
        """Note the text that an event delivers, in case nobody counts its tokens."""
        delivered = list(filter(None, texts(self._operation.delivered(fields(answer)))))
        self._delivered += delivered
        if delivered and not self._reported:
            self.fresh = False

    def outcome(self, error: str | None, *, estimate: bool, cut: bool = False) -> Outcome:
        """Return what is known in the end.

        Args:
            error: The type of the exception that ended it.
            estimate: Whether to estimate what was not reported from the texts that went to and fro.
            cut: Whether it ended before the answer was complete.
        """
        usage = self._operation.totals(self._usage)
        source, method = semconv.MEASURED if self._measured else semconv.MISSING, None
        estimate = estimate and self._operation.can_be_estimated
        if estimate and (semconv.OUTPUT_TOKENS not in usage or (cut and not self.fresh)):
            usage, method = self._estimated(usage)
            source = semconv.ESTIMATED
        return Outcome(
            usage=usage,
            source=source,
            method=method,
            model=self._model,
            id=self._id,
            service_tier=self._tier,
            error=error or self._error,
            about=self._about,
            identity=self._identity,
            beside=tuple(whole(operation, self._body, answer) for operation, answer in self._beside),
        )

    def _describe(self, held: Fields) -> None:
        self._id = text(held.get("id")) or self._id
        self._model = text(held.get("model")) or self._model
        self._tier = text(held.get("service_tier")) or self._tier
        failure = held.get("error")
        if failure:
            self._error = text(fields(failure).get("type")) or text(fields(failure).get("code")) or "error"
        self._identity = self._operation.identity(held, self._body) or self._identity

    def _estimated(self, measured: Usage) -> tuple[Usage, str]:
        """Return the usage with what is missing of it put in from the lengths of the texts."""
        usage = dict(measured)
        tokens, method = estimated(list(texts(self._operation.prompt(self._body))), self._model)
        usage.setdefault(semconv.INPUT_TOKENS, tokens)
        if self.began:
            tokens, method = estimated(self._delivered, self._model)
            usage[semconv.OUTPUT_TOKENS] = max(tokens, int(usage.get(semconv.OUTPUT_TOKENS, 0)))
        return usage, method


def whole(operation: Operation, body: Body, answer: Any, error: str | None = None) -> Outcome:
    """Return what a whole response says about the call; `missing` when it says nothing of usage."""
    reading = Reading(operation, body)
    if answer is not None:
        reading.take(answer)
    return reading.outcome(error, estimate=False)


def each(operation: Operation, body: Body, answer: Any) -> Iterable[Outcome]:
    """Return what a response says of every job that it tells of."""
    if operation.items is None:
        return (whole(operation, body, answer),)
    return [whole(operation, body, item) for item in operation.items(fields(answer))]
