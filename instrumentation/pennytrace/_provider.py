"""What a provider file declares: the calls that cost money, and how to read what they used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Usage = Mapping[str, int]
"""Quantities by attribute name (`semconv`); what a provider did not report is absent, never 0."""

Body = Mapping[str, Any]
"""A request's body."""

Fields = Mapping[str, Any]
"""The fields of a response, or of a chunk of a stream."""

Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""What takes the place of a method, as wrapt calls it: the method, its instance, its arguments."""


@dataclass(frozen=True, slots=True)
class Hook:
    """One method to wrap."""

    module: str
    name: str
    """The method's path inside the module: `Client.request`."""
    wrapper: Wrapper


class Shape(Protocol):
    """How a client library makes its calls: which of its methods see them all, and what passes through."""

    def hooks(self, provider: Provider) -> Sequence[Hook]:
        """Return what to wrap for `provider`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One kind of call that costs money."""

    name: str
    """The value of `gen_ai.operation.name`."""
    usage: Callable[[Fields], Usage | None]
    """Reads the usage that a response, or a chunk of a stream, carries; None when it carries none."""
    request_characters: Callable[[Body], int]
    """Counts the characters of text in a request, for an estimate; images and audio are not text."""
    chunk_characters: Callable[[Fields], int] = lambda chunk: 0
    """Counts the characters that a chunk of a stream delivers; by default it delivers none that count."""
    with_usage: Callable[[Body], Body | None] | None = None
    """Returns the body of a streamed request that asks for usage too, or None when the caller has decided."""
    delivers: str = ""
    """The field of a chunk that holds what it delivers: empty in the one that is only there for usage."""
    reports: str = "usage"
    """The field of a chunk that holds usage, when it holds any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One client library, as data."""

    id: str
    docs: str
    """Where the provider documents the usage it reports."""
    shape: Shape
    operations: Mapping[str, Operation]
    """What costs money, by the path of its URL below the client's base URL."""
    name_of_host: Callable[[str], str]
    """Returns the value of `gen_ai.provider.name` for a host."""
    refuses_usage: Callable[[BaseException], bool]
    """Tells whether an error says that a server does not know how to report usage in a stream."""
