"""Connections of clients that do nothing, or do it slowly: they go, and nobody else waits for them."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from pennytrace_collectors.receive.connection import Manners
from tests.collectors import otlp
from tests.collectors.waiting import eventually

from .receiver import Receiver, receiving

HEAD = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
STRICT = Manners(connections=20, idle_s=1, headers_s=0.3, headers_bytes=10_000)


@pytest.fixture
def strict() -> Iterator[Receiver]:
    with receiving(manners=STRICT) as receiver:
        yield receiver


def connected(receiver: Receiver) -> socket.socket:
    return socket.create_connection(("127.0.0.1", receiver.http_port), timeout=30)


def rest_of(connection: socket.socket) -> bytes:
    """What the server sends until it closes; a reset is the way in which it closes on unread bytes."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            received += piece
    return received


def drip(connection: socket.socket, data: bytes) -> None:
    """Send a byte now and then until the other side has had enough."""
    with contextlib.suppress(OSError):
        for number in range(len(data)):
            connection.sendall(data[number : number + 1])
            time.sleep(0.05)


def health(connection: socket.socket) -> bool:
    connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
    answer = b""
    while not answer.endswith(b"well"):
        answer += connection.recv(65536)
    return answer.startswith(b"HTTP/1.1 200 ")


def served(receiver: Receiver) -> bool:
    return receiver.post(otlp.body()).status == 200


def test_a_connection_on_which_nothing_is_asked_is_closed(strict: Receiver) -> None:
    with connected(strict) as connection:
        assert rest_of(connection) == b""
    assert served(strict)


@pytest.mark.parametrize("drop", [HEAD * 100, b"\r\n" * 2000])
def test_a_client_that_drips_its_headers_is_cut_off(strict: Receiver, drop: bytes) -> None:
    with connected(strict) as connection:
        dripping = threading.Thread(target=drip, args=(connection, drop))
        dripping.start()
        assert rest_of(connection) == b""
        dripping.join()


def test_the_second_request_of_a_connection_has_no_more_time_than_the_first(strict: Receiver) -> None:
    with connected(strict) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\nGET /hea")
        dripping = threading.Thread(target=drip, args=(connection, b"l" * 2000))
        dripping.start()
        assert rest_of(connection).endswith(b"\r\n\r\nwell")
        dripping.join()


def test_a_connection_that_is_used_now_and_then_stays() -> None:
    with (
        receiving(manners=Manners(idle_s=30, headers_s=0.3)) as receiver,
        connected(receiver) as connection,
    ):
        for _ in range(3):
            assert health(connection)
            # Longer than headers may take, which is no matter between requests.
            time.sleep(0.5)


def in_headers(connection: socket.socket, piece: bytes) -> None:
    connection.sendall(HEAD)
    while True:
        connection.sendall(b"x: " + piece)


def in_trailers(connection: socket.socket, piece: bytes) -> None:
    connection.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
    while True:
        connection.sendall(b"x: " + piece)


@pytest.mark.parametrize("place", [in_headers, in_trailers])
@pytest.mark.parametrize("piece", [b"y\r\n", b"y" * 1000])
def test_headers_without_an_end_are_cut_off(
    strict: Receiver, place: Callable[[socket.socket, bytes], None], piece: bytes
) -> None:
    with connected(strict) as connection, pytest.raises(ConnectionError):
        place(connection, piece)
    assert served(strict)
    assert strict.memory.spans == 1


def test_too_many_headers_are_named_as_the_reason(strict: Receiver) -> None:
    with connected(strict) as connection:
        connection.sendall(HEAD + b"x: " + b"y" * 20_000)
        assert rest_of(connection).startswith(b"HTTP/1.1 431 ")


def test_a_new_connection_takes_the_place_of_the_one_that_was_idle_for_the_longest() -> None:
    with receiving(manners=Manners(connections=20, idle_s=600)) as receiver, ExitStack() as stack:
        idle = []
        for _ in range(20):
            idle.append(stack.enter_context(connected(receiver)))
            time.sleep(0.001)
        for number in range(3):
            stack.enter_context(connected(receiver))
            assert rest_of(idle[number]) == b""
        assert served(receiver)
        assert rest_of(idle[3]) == b""
        assert health(idle[4])


def test_when_all_connections_are_busy_a_new_one_is_told_to_come_back() -> None:
    with receiving(manners=Manners(connections=20)) as receiver, ExitStack() as stack:
        busy = [stack.enter_context(connected(receiver)) for _ in range(20)]
        body = otlp.body()
        for connection in busy:
            connection.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body[:10])
        eventually(lambda: receiver.intake.tally.requests["http/protobuf"] == 20)
        with connected(receiver) as refused:
            answer = rest_of(refused)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer
        for connection in busy:
            connection.sendall(body[10:])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert served(receiver)
    assert receiver.memory.spans == 21


def test_a_body_that_drips_is_cut_off_at_its_own_time_while_others_are_served() -> None:
    with receiving(body_time_s=0.5) as receiver, ExitStack() as stack:
        slow = [stack.enter_context(connected(receiver)) for _ in range(50)]
        for connection in slow:
            connection.sendall(HEAD + b"content-length: 100000\r\n\r\n")
        dripping = [threading.Thread(target=drip, args=(connection, b"x" * 1000)) for connection in slow]
        for thread in dripping:
            thread.start()
        assert served(receiver)
        for connection in slow:
            assert rest_of(connection).startswith(b"HTTP/1.1 400 ")
        for thread in dripping:
            thread.join()
        assert receiver.intake.budget.used_bytes == 0
