"""What a provider file declares: the calls that cost money, and how to read what they used."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

Usage = Mapping[str, int | float]
"""Quantities by attribute name (`semconv`); what a provider did not report is absent, never 0."""

Body = Mapping[str, Any]
"""A request's body; for a request without one, the parameters in its path."""

Fields = Mapping[str, Any]
"""The fields of a response, or of an event of a stream."""

About = Mapping[str, str | bool | None]
"""Further attributes by name (`semconv`); None says nothing."""

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""What takes the place of a method, as wrapt calls it: the method, its instance, its arguments."""

USAGE_OBJECT: Final = re.compile(rb'"usage"\s*:\s*\{')
"""Finds the events of a stream that report usage in the way of OpenAI, which many follow."""


@dataclass(frozen=True, slots=True)
class Hook:
    """One method to wrap."""

    module: str
    name: str
    """The method's path inside the module: `Client.request`."""
    wrapper: Wrapper
    optional: bool = False
    """Whether calls are recorded without it too, only less is known of them."""


class Shape(Protocol):
    """How a client library makes its calls: which of its methods see them all, and what passes through."""

    def hooks(self, provider: Provider) -> Sequence[Hook]:
        """Return what to wrap for `provider`."""
        ...


class Identity(NamedTuple):
    """What makes a job the same job in whatever process, and however often, it is read."""

    id: str
    started: float
    """Seconds since 1970, as the provider says; the same at every reading."""
    ended: float | None = None
    known_as: tuple[str, ...] = ()
    """Other ids of the same job: who it is done for is remembered under all of them."""
    part_of: str | None = None
    """The id of the job that this is one of many parts of: it is done for whoever that is done for."""


def _nothing(*_: Any) -> Mapping[str, Any]:
    return NOTHING


def _itself(fields: Fields) -> Fields:
    return fields


def _as_it_is(usage: Usage) -> Usage:
    return usage


def _never(*_: Any) -> Any:
    return None


def _none(*_: Any) -> tuple[()]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One kind of call that costs money."""

    name: str
    """The value of `gen_ai.operation.name`."""
    usage: Callable[[Fields, Body], Usage | None]
    """Reads the usage of a response, or of an event of a stream, to that request; None when it has none.

    One that is empty says that nothing was used which is charged. The usages of several events are laid over
    each other, name by name: the last one counts, never the sum.
    """
    totals: Callable[[Usage], Usage] = _as_it_is
    """Makes the totals of a usage include their parts, when all events have been read, where a provider's do not."""
    about: Callable[[Fields, Body], About] = _nothing
    """Reads further attributes of the call from the same place."""
    describes: Callable[[Fields], Fields] = _itself
    """Returns the part of a response or event in which `id`, `model`, `service_tier` and `error` stand."""
    prompt: Callable[[Body], Any] = _never
    """Returns what of a request is text for the model, in any nesting, for an estimate of its tokens."""
    delivered: Callable[[Fields], Any] = _never
    """Returns what of an event is text from the model, in any nesting."""
    with_usage: Callable[[Body], Body | None] | None = None
    """Returns the body of a streamed request that asks for usage too, or None when the caller has decided."""
    only_reports_usage: Callable[[Fields], bool] = _never
    """Tells the event that is sent only because usage was asked for: hidden when we asked."""
    reports: re.Pattern[bytes] = USAGE_OBJECT
    """Finds, in the bytes of an event, that it may report usage."""
    identity: Callable[[Fields, Body], Identity | None] = _never
    """Tells a response that stands for a job which is read again: it is charged once, under its identity."""
    later: bool = False
    """Whether the request itself costs nothing: what its response has an identity and usage for is charged."""
    items: Callable[[Fields], Iterable[Fields]] | None = None
    """Returns the responses inside a response, when it is a page or a file of them."""
    small: tuple[str, ...] = ()
    """The fields that are all that is read of a whole answer, when they are small and nothing is read of the body.

    They are read when the span is written, many in a row, which takes a third of the time.
    """
    lines: bool = False
    """Whether the body is a file of responses, one JSON document a line."""
    beside: Callable[[Fields, Body], Iterable[tuple[Operation, Fields]]] = _none
    """Returns what a response, or an event, tells of other calls that were made for it, each with how to read it.

    They are charged apart: a tool of the provider's own, for example, may have asked another model.
    """

    @property
    def can_be_estimated(self) -> bool:
        """Whether what nobody reports can be told from the texts: not of sounds and images, nor of a job."""
        return self.delivered is not _never and not self.later


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One client library, as data."""

    id: str
    distribution: str
    """The name that it is installed by."""
    docs: str
    """Where the provider documents the usage it reports."""
    shape: Shape
    operations: Mapping[str, Operation]
    """What costs money, by method and path: `POST /chat/completions`, `GET /batches/{id}`."""
    name_of_host: Callable[[str], str]
    """Returns the value of `gen_ai.provider.name` for a host."""
    refuses_usage: Callable[[BaseException], bool] = _never
    """Tells whether an error says that a server does not know how to report usage in a stream."""

    def operation(self, method: str, path: str) -> tuple[Operation | None, Body]:
        """Return what a request is, None when it costs nothing, and the parameters in its path."""
        operation = self.operations.get(f"{method} {path}")
        return (operation, NOTHING) if operation is not None else _matching(self, method, path)


@functools.lru_cache(maxsize=1024)
def _pattern(template: str) -> re.Pattern[str] | None:
    if "{" not in template:
        return None
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/?]+)", re.escape(template)))


def _matching(provider: Provider, method: str, path: str) -> tuple[Operation | None, Body]:
    request = f"{method} {path}"
    for template, operation in provider.operations.items():
        pattern = _pattern(template)
        found = pattern.fullmatch(request) if pattern else None
        if found:
            return operation, found.groupdict()
    return None, NOTHING
