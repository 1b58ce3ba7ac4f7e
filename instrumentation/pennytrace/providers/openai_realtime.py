"""OpenAI's WebSockets: realtime sessions, live sessions, and the Responses API over a connection.

Hooked is `parse_event` of each connection, through which every event passes that the library hands to the app, and
`close`; tried with openai 3.54.0. A response is a call, from the event that tells of its beginning to the one that
states its usage; the transcription of what a user said is another, by the model for that; a live session is one,
whose seconds are stated again and again as they grow, and which ends with its connection. Usage is documented with
the server events of each.

Not covered: events that the app takes raw by `recv_bytes` and does not parse with the library; realtime
translations, whose events state no usage; sessions over WebRTC or SIP that no connection of this process listens to.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from pennytrace import semconv
from pennytrace._calls.asking import Question, answered, ask
from pennytrace._calls.ending import end_with_the_process
from pennytrace._calls.provider import NOTHING, Body, Fields, Hook, Operation, Provider, Usage
from pennytrace._calls.reading import Asked
from pennytrace._calls.usage import Counts, fields, text
from pennytrace._guard import never_break_the_host
from pennytrace.providers._openai import usage as used
from pennytrace.providers._openai.hosts import name_of_host
from pennytrace.providers.openai import DECISION, RESPONSE

_TOKENS: Final[Counts] = {
    "": {"input_tokens": semconv.INPUT_TOKENS, "output_tokens": semconv.OUTPUT_TOKENS},
    "input_token_details": {
        "cached_tokens": semconv.CACHE_READ_INPUT_TOKENS,
        "text_tokens": semconv.TEXT_INPUT_TOKENS,
        "audio_tokens": semconv.AUDIO_INPUT_TOKENS,
        "image_tokens": semconv.IMAGE_INPUT_TOKENS,
    },
    "input_token_details.cached_tokens_details": {
        "text_tokens": semconv.TEXT_CACHE_READ_INPUT_TOKENS,
        "audio_tokens": semconv.AUDIO_CACHE_READ_INPUT_TOKENS,
        "image_tokens": semconv.IMAGE_CACHE_READ_INPUT_TOKENS,
    },
    "output_token_details": {
        "text_tokens": semconv.TEXT_OUTPUT_TOKENS,
        "audio_tokens": semconv.AUDIO_OUTPUT_TOKENS,
    },
}
_CONNECT: Final = "GET"
_REALTIME: Final = "/realtime"
_RESPONSES: Final = "/responses"
_TRANSCRIPTION: Final = "/realtime transcription"
_LIVE: Final = "/live"
_DECISIONS: Final = "/decisions"


def _response_usage(event: Fields, body: Body) -> Usage | None:
    return used.tokens(_TOKENS, used.response_of(event), body)


def _response(event: Fields) -> Fields:
    response = used.response_of(event)
    return {**response, "error": fields(response.get("status_details")).get("error")}


def _transcribed(event: Fields) -> Fields:
    return {"id": f"{event.get('item_id')}/{event.get('content_index')}"}


def _live_usage(event: Fields, _: Body) -> Usage | None:
    seconds = used.number(fields(event.get("usage")).get("seconds"))
    return {semconv.AUDIO_SECONDS: seconds} if seconds else None


class _Pending:
    """A call that one event has begun, and that another one ends, or the end of the connection."""

    __slots__ = ("__weakref__", "_asked", "_ended", "_last")

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._last: Fields = NOTHING
        self._ended = False
        end_with_the_process(self)

    def note(self, event: Fields) -> None:
        """Keep an event: the last one says what the call used."""
        self._last = event

    def end(self, error: BaseException | None = None, *, complete: bool = False) -> None:
        """End the call; only the first time counts."""
        if not self._ended:
            self._ended = True
            answered(self._asked, self._last)

    def disown(self) -> None:
        """Leave the call to the process that began it."""
        self._ended = True
        self._asked.call.disown()

    def __del__(self) -> None:
        self.end()


class _Address(NamedTuple):
    host: str
    port: int
    model: str | None


class _Session:
    """What is known of one connection, and the calls on it that have not ended."""

    def __init__(self, provider: Provider, connection: Any) -> None:
        self._provider = provider
        self._address = _address(connection) or _Address("", 443, None)
        self._model = self._address.model
        self._transcribes: str | None = None
        self._pending: dict[str, _Pending] = {}

    def configured(self, path: str, event: Fields) -> None:
        """Note which models the session uses."""
        session = fields(event.get("session"))
        self._model = text(session.get("model")) or self._model
        heard = fields(fields(session.get("audio")).get("input")).get("transcription")
        transcription = fields(heard or session.get("input_audio_transcription"))
        self._transcribes = text(transcription.get("model")) or self._transcribes

    def response_began(self, path: str, event: Fields) -> None:
        """Begin the call that a response is."""
        response = fields(event.get("response"))
        pending = self._begun(str(response.get("id")), path, text(response.get("model")) or self._model)
        if pending is not None:
            pending.note(event)

    def response_ended(self, path: str, event: Fields) -> None:
        """End it, with what it used."""
        self.response_began(path, event)  # when that was before we listened
        self._end(str(fields(event.get("response")).get("id")))

    def transcribed(self, path: str, event: Fields) -> None:
        """Charge the transcription of what the user said."""
        asked = self._ask(_TRANSCRIPTION, self._transcribes)
        if asked is not None:
            answered(asked, event)

    def live_began(self, path: str, event: Fields) -> None:
        """Begin the call that a live session is."""
        self.configured(path, event)
        self._begun(_LIVE, _LIVE, self._model)

    def live_used(self, path: str, event: Fields) -> None:
        """Note the seconds of a live session so far."""
        pending = self._begun(_LIVE, _LIVE, self._model)
        if pending is not None:
            pending.note(event)

    def live_ended(self, path: str, event: Fields) -> None:
        """End a live session with all its seconds."""
        self.configured(path, event)
        self.live_used(path, event)
        self._end(_LIVE)

    def delegated(self, path: str, event: Fields) -> None:
        """Take the event of a response that a live session has asked for."""
        inner = fields(event.get("event"))
        take = _DELEGATED.get(str(inner.get("type")))
        if take is not None:
            take(self, _RESPONSES, inner)

    def decided(self, path: str, event: Fields) -> None:
        """Charge the decision that a live session has asked for."""
        decision = fields(fields(event.get("event")).get("decision"))
        asked = self._ask(_DECISIONS, text(decision.get("model")))
        if asked is not None:
            answered(asked, decision)

    def close(self) -> None:
        """End the calls that no event will end any more."""
        for name in list(self._pending):
            self._end(name)

    def _begun(self, name: str, path: str, model: str | None) -> _Pending | None:
        pending = self._pending.get(name)
        if pending is None:
            asked = self._ask(path, model)
            if asked is None:
                return None
            pending = self._pending[name] = _Pending(asked)
        return pending

    def _end(self, name: str) -> None:
        pending = self._pending.pop(name, None)
        if pending is not None:
            pending.end(complete=True)

    def _ask(self, path: str, model: str | None) -> Asked | None:
        host, port, _ = self._address
        return ask(self._provider, Question(_CONNECT, path, NOTHING, host, port, model=model))


Take = Callable[[_Session, str, Fields], None]

_RESPONSE_ENDS: Final[dict[str, Take]] = {
    "response.done": _Session.response_ended,
    "response.completed": _Session.response_ended,
    "response.incomplete": _Session.response_ended,
    "response.failed": _Session.response_ended,
}
_DELEGATED: Final[dict[str, Take]] = {"response.created": _Session.response_began, **_RESPONSE_ENDS}
_EVENTS: Final[dict[str, Take]] = {
    **_DELEGATED,
    "session.created": _Session.configured,
    "session.updated": _Session.configured,
    "transcription_session.updated": _Session.configured,
    "conversation.item.input_audio_transcription.completed": _Session.transcribed,
    "session.started": _Session.live_began,
    "session.usage.updated": _Session.live_used,
    "session.closed": _Session.live_ended,
    "response.event": _Session.delegated,
    "decision.event": _Session.decided,
}
"""What is done with the events that matter; sounds and words, which are most of them, only pass."""

_sessions: WeakKeyDictionary[Any, _Session] = WeakKeyDictionary()


@never_break_the_host("finding out who is at the other end of a WebSocket")
def _address(connection: Any) -> _Address:
    from urllib.parse import parse_qs, urlsplit  # here, because few apps need it

    request = connection._connection.request
    url = urlsplit(f"//{request.headers['Host']}{request.path}")
    model = parse_qs(url.query).get("model", [None])[0]
    return _Address(url.hostname or "", url.port or 443, model)


def _parse(
    provider: Provider,
    path: str,
    wrapped: Callable[..., Any],
    connection: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    event = wrapped(*args, **kwargs)
    _take(provider, path, connection, event)
    return event


@never_break_the_host("reading an event of a WebSocket")
def _take(provider: Provider, path: str, connection: Any, event: Any) -> None:
    take = _EVENTS.get(fields(event).get("type", ""))
    if take is None:
        return
    session = _sessions.get(connection)
    if session is None:
        session = _sessions[connection] = _Session(provider, connection)
    take(session, path, fields(event))


def _close(
    wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    _end(connection)
    return wrapped(*args, **kwargs)


@never_break_the_host("ending the calls of a WebSocket")
def _end(connection: Any) -> None:
    session = _sessions.pop(connection, None)
    if session is not None:
        session.close()


class _Connections(NamedTuple):
    """The connections of one module."""

    module: str
    name: str
    """What their classes begin with."""
    path: str


_ALL: Final = (
    _Connections("openai.resources.realtime.realtime", "Realtime", _REALTIME),
    _Connections("openai.resources.beta.realtime.realtime", "Realtime", _REALTIME),
    _Connections("openai.resources.responses.responses", "Responses", _RESPONSES),
    _Connections("openai.resources.beta.responses.responses", "Responses", _RESPONSES),
    _Connections("openai.resources.live.live", "Live", _LIVE),
    _Connections("openai.resources.live.sideband", "Sideband", _LIVE),
    _Connections("openai.resources.live.forks", "Forks", _LIVE),
)
_CLOSES: Final = "openai._websocket_connection"


class WebSockets:
    """The connections of the library, whose events say what was used."""

    def hooks(self, provider: Provider) -> Sequence[Hook]:
        """Return what every event passes through, and what ends a connection."""
        events = [
            Hook(
                each.module,
                f"{kind}{each.name}Connection.parse_event",
                functools.partial(_parse, provider, each.path),
                optional=True,  # older versions of the library do not have them all
            )
            for each in _ALL
            for kind in ("", "Async")
        ]
        closing = [
            Hook(_CLOSES, f"{kind}WebSocketConnectionBase.close", _close, optional=True)
            for kind in ("", "Async")
        ]
        return [*events, *closing]


PROVIDER = Provider(
    id="openai_realtime",
    distribution="openai",
    docs="https://platform.openai.com/docs/api-reference/realtime-server-events/response/done",
    shape=WebSockets(),
    operations={
        f"{_CONNECT} {_REALTIME}": Operation(name="realtime", usage=_response_usage, describes=_response),
        f"{_CONNECT} {_TRANSCRIPTION}": Operation(
            name="transcription", usage=used.heard_usage, describes=_transcribed
        ),
        f"{_CONNECT} {_LIVE}": Operation(
            name="realtime", usage=_live_usage, describes=lambda event: fields(event.get("session"))
        ),
        f"{_CONNECT} {_RESPONSES}": RESPONSE,
        f"{_CONNECT} {_DECISIONS}": DECISION,
    },
    name_of_host=name_of_host,
)
