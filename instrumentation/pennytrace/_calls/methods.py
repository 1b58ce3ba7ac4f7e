"""The shape of other client libraries: a few methods, each of which sees some of the calls.

The best method is the lowest one through which all calls of a library go and that still knows a call as a whole,
its retries included. A provider says for each how to see in its arguments what is asked, and what its return value is.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pennytrace._attribution.propagation import for_a_model
from pennytrace._calls.asking import (
    Question,
    answered,
    ask,
    body_with_usage,
    failed,
    inside,
    refused,
    refused_usage,
)
from pennytrace._calls.follow import follow
from pennytrace._calls.items import AsyncItems, Items, async_generator, generator
from pennytrace._calls.own_servers import is_own, told
from pennytrace._calls.provider import Body, Hook, Provider
from pennytrace._calls.reading import Asked
from pennytrace._guard import never_break_the_host

_LEAST_ERROR: Final = 400  # status codes of HTTP

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""What a method is called with, by position and by name."""

Adding = Callable[[Mapping[str, Any]], Mapping[str, str]]
"""Returns what is to be added to headers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method through which calls go."""

    module: str
    name: str
    """Its path inside the module: `Client.request`."""
    question: Callable[[Any, Arguments], Question | None]
    """Reads what is asked from the instance and the arguments; None when it is nothing that could cost money."""
    answer: Callable[[Asked, Any], Any]
    """Sees to the end of the call, given what the method returned; returns what the app gets."""
    asynchronous: bool = False
    """Whether what the method returns is to be awaited."""
    with_body: Callable[[Arguments, Body], Arguments | None] | None = None
    """Puts a body that asks for usage in the place of the one in the arguments; None where nobody has to ask.

    It returns None where the body must stay as it is, for example because it is signed.
    """
    hiding: Callable[[Asked, Any], Any] | None = None
    """Does what `answer` does, and hides the event that is sent only because we asked for usage."""
    with_headers: Callable[[Arguments, Adding], Arguments | None] | None = None
    """Adds to the headers in the arguments what a server of one's own is told; None where that is nothing."""


@dataclass(frozen=True, slots=True)
class Methods:
    """A client library of this shape."""

    methods: tuple[Method, ...]

    def hooks(self, provider: Provider) -> Sequence[Hook]:
        """Return the methods to wrap."""
        return [
            Hook(method.module, method.name, functools.partial(_wrapper(method), provider, method))
            for method in self.methods
        ]


def whole(asked: Asked, result: Any) -> Any:
    """End the call with a whole answer: an object with the fields of the response, or a dict."""
    answered(asked, result)
    return result


def http_response(asked: Asked, response: Any) -> Any:
    """Let the call end with the body of an HTTP response of httpx or httpx2."""
    if response.status_code >= _LEAST_ERROR:
        refused(asked, response.status_code)
    else:
        follow(response, asked, stream=asked.call.request.stream)
    return response


def items(asked: Asked, events: Iterator[Any]) -> Iterator[Any]:
    """Let the call end with an iterator of events, which the library does not ask for its type."""
    return Items(events, asked)


def async_items(asked: Asked, events: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The same for an asynchronous iterator."""
    return AsyncItems(events, asked)


def generators(asked: Asked, result: Any) -> Any:
    """Let the call end with a generator that the app itself reads, or, where there is none, with a whole answer."""
    if inspect.isgenerator(result):
        return generator(result, asked)
    if inspect.isasyncgen(result):
        return async_generator(result, asked)
    return whole(asked, result)


def _wrapper(method: Method) -> Callable[..., Any]:
    return _call_async if method.asynchronous else _call


def _call(
    provider: Provider,
    method: Method,
    wrapped: Callable[..., Any],
    instance: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    asked = _begin(provider, method, instance, (args, kwargs))
    if asked is None:
        with for_a_model():
            return wrapped(*args, **kwargs)
    args, kwargs = _with_tags(method, asked, (args, kwargs)) or (args, kwargs)
    ours = _with_usage(method, asked, (args, kwargs))
    while True:
        given, named = ours or (args, kwargs)
        try:
            with inside(asked.call):
                result = wrapped(*given, **named)
            break
        except BaseException as error:
            if ours is None or not refused_usage(provider, asked, error):
                failed(asked, error)
                raise
            ours = None
    return _handed_on(method, asked, result, hides=ours is not None)


async def _call_async(
    provider: Provider,
    method: Method,
    wrapped: Callable[..., Any],
    instance: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    asked = _begin(provider, method, instance, (args, kwargs))
    if asked is None:
        with for_a_model():
            return await wrapped(*args, **kwargs)
    args, kwargs = _with_tags(method, asked, (args, kwargs)) or (args, kwargs)
    ours = _with_usage(method, asked, (args, kwargs))
    while True:
        given, named = ours or (args, kwargs)
        try:
            with inside(asked.call):
                result = await wrapped(*given, **named)
            break
        except BaseException as error:
            if ours is None or not refused_usage(provider, asked, error):
                failed(asked, error)
                raise
            ours = None
    return _handed_on(method, asked, result, hides=ours is not None)


@never_break_the_host("reading what is asked")
def _begin(provider: Provider, method: Method, instance: Any, arguments: Arguments) -> Asked | None:
    question = method.question(instance, arguments)
    return None if question is None else ask(provider, question)


@never_break_the_host("telling by a method who spends")
def _with_tags(method: Method, asked: Asked, arguments: Arguments) -> Arguments | None:
    """Return arguments that tell a server of one's own who spends; None for any other."""
    request = asked.call.request
    if method.with_headers is None or not is_own(request.provider, request.host):
        return None
    return method.with_headers(arguments, functools.partial(told, asked.call))


@never_break_the_host("asking for the usage of a stream")
def _with_usage(method: Method, asked: Asked, arguments: Arguments) -> Arguments | None:
    """Return arguments that ask for usage too; None where the app's own are to stay."""
    body = body_with_usage(asked) if method.with_body else None
    return None if body is None or method.with_body is None else method.with_body(arguments, body)


def _handed_on(method: Method, asked: Asked, result: Any, *, hides: bool) -> Any:
    replacement = _answer(method, asked, result, hides)
    return result if replacement is None else replacement[0]


@never_break_the_host("following what a method returned")
def _answer(method: Method, asked: Asked, result: Any, hides: bool) -> tuple[Any]:
    answer = method.hiding if hides and method.hiding is not None else method.answer
    return (answer(asked, result),)
