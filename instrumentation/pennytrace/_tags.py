"""Who a call is made for: tags that nest, and follow the code into tasks and threads."""

from __future__ import annotations

import contextvars
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar, cast

from . import semconv
from ._guard import never_break_the_host
from ._text import clean

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

Tags = Mapping[str, str]
"""Tag values by attribute name."""

_MOST_TAGS: Final = 32
_NONE: Final[Tags] = {}


class _Layer(NamedTuple):
    tags: Tags
    outer: _Layer | None
    owner: object


# A linked list instead of contextvars tokens: leaving in another context than the one entered (a generator
# closed by the event loop) finds that it is not on top and does nothing, where a token would raise.
_layer: contextvars.ContextVar[_Layer | None] = contextvars.ContextVar("pennytrace.tags", default=None)


def current_tags() -> Tags:
    """Return the tags that hold here and now."""
    layer = _layer.get()
    return _NONE if layer is None else layer.tags


class tag:  # lower case because it reads as a verb: `with pennytrace.tag(feature="search"):`
    """Say what the model calls made inside are for: a context manager and a decorator.

    Tags nest, and the inner one wins key by key. They hold for asyncio tasks started inside; for threads, see
    `carry`. As a decorator it fits functions, coroutine functions, generators and asynchronous generators.
    Values become text of at most 256 printable characters; None leaves what holds outside. It never raises.

    Args:
        feature: The part of the product that spends.
        team: Who owns that part.
        customer: On whose behalf.
        user: The end user; sent as `user.id`.
        session: The conversation or visit; sent as `session.id`.
        more: Any other tag; sent as `pennytrace.tag.<name>`.
    """

    __slots__ = ("_own",)

    def __init__(
        self,
        *,
        feature: object = None,
        team: object = None,
        customer: object = None,
        user: object = None,
        session: object = None,
        **more: object,
    ) -> None:
        given = {
            semconv.FEATURE: feature,
            semconv.TEAM: team,
            semconv.CUSTOMER: customer,
            semconv.USER_ID: user,
            semconv.SESSION_ID: session,
        }
        self._own = cleaned(given, more) or _NONE

    def __enter__(self) -> None:
        _enter(self, self._own)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        layer = _layer.get()
        if layer is not None and layer.owner is self:
            _layer.set(layer.outer)

    def __call__(self, function: F) -> F:
        """Return `function` with these tags around every call of it."""
        if inspect.isasyncgenfunction(function):
            return cast(F, _tagged_async_generator(self, function))
        if inspect.iscoroutinefunction(function):
            return cast(F, _tagged_coroutine(self, function))
        if inspect.isgeneratorfunction(function):
            return cast(F, _tagged_generator(self, function))
        return cast(F, _tagged_function(self, function))


@never_break_the_host("reading tags")
def cleaned(given: Mapping[str, object], more: Mapping[str, object]) -> Tags:
    """Return what is left of `given` and, under `pennytrace.tag.`, of `more` after cleaning."""
    texts = {name: _clean(value) for name, value in given.items()}
    for name, value in list(more.items())[:_MOST_TAGS]:
        texts[semconv.TAG_PREFIX + (clean(name) or "unnamed")] = _clean(value)
    return {name: text for name, text in texts.items() if text is not None}


@never_break_the_host("reading a tag's value")
def _clean(value: object) -> str | None:
    return clean(value)


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function` bound to the tags (and the trace) of here and now, to be run in another thread.

    `executor.submit(pennytrace.carry(work), item)` or `Thread(target=pennytrace.carry(work))`: Python starts
    threads with an empty context, so without it the calls that `work` makes would not know their tags. The
    result may be called any number of times, from several threads at once.
    """
    context = contextvars.copy_context()

    @functools.wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        # A context can be entered by one thread at a time, so each call enters a copy; copying is cheap.
        return context.copy().run(function, *args, **kwargs)

    return carried


def _enter(owner: object, own: Tags) -> None:
    outer = _layer.get()
    tags = own if outer is None else {**outer.tags, **own}
    _layer.set(_Layer(tags, outer, owner))


def _tagged_function(tags: tag, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def tagged(*args: Any, **kwargs: Any) -> Any:
        with tags:
            return function(*args, **kwargs)

    return tagged


def _tagged_coroutine(tags: tag, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def tagged(*args: Any, **kwargs: Any) -> Any:
        with tags:
            return await function(*args, **kwargs)

    return tagged


class _Inside:
    """The context layer of a generator's body: in place while the body runs, gone while it is suspended.

    A generator shares its consumer's context, so a plain `with` around the body would leave the tags on for
    the consumer between two items.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, tags: tag) -> None:
        with tags:
            self._inner = _layer.get()
        self._outer: _Layer | None = None

    def __enter__(self) -> None:
        self._outer = _layer.get()
        _layer.set(self._inner)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner = _layer.get()
        _layer.set(self._outer)


def _tagged_generator(tags: tag, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def tagged(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        inside = _Inside(tags)
        with inside:
            body = function(*args, **kwargs)
        resume: Callable[[], Any] = functools.partial(next, body)
        while True:
            try:
                with inside:
                    item = resume()
            except StopIteration as stop:
                return stop.value
            try:
                sent = yield item
            except GeneratorExit:
                with inside:
                    body.close()
                raise
            except BaseException as error:  # noqa: BLE001 - not swallowed: the body gets it
                resume = functools.partial(body.throw, error)
            else:
                resume = functools.partial(body.send, sent)

    return tagged


def _tagged_async_generator(tags: tag, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def tagged(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        inside = _Inside(tags)
        with inside:
            body = function(*args, **kwargs)
        resume: Callable[[], Any] = body.__anext__
        while True:
            try:
                with inside:
                    item = await resume()
            except StopAsyncIteration:
                return
            try:
                sent = yield item
            except GeneratorExit:
                with inside:
                    await body.aclose()
                raise
            except BaseException as error:  # noqa: BLE001 - not swallowed: the body gets it
                resume = functools.partial(body.athrow, error)
            else:
                resume = functools.partial(body.asend, sent)

    return tagged
