"""Every way in which an app calls the openai library, each told as plain values: what it gave, and of which types."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from inspect import isawaitable
from typing import Any, Final, NamedTuple

import openai

Told = dict[str, Any]
Around = Callable[[str], AbstractContextManager[object]]
"""What is entered around each call, given its name."""

_CHAT: Final[dict[str, Any]] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "What does a penny weigh?"}],
}


class Servers(NamedTuple):
    """The base URLs that the calls go to."""

    answers: str
    refuses: str


def chat(client: Any) -> Told:
    return _told(client.chat.completions.create(**_CHAT))


def embed(client: Any) -> Told:
    return _told(client.embeddings.create(model="text-embedding-3-small", input="penny"))


def read_stream(client: Any) -> Told:
    return _told_stream(client.chat.completions.create(**_CHAT, stream=True))


def read_stream_with_usage(client: Any) -> Told:
    usage = {"include_usage": True}
    return _told_stream(client.chat.completions.create(**_CHAT, stream=True, stream_options=usage))


def read_stream_in_context(client: Any) -> Told:
    with client.chat.completions.create(**_CHAT, stream=True) as stream:
        return _told_stream(stream)


def close_stream(client: Any) -> Told:
    stream = client.chat.completions.create(**_CHAT, stream=True)
    first = next(iter(stream))
    stream.close()
    return {"type": _name(stream), "first": first.model_dump()}


def drop_stream(client: Any) -> Told:
    stream = client.chat.completions.create(**_CHAT, stream=True)
    told = {"type": _name(stream), "first": next(iter(stream)).model_dump()}
    del stream
    gc.collect()
    return told


def raw_response(client: Any) -> Told:
    raw = client.chat.completions.with_raw_response.create(**_CHAT)
    parsed = raw.parse()
    return {
        "type": _name(raw),
        "parsed": _told(parsed),
        "same": parsed is raw.parse(),
        "status": raw.status_code,
    }


def raw_stream(client: Any) -> Told:
    raw = client.chat.completions.with_raw_response.create(**_CHAT, stream=True)
    return {"type": _name(raw), "parsed": _told_stream(raw.parse())}


def streaming_response(client: Any) -> Told:
    with client.chat.completions.with_streaming_response.create(**_CHAT) as response:
        return {"type": _name(response), "parsed": _told(response.parse())}


def refused(client: Any) -> Told:
    return _told_error(lambda: client.chat.completions.create(**_CHAT))


def refused_stream(client: Any) -> Told:
    return _told_error(lambda: client.chat.completions.create(**_CHAT, stream=True))


async def achat(client: Any) -> Told:
    return _told(await client.chat.completions.create(**_CHAT))


async def aread_stream(client: Any) -> Told:
    stream = await client.chat.completions.create(**_CHAT, stream=True)
    chunks = [chunk.model_dump() async for chunk in stream]
    return {"type": _name(stream), "chunks": chunks}


async def aread_stream_in_a_task(client: Any) -> Told:
    return await asyncio.create_task(aread_stream(client))


async def aclose_stream(client: Any) -> Told:
    stream = await client.chat.completions.create(**_CHAT, stream=True)
    first = await anext(aiter(stream))
    closing = stream.close()
    if isawaitable(closing):  # under openai-v2 it is not
        await closing
    return {"type": _name(stream), "first": first.model_dump()}


async def araw_response(client: Any) -> Told:
    raw = await client.chat.completions.with_raw_response.create(**_CHAT)
    parsed = raw.parse()
    return {"type": _name(raw), "parsed": _told(parsed), "same": parsed is raw.parse()}


async def astreaming_response(client: Any) -> Told:
    async with client.chat.completions.with_streaming_response.create(**_CHAT) as response:
        return {"type": _name(response), "parsed": _told(await response.parse())}


async def arefused(client: Any) -> Told:
    try:
        await client.chat.completions.create(**_CHAT)
    except openai.APIStatusError as error:
        return {"type": _name(error), "error": str(error)}
    return {}


_CALLS: Final[Mapping[str, Callable[[Any], Told]]] = {
    call.__name__: call
    for call in (
        chat,
        embed,
        read_stream,
        read_stream_with_usage,
        read_stream_in_context,
        close_stream,
        drop_stream,
        raw_response,
        raw_stream,
        streaming_response,
        refused,
        refused_stream,
    )
}
_ASYNC_CALLS: Final[Mapping[str, Callable[[Any], Awaitable[Told]]]] = {
    call.__name__: call
    for call in (
        achat,
        aread_stream,
        aread_stream_in_a_task,
        aclose_stream,
        araw_response,
        astreaming_response,
        arefused,
    )
}


class Callers:
    """Makes the calls with clients of their own each time, over connections that stay open."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._loop = asyncio.Runner()
        self._http, self._async_http = openai.DefaultHttpxClient(), openai.DefaultAsyncHttpxClient()

    def make_every_call(self, around: Around) -> dict[str, Told]:
        """Make each call once, within what `around` gives for its name."""
        answered, refused = (openai.OpenAI(**_to(url), http_client=self._http) for url in self._servers)
        told = {}
        for name, call in _CALLS.items():
            with around(name):
                told[name] = call(refused if "refused" in name else answered)
        return told | self._loop.run(self._make_every_async_call(around))

    async def _make_every_async_call(self, around: Around) -> dict[str, Told]:
        http = self._async_http
        answered, refused = (openai.AsyncOpenAI(**_to(url), http_client=http) for url in self._servers)
        told = {}
        for name, call in _ASYNC_CALLS.items():
            with around(name):
                told[name] = await call(refused if "refused" in name else answered)
        gc.collect()  # what is left of streams that were not read to their end is told now, not among the next calls
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
        return told

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._loop.run(self._async_http.aclose())
        self._loop.close()


def _to(url: str) -> dict[str, Any]:
    return {"api_key": "none", "base_url": url, "max_retries": 0}


def _told(result: Any) -> Told:
    return {"type": _name(result), "value": result.model_dump()}


def _told_stream(stream: Any) -> Told:
    return {"type": _name(stream), "chunks": [chunk.model_dump() for chunk in stream]}


def _told_error(call: Callable[[], Any]) -> Told:
    try:
        call()
    except openai.APIStatusError as error:
        return {"type": _name(error), "error": str(error)}
    return {}


def _name(thing: Any) -> str:
    # `__class__` is what `isinstance` goes by: a proxy may name the class of what it stands for.
    return f"{type(thing).__qualname__} as {thing.__class__.__qualname__}"
