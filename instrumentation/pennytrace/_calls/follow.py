"""Follows the body of an HTTP response while the app reads it: never ahead, and on every path to an end.

It stands in the place of the response's stream of bytes, below everything the client library makes of them,
so one implementation serves parsed streams, raw responses and files, of any library on httpx or httpx2.
"""

from __future__ import annotations

import base64
import functools
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, MutableSequence
from itertools import chain
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from pennytrace._calls.call import Outcome, error_type
from pennytrace._calls.ending import end_with_the_process
from pennytrace._calls.provider import NOTHING
from pennytrace._calls.reading import Asked, Reading, each, whole
from pennytrace._guard import never_break_the_host

_END_OF_EVENT: Final = re.compile(rb"\r?\n\r?\n|\r\r")
_END_OF_LINE: Final = re.compile(rb"\n")
_PRELUDE: Final = 12  # bytes of a frame of AWS's event stream: its length, that of its headers, a checksum
_CHECKSUM: Final = 4
_MOST_HELD: Final = 1 << 18  # bytes of events that are kept unread
_MOST_JSON: Final = 1 << 20  # bytes; of a longer document only both ends are kept, where all we read stands
_END_OF_JSON: Final = 1 << 14
_LAST_EVENTS: Final = 3  # usage is in the last one, or before the one that says that it was the last
_LINES_A_TIME: Final = 100


Search: TypeAlias = Callable[[bytes], Any] | None


class Form(NamedTuple):
    """How the events of a stream stand in its bytes."""

    split: Callable[[bytes], list[bytes]]
    """Returns the complete events, and the incomplete last one."""
    read: Callable[[bytes], Any]
    """Returns what an event says; None when that is not a JSON object."""


class Events:
    """A body of events: server-sent, JSON documents one a line, or frames; it hides the event only we asked for."""

    def __init__(self, asked: Asked, form: Form, *, hides: bool = False) -> None:
        self._asked = asked
        self._reading = Reading(asked.operation, asked.body)
        self._split, self._read_event = form
        self._hides = hides
        self.search: Search = asked.operation.reports.search if hides else None
        self.kept: MutableSequence[bytes] = []
        self.held = b""
        """The beginning of an event whose end has not arrived yet."""

    def keep(self, data: bytes) -> bytes:
        """Note `data`; return what of it, and of what was held back, the app gets."""
        if not self._hides:
            self.kept.append(data)
            return data
        *events, self.held = self._split(self.held + data)
        self.kept += events
        return b"".join(event for event in events if not self._is_ours(event))

    def rest(self) -> bytes:
        """Return what is held back when the body ends."""
        rest, self.held = self.held, b""
        return rest

    def condense(self) -> None:
        """Read what is kept, so that a long stream does not fill the memory."""
        *events, last = self._split(b"".join(self.kept))
        self.kept[:] = [last] if last else []
        self._read(events)

    def is_complete(self) -> bool:
        """Tell whether the last event is the one that says so."""
        return bool(self.kept) and self.kept[-1].rstrip().endswith(b"[DONE]")

    def finish(self, error: str | None, complete: bool) -> None:
        """End the call with what the events say."""
        if complete and self._hides:
            self._keep_what_reports()
        self._asked.call.finish(functools.partial(self._outcomes, error, complete))

    def _keep_what_reports(self) -> None:
        """Keep the first and the last events only, if those tell all: a call that waits to be sent should be small."""
        reports, last = self._asked.operation.reports.search, self.kept[-_LAST_EVENTS:]
        if len(self.kept) > _LAST_EVENTS and any(map(reports, last)):
            self.kept[:] = [self.kept[0], *last]

    def _outcomes(self, error: str | None, complete: bool) -> Iterable[Outcome]:
        """Read the events that matter: those that report, and if they do not, all."""
        events = self._split(b"".join(self.kept))
        reports = self._asked.operation.reports.search
        reporting = [event for event in events if reports(event)]
        if not reporting or not complete:
            reporting = events
        self._read([*events[:1], *reporting] if reporting[:1] != events[:1] else reporting)
        return (self._reading.outcome(error, estimate=True, cut=not complete),)

    def _read(self, events: Iterable[bytes]) -> None:
        for event in events:
            fields = self._read_event(event)
            if fields is not None:
                self._reading.take(fields)
                self._reading.take_text(fields)

    def _is_ours(self, event: bytes) -> bool:
        if not self._asked.operation.reports.search(event):
            return False
        fields = self._read_event(event)
        return fields is not None and bool(self._asked.operation.only_reports_usage(fields))


class Document:
    """A body that is one JSON document, or anything else that ends."""

    search: Search = None
    held = b""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.kept: MutableSequence[bytes] = []

    def keep(self, data: bytes) -> bytes:
        """Note `data`."""
        self.kept.append(data)
        return data

    def rest(self) -> bytes:
        """Nothing is held back."""
        return b""

    def condense(self) -> None:
        """Keep the end only: what is long is embeddings or audio, and usage stands after them."""
        if sum(map(len, self.kept)) > _MOST_JSON:
            self.kept[:] = [b"".join(self.kept)[-_END_OF_JSON:]]

    def is_complete(self) -> bool:
        """A document that was not read to its end is not complete."""
        return False

    def finish(self, error: str | None, complete: bool) -> None:
        """End the call with the usage of the document, if all of it was read."""
        self._asked.call.finish(functools.partial(self._outcomes, error, b"".join(self.kept)))

    def _outcomes(self, error: str | None, content: bytes) -> Iterable[Outcome]:
        _, operation, body = self._asked
        answer = parsed(content) or NOTHING  # sound, or text: the request alone may say what it costs
        if error is None:
            return each(operation, body, answer)
        return (whole(operation, body, answer, error),)


class Lines:
    """A file of JSON documents, one a line, each with a call of its own; charged when all of it was read."""

    search: Search = None
    held = b""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._read: list[Outcome] = []
        self.kept: MutableSequence[bytes] = []

    def keep(self, data: bytes) -> bytes:
        """Note `data`."""
        self.kept.append(data)
        return data

    def rest(self) -> bytes:
        """Nothing is held back."""
        return b""

    def condense(self) -> None:
        """Read the lines that are complete, so that a long file does not fill the memory, and any other file less."""
        *lines, last = b"".join(self.kept).split(b"\n")
        self.kept[:] = [last] if last.startswith(b"{") else []
        self._read += self._outcomes(lines)

    def is_complete(self) -> bool:
        """A file that was not read to its end is not complete."""
        return False

    def finish(self, error: str | None, complete: bool) -> None:
        """Charge every line, some at a time, so that no thread is held up."""
        if complete and error is None:
            lines = b"".join(self.kept).split(b"\n")
            blocks = (lines[first : first + _LINES_A_TIME] for first in range(0, len(lines), _LINES_A_TIME))
            unread = (functools.partial(self._outcomes, block) for block in blocks)
            self._asked.call.finish(lambda: self._read, *unread)

    def _outcomes(self, lines: list[bytes]) -> Iterable[Outcome]:
        _, operation, body = self._asked
        documents = (parsed(line) for line in lines if operation.reports.search(line))
        return [whole(operation, body, document) for document in documents if document is not None]


class Content(Protocol):
    """What a body is made of, and how it ends a call."""

    search: Search
    """Finds what must be looked at before the app gets it; None when nothing must."""
    kept: MutableSequence[bytes]
    held: bytes
    """What has come and not been passed on."""

    def keep(self, data: bytes) -> bytes:
        """Note `data`; return what of it, and of what was held back, the app gets."""
        ...

    def rest(self) -> bytes:
        """Return what is held back when the body ends."""
        ...

    def condense(self) -> None:
        """Keep less of what has passed."""
        ...

    def is_complete(self) -> bool:
        """Tell whether there is nothing more to come, although the body has not ended."""
        ...

    def finish(self, error: str | None, complete: bool) -> None:
        """End the call."""
        ...


class _Encoded:
    """Bytes on the wire that mean nothing before they are decoded: they only pass."""

    search: Search = None
    held = b""

    def __init__(self) -> None:
        self.kept: deque[bytes] = deque(maxlen=0)

    def rest(self) -> bytes:
        """The decoder hands out what is held back."""
        return b""


class _Following:
    """One response's body on its way to the app."""

    __slots__ = ("__weakref__", "_asked", "_ended", "content")

    def __init__(self, content: Content, asked: Asked) -> None:
        self._asked = asked
        self._ended = False
        self.content = content
        end_with_the_process(self)

    @never_break_the_host("noting the first bytes of a body")
    def begin(self) -> None:
        """Note that the first bytes are here."""
        self._asked.call.first_chunk()

    def looked_at(self, data: bytes) -> bytes:
        """Note `data`, and return what the app gets in its place: when that fails, what came."""
        passed = self._pass(data)
        return data if passed is None else passed

    @never_break_the_host("reading a body along")
    def _pass(self, data: bytes) -> bytes:
        return self.content.keep(data)

    @never_break_the_host("keeping less of a long body")
    def condense(self) -> None:
        """Keep less of what has passed."""
        self.content.condense()

    @never_break_the_host("passing on the rest of a body")
    def rest(self) -> bytes:
        """Return what was held back when the body ended."""
        return self.content.rest()

    @never_break_the_host("ending a body")
    def end(self, error: BaseException | None = None, *, complete: bool = False) -> None:
        """End the call; only the first time counts."""
        if not self._ended:
            self._ended = True
            abandoned = error is None or isinstance(error, GeneratorExit)
            self.content.finish(None if abandoned else error_type(error), complete)

    @never_break_the_host("closing a body")
    def close(self) -> None:
        """End the call, for the app reads no further."""
        self.end(complete=self.content.is_complete())

    def disown(self) -> None:
        """Leave the call to the process that began it."""
        self._ended = True
        self._asked.call.disown()


class _Followed:
    """A response's stream of bytes, followed. Its methods are those of httpx's streams.

    The loops run for every read of every stream, between an app and a client library that do so much else that
    each further call in them starts cold: what nearly all reads are passes without one.
    """

    def __init__(self, inner: Any, following: _Following, content: Content | _Encoded) -> None:
        self._inner = inner
        self._following = following
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        following, content = self._following, self._content
        kept, search, size = content.kept, content.search, 0
        try:
            for data in self._inner:
                if not size:
                    following.begin()
                size += len(data)
                if search is None or (search(data) is None and data[-2:] == b"\n\n" and not content.held):
                    kept.append(data)
                    yield data
                else:
                    passed = following.looked_at(data)
                    if passed:
                        yield passed
                if size > _MOST_HELD:
                    following.condense()
                    size = 1
            if rest := content.rest():
                yield rest
            following.end(complete=True)
        except BaseException as error:
            following.end(error)
            raise

    async def __aiter__(self) -> AsyncIterator[bytes]:
        following, content = self._following, self._content
        kept, search, size = content.kept, content.search, 0
        try:
            async for data in self._inner:
                if not size:
                    following.begin()
                size += len(data)
                if search is None or (search(data) is None and data[-2:] == b"\n\n" and not content.held):
                    kept.append(data)
                    yield data
                else:
                    passed = following.looked_at(data)
                    if passed:
                        yield passed
                if size > _MOST_HELD:
                    following.condense()
                    size = 1
            if rest := content.rest():
                yield rest
            following.end(complete=True)
        except BaseException as error:
            following.end(error)
            raise

    def close(self) -> None:
        self._following.close()
        self._inner.close()

    async def aclose(self) -> None:
        self._following.close()
        await self._inner.aclose()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __del__(self) -> None:
        self._following.end()


class _Decoder:
    """A response's decoder, followed: a body that is compressed can be read where it no longer is."""

    def __init__(self, inner: Any, following: _Following) -> None:
        self._inner = inner
        self._following = following

    def decode(self, data: bytes) -> Any:
        return self._passed(self._inner.decode(data))

    def flush(self) -> Any:
        flushed = self._passed(self._inner.flush())
        rest = self._following.rest() or b""
        return flushed + rest if isinstance(flushed, bytes) else chain(flushed, (rest,) if rest else ())

    def _passed(self, decoded: bytes | Iterable[bytes]) -> Any:
        """Look at what was decoded: bytes in httpx, an iterator of them in httpx2."""
        look = self._following.looked_at
        if isinstance(decoded, bytes):
            return look(decoded) if decoded else decoded
        return (look(part) for part in decoded if part)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


_PLAIN: Final = frozenset({"", "identity"})


def follow(response: Any, asked: Asked, *, stream: bool, hides: bool = False) -> None:
    """Let the call end with the body of an HTTP response, in whatever way the app reads it.

    Args:
        response: Of httpx or httpx2.
        asked: What it answers.
        stream: Whether the body is a stream of events.
        hides: Whether there will be an event in it that the app did not ask for.
    """
    media = response.headers.get("content-type", "").partition(";")[0]
    content = _content(asked, stream, hides, media)
    following = _Following(content, asked)
    if response.is_closed:
        content.keep(response.content)
        following.end(complete=True)
        return
    passing: Content | _Encoded = content
    if response.headers.get("content-encoding", "").lower() not in _PLAIN:
        response._decoder = _Decoder(response._get_content_decoder(), following)
        passing = _Encoded()
    stream_of_bytes = response.stream
    kind: Any = type(stream_of_bytes)
    response.stream = _followed(kind)(stream_of_bytes, following, passing)


def _content(asked: Asked, stream: bool, hides: bool, media: str) -> Content:
    if asked.operation.lines:
        return Lines(asked)
    return Events(asked, _FORMS.get(media, _SERVER_SENT), hides=hides) if stream else Document(asked)


@functools.lru_cache(maxsize=64)
def _followed(kind: Any) -> type[_Followed]:
    """Return our class as one of httpx's, which looks at the type of a stream before it reads it."""
    bases = tuple(base for base in kind.__mro__ if base.__name__ in ("SyncByteStream", "AsyncByteStream"))
    return type("Followed", (_Followed, *bases), {})


def _split(separator: re.Pattern[bytes], data: bytes) -> list[bytes]:
    """Return the complete events in `data`, separators included, and the incomplete last one."""
    events, begin = [], 0
    for end in separator.finditer(data):
        events.append(data[begin : end.end()])
        begin = end.end()
    return [*events, data[begin:]]


def _frames(data: bytes) -> list[bytes]:
    """Return the complete frames in `data`, each of which says first how long it is, and the incomplete last one."""
    frames, begin = [], 0
    while (size := int.from_bytes(data[begin : begin + 4], "big")) > _PRELUDE and begin + size <= len(data):
        frames.append(data[begin : begin + size])
        begin += size
    return [*frames, data[begin:]]


def _json_of(event: bytes) -> Any:
    """Return what the data of an event say; None when that is not a JSON object."""
    lines = event.splitlines()
    data = b"".join(line[5:] for line in lines if line.startswith(b"data:")) or event.strip()
    return parsed(data) if data.lstrip().startswith(b"{") else None


def _json_in_frame(frame: bytes) -> Any:
    """Return what a frame says: a document, which may have the provider's own event in it, in base64."""
    begin = _PRELUDE + int.from_bytes(frame[4:8], "big")
    document = parsed(frame[begin:-_CHECKSUM])
    event = document.get("bytes") if isinstance(document, dict) else None
    return parsed(base64.b64decode(event)) if isinstance(event, str) else document


_SERVER_SENT: Final = Form(functools.partial(_split, _END_OF_EVENT), _json_of)
_JSON_LINES: Final = Form(functools.partial(_split, _END_OF_LINE), _json_of)
_FORMS: Final = {
    "application/vnd.amazon.eventstream": Form(_frames, _json_in_frame),
    "application/x-ndjson": _JSON_LINES,
    "application/stream+json": _JSON_LINES,
}
"""How events stand in a body, by its type; others are server-sent."""


def parsed(document: bytes) -> Any:
    """Return a JSON document; of one whose beginning is missing only its usage; None when it is not JSON."""
    try:
        return json.loads(document)
    except ValueError:
        return _parsed_end(document.decode("utf-8", "replace"))


def _parsed_end(document: str) -> Any:
    _, found, after = document.rpartition('"usage"')
    try:
        usage, _ = json.JSONDecoder().raw_decode(after.lstrip(" :\r\n\t"))
    except ValueError:
        return None
    return {"usage": usage} if found else None
