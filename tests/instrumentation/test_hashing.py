"""With PENNYTRACE_HASH_KEY no user's id leaves the process: a keyed hash does, the same in every process."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import openai
import pytest
from opentelemetry import baggage, context

import pennytrace
from pennytrace import semconv
from pennytrace._setup.settings import resolve
from tests.instrumentation.processes import python
from tests.instrumentation.provider import MODEL
from tests.instrumentation.server import QuietServer
from tests.instrumentation.sink import Recorded, Sink, decode

KEY = "a secret of the company"
USER = "zoë@example.com"
HASH = hmac.new(KEY.encode(), USER.encode(), hashlib.sha256).hexdigest()[:32]
MESSAGES: Any = [{"role": "user", "content": "?"}]


class Wire:
    """Keeps what is posted, to the byte."""

    def __init__(self) -> None:
        self.bytes = b""
        self.spans: list[Recorded] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            return

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            wire.bytes += str(self.headers).encode() + body
            wire.spans += decode(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = QuietServer(("127.0.0.1", 0), Handler)
    wire.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield wire
    server.shutdown()
    server.server_close()


def ask(client: openai.OpenAI) -> None:
    client.chat.completions.create(model=MODEL, messages=MESSAGES)


def test_the_hash_is_sent_and_the_id_is_nowhere_in_the_bytes(
    client: openai.OpenAI, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENNYTRACE_HASH_KEY", KEY)
    pennytrace.init(endpoint=wire.url)
    with pennytrace.tag(user=USER, session="s1"):
        ask(client)
        list(client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True))
    token = context.attach(baggage.set_baggage(semconv.USER_ID, USER))
    ask(client)
    context.detach(token)
    ask(client)
    assert pennytrace.flush(30)
    assert [span.attributes.get(semconv.USER_HASH) for span in wire.spans] == [HASH, HASH, HASH, None]
    assert all(semconv.USER_ID not in span.attributes for span in wire.spans)
    assert wire.spans[0].attributes[semconv.SESSION_ID] == "s1"
    for secret in (USER, "example.com", KEY):
        assert secret.encode() not in wire.bytes


def test_without_a_key_the_id_is_sent_as_it_is(client: openai.OpenAI, wire: Wire) -> None:
    pennytrace.init(endpoint=wire.url)
    with pennytrace.tag(user=USER):
        ask(client)
    assert pennytrace.flush(30)
    (span,) = wire.spans
    assert span.attributes[semconv.USER_ID] == USER
    assert semconv.USER_HASH not in span.attributes


def test_every_process_with_the_key_sends_the_same(sink: Sink, client: openai.OpenAI) -> None:
    code = f"""
import openai, pennytrace
pennytrace.init(endpoint={sink.url!r})
with pennytrace.tag(user={USER!r}):
    openai.OpenAI(api_key="none", base_url={str(client.base_url)!r}).chat.completions.create(
        model="m", messages=[])
"""
    for key in (f"{KEY}\n", "another secret than that"):
        ran = python(code, PENNYTRACE_HASH_KEY=key)
        assert ran.returncode == 0, ran.stderr
    sink.wait_for(2)
    with_the_key, with_another = (span.attributes[semconv.USER_HASH] for span in sink.spans)
    assert with_the_key == HASH
    assert with_another != HASH
    assert len(with_another) == 32


@pytest.mark.parametrize("key", ["", "   ", "too short"])
def test_a_key_that_cannot_be_used_is_told_and_no_user_is_named(
    key: str,
    client: openai.OpenAI,
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("PENNYTRACE_HASH_KEY", key)
    with caplog.at_level(logging.ERROR, logger="pennytrace"):
        pennytrace.init(endpoint=wire.url)
    (record,) = caplog.records
    assert "PENNYTRACE_HASH_KEY: expected a secret of at least 16 characters" in record.getMessage()
    assert "too short" not in record.getMessage()
    with pennytrace.tag(user=USER, feature="f"):
        ask(client)
    assert pennytrace.flush(30)
    (span,) = wire.spans
    assert span.attributes[semconv.FEATURE] == "f"
    assert not {semconv.USER_ID, semconv.USER_HASH} & span.attributes.keys()
    assert USER.encode() not in wire.bytes


def test_the_key_is_in_no_settings_that_are_shown() -> None:
    assert KEY not in repr(resolve({}, {"PENNYTRACE_HASH_KEY": KEY}))
