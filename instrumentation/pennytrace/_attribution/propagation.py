"""Knows which tags may leave the process for another one, and writes and reads them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Final, ParamSpec, TypeVar

from pennytrace import semconv
from pennytrace._attribution.baggage import HEADER, decode, encode
from pennytrace._attribution.tags import NO_TAGS, Tags, current_tags, tag, tag_of
from pennytrace._guard import never_break_the_host
from pennytrace._nesting import inside_a_call

KEYS: Final[Mapping[str, str]] = {
    "feature": semconv.FEATURE,
    "team": semconv.TEAM,
    "customer": semconv.CUSTOMER,
    "session": semconv.SESSION_ID,
}
"""The tags that can travel, and the attributes that they are; never the user, who is a person."""

P = ParamSpec("P")
R = TypeVar("R")

OURS: Final = frozenset(KEYS.values())

_allowed: Collection[str] = ()
_for_a_model: ContextVar[bool] = ContextVar("pennytrace.for_a_model", default=False)


def allow(attributes: Collection[str]) -> None:
    """Let tags of these attributes travel from now on, and no others."""
    global _allowed
    _allowed = attributes


def is_for_a_model() -> bool:
    """Tell whether what is sent now goes to a model provider."""
    return bool(inside_a_call.get()) or _for_a_model.get()


def told_to_own_server() -> str:
    """Return our member of the `tracestate` that the server is told which is being called; empty for any other."""
    return getattr(inside_a_call.get(), "tells", "")


class for_a_model:  # lower case because it reads as words: `with for_a_model():`
    """Let no tags travel from inside: what is sent there goes to a model provider."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before = _for_a_model.set(True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _for_a_model.reset(self._before)


def run_for_a_model(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call `function`, which a client library has handed to a thread, and let no tags travel from there."""
    with for_a_model():
        return function(*args, **kwargs)


def may_travel(tags: Tags) -> Tags:
    """Return of these tags the ones that may leave the process; with a feature, how it was found."""
    told = {name: tags[name] for name in _allowed if name in tags}
    if semconv.FEATURE in told and semconv.FEATURE_SOURCE in tags:
        told[semconv.FEATURE_SOURCE] = tags[semconv.FEATURE_SOURCE]
    return told


def travelling() -> Tags:
    """Return the tags that hold here and may travel; none while a model provider is being called."""
    tags = current_tags()
    if not tags or is_for_a_model():
        return NO_TAGS
    return {name: tags[name] for name in _allowed if name in tags}


def arriving(header: str) -> Tags:
    """Return the tags that have come with a `baggage` header, as far as they may travel."""
    return decode(header, _allowed)


def outgoing_headers() -> dict[str, str]:
    """Return the HTTP header that takes the tags of here and now to another service of yours, or nothing.

    For apps whose HTTP client is not instrumented by OpenTelemetry; what is instrumented sends the tags by
    itself. It is the W3C `baggage` header with feature, team, customer and session, as far as `propagate`
    (`pennytrace.init`) lets them. It never raises.
    """
    return _headers() or {}


def received(headers: Mapping[str, str]) -> tag:
    """Return a context manager in which the tags hold that came with a request from another service.

    For apps whose web framework is not instrumented by OpenTelemetry. Like `tag`, it is a decorator too. It
    never raises, whatever the headers are.

    Args:
        headers: The request's headers, with names in any case. Of `baggage`, what `propagate` names is read.
    """
    return tag_of(_received(headers) or NO_TAGS)


@never_break_the_host("writing the tags for another service")
def _headers() -> dict[str, str]:
    value = encode(travelling())
    return {HEADER: value} if value else {}


@never_break_the_host("reading the tags from another service")
def _received(headers: Mapping[str, str]) -> Tags:
    header = headers.get(HEADER)
    if header is None:
        header = next((value for name, value in headers.items() if name.lower() == HEADER), "")
    return arriving(header)
