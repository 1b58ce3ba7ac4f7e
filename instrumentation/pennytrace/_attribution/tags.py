"""Who a call is made for: tags that nest, and follow the code into tasks and threads."""

from __future__ import annotations

import contextvars
import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar, cast

from pennytrace import semconv
from pennytrace._attribution.text import clean
from pennytrace._guard import never_break_the_host

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

Tags = Mapping[str, str]
"""Tag values by attribute name."""

NO_TAGS: Final[Tags] = {}

_MOST_TAGS: Final = 32
_GENERATOR: Final = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


class _Layer(NamedTuple):
    tags: Tags
    outer: _Layer | None
    owner: object


# A linked list instead of contextvars tokens: leaving in another context than the one entered (a generator
# closed by the event loop) finds nothing to leave, where a token would raise. What such a generator has left
# on in its reader's context goes when the reader leaves its own tag.
_layer: contextvars.ContextVar[_Layer | None] = contextvars.ContextVar("pennytrace.tags", default=None)


def current_tags() -> Tags:
    """Return the tags that hold here and now."""
    layer = _layer.get()
    return NO_TAGS if layer is None else layer.tags


def run_within(tags: Tags, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call `function` with exactly these tags; what held before holds again after, whatever it has tagged."""
    outer = _layer.get()
    _layer.set(_Layer(tags, None, None))
    try:
        return function(*args, **kwargs)
    finally:
        _layer.set(outer)


def enter(owner: object, own: Tags) -> None:
    """Let these tags hold, over those that do, until `leave` is called with an equal owner."""
    outer = _layer.get()
    tags = own if outer is None else {**outer.tags, **own}
    _layer.set(_Layer(tags, outer, owner))


def leave(owner: object) -> None:
    """Undo `enter`, and what has been entered since and never left; without it, do nothing."""
    layer = _layer.get()
    while layer is not None and layer.owner != owner:
        layer = layer.outer
    if layer is not None:
        _layer.set(layer.outer)


def _take_out(owner: object) -> None:
    """Leave a layer from under others: a generator may end inside a tag that its reader has entered since."""
    above = []
    layer = _layer.get()
    while layer is not None and layer.owner is not owner:
        above.append(layer)
        layer = layer.outer
    if layer is not None:
        rest = layer.outer
        for kept in reversed(above):
            rest = _Layer(kept.tags, rest, kept.owner)
        _layer.set(rest)


class tag:  # lower case because it reads as a verb: `with pennytrace.tag(feature="search"):`
    """Say what the model calls made inside are for: a context manager and a decorator.

    Tags nest, and the inner one wins key by key. They hold for asyncio tasks and threads started inside, for
    what is submitted to thread pools, and for Celery tasks sent; elsewhere, see `carry`. As a decorator it fits
    functions, coroutine functions, generators and asynchronous generators. Values become text of at most 256
    printable characters; None leaves what holds outside. It never raises.

    Args:
        feature: The part of the product that spends.
        team: Who owns that part.
        customer: On whose behalf.
        user: The end user; sent as `user.id`, or as `user.hash` when there is a PENNYTRACE_HASH_KEY.
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
        self._own = cleaned(given, more) or NO_TAGS

    def __enter__(self) -> None:
        enter(self, self._own)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        layer = _layer.get()
        if layer is not None and layer.owner is self:
            _layer.set(layer.outer)
        elif sys._getframe(1).f_code.co_flags & _GENERATOR:
            _take_out(self)
        else:
            leave(self)

    def __call__(self, function: F) -> F:
        """Return `function` with these tags around every call of it."""
        if inspect.isasyncgenfunction(function):
            return cast(F, _tagged_async_generator(self, function))
        if inspect.iscoroutinefunction(function):
            return cast(F, _tagged_coroutine(self, function))
        if inspect.isgeneratorfunction(function):
            return cast(F, _tagged_generator(self, function))
        return cast(F, _tagged_function(self, function))


def tag_of(own: Tags) -> tag:
    """Return a tag of these attributes, which are clean already."""
    made = tag()
    made._own = own
    return made


@never_break_the_host("reading tags")
def cleaned(given: Mapping[str, object], more: Mapping[str, object]) -> Tags:
    """Return what is left of `given` and, under `pennytrace.tag.`, of `more` after cleaning."""
    texts = {name: _clean(value) for name, value in given.items() if value is not None}
    if more:
        for name, value in list(more.items())[:_MOST_TAGS]:
            texts[semconv.TAG_PREFIX + (clean(name) or "unnamed")] = _clean(value)
    return {name: text for name, text in texts.items() if text is not None}


@never_break_the_host("reading a tag's value")
def _clean(value: object) -> str | None:
    return clean(value)


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function` bound to the tags (and the trace) of here and now, to be run somewhere else later.

    Threads, timers, `ThreadPoolExecutor` and `run_in_executor` take the tags along by themselves. This is for
    what cannot be known: a queue of callables that a worker takes from, a callback that a library keeps, a
    pool of another kind (`multiprocessing.pool.ThreadPool`). The result may be called any number of times,
    from several threads at once.
    """
    context = contextvars.copy_context()

    @functools.wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        # A context can be entered by one thread at a time, so each call enters a copy; copying is cheap.
        return context.copy().run(function, *args, **kwargs)

    return carried


def _tagged_function(tags: tag, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def tagged(*args: Any, **kwargs: Any) -> Any:
        with tags:
            return function(*args, **kwargs)

    return tagged


def _tagged_coroutine(tags: tag, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def tagged(*args: Any, **kwargs: Any) -> Any:
        # One for each call: a coroutine that is dropped ends in anybody's context, and must leave only its own.
        with tag_of(tags._own):
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
