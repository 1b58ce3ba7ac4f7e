"""Begins and ends calls for the shapes: what is common to every client library."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple

from pennytrace._calls import active
from pennytrace._calls.call import UNREADABLE, Call, Outcome, Request, error_type
from pennytrace._calls.provider import NOTHING, Body, Provider
from pennytrace._calls.reading import Asked, each, whole
from pennytrace._calls.suppression import is_suppressed
from pennytrace._calls.usage import fields, text
from pennytrace._guard import never_break_the_host
from pennytrace._nesting import inside_a_call


class Question(NamedTuple):
    """What an app asks of a provider, as the client library is about to send it."""

    method: str
    """The method of HTTP, in capitals."""
    path: str
    """The path below the client's base URL, or what stands for it in the provider's `operations`."""
    body: Body
    host: str
    port: int
    stream: bool = False
    model: str | None = None
    """The model, when it does not stand in the body as `model`."""
    provider: str | None = None
    """The name of the provider, when the client knows it better than the host's name tells it."""


def ask(provider: Provider, question: Question) -> Asked | None:
    """Begin the call that a question is; None when it costs nothing, or is a part of a call, or unwanted."""
    recorder = active.recorder
    if recorder is None or inside_a_call.get() is not None:
        return None
    operation, parameters = provider.operation(question.method, question.path)
    if operation is None or is_suppressed():
        return None
    body = question.body or parameters
    request = Request(
        operation=operation.name,
        provider=question.provider or provider.name_of_host(question.host),
        model=question.model or text(body.get("model")),
        host=question.host,
        port=question.port,
        stream=question.stream,
        service_tier=text(body.get("service_tier")),
        later=operation.later,
    )
    return Asked(Call(recorder, request), operation, body)


_MOST_HOSTS: Final = 1000
hosts_without_usage: Final[set[tuple[str, int]]] = set()
"""Servers that refused a stream because we asked for its usage: they are not asked again."""


def body_with_usage(asked: Asked) -> Body | None:
    """Return the body of a streamed request that asks for usage too; None where it is to stay as it is."""
    call, operation, body = asked
    request = call.request
    if (
        operation.with_usage is None
        or not request.stream
        or (request.host, request.port) in hosts_without_usage
    ):
        return None
    return operation.with_usage(body)


@never_break_the_host("asking again without usage")
def refused_usage(provider: Provider, asked: Asked, error: BaseException) -> bool:
    """Tell whether a server refused a stream because we asked for its usage; it is not asked again."""
    if not provider.refuses_usage(error):
        return False
    request = asked.call.request
    if len(hosts_without_usage) < _MOST_HOSTS:
        hosts_without_usage.add((request.host, request.port))
    return True


@never_break_the_host("recording a call that failed")
def failed(asked: Asked, error: BaseException, answer: Any = None) -> None:
    """End a call with the exception that the app is about to see, and the answer if there was one."""
    _end(asked, answer, error_type(error))


@never_break_the_host("recording a call that was refused")
def refused(asked: Asked, status: int) -> None:
    """End a call with the status of an HTTP response that the library is about to make an exception of."""
    _end(asked, None, str(status))


@never_break_the_host("recording a call that succeeded")
def answered(asked: Asked, answer: Any) -> None:
    """End a call with a whole answer: an object of the client library, or parsed JSON."""
    small = asked.operation.small
    if small:
        held = fields(answer)
        kept = {name: held.get(name) for name in small}
        asked.call.finish(functools.partial(each, asked.operation, NOTHING, kept))
    else:
        _end(asked, answer, None)


def _end(asked: Asked, answer: Any, error: str | None) -> None:
    # Read here and not where it is sent: an answer that waited for that would fill the memory.
    outcomes = _read(asked, answer, error) or (UNREADABLE._replace(error=error),)
    asked.call.finish(lambda: outcomes)


@never_break_the_host("reading an answer")
def _read(asked: Asked, answer: Any, error: str | None) -> Sequence[Outcome]:
    _, operation, body = asked
    return list(each(operation, body, answer)) if error is None else (whole(operation, body, answer, error),)


class inside:  # lower case because it reads as a word: `with inside(call):`
    """Mark that the client library's own code runs, and makes this call: calls that it makes in turn pass."""

    __slots__ = ("_call", "_token")

    def __init__(self, call: Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        self._token = inside_a_call.set(self._call)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        inside_a_call.reset(self._token)


@never_break_the_host("counting an attempt")
def count_attempt() -> None:
    """Note that the call which is being made is tried once more."""
    call = inside_a_call.get()
    if call is not None:
        call.attempts += 1
