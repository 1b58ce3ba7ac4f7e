"""Gets one body settled: accepted, refused for good, or to be tried again as it is."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from pennytrace._delivery.body import Body


class Answer(NamedTuple):
    """What became of one attempt to deliver a body."""

    accepted: bool
    again: bool = False
    """It was not accepted, and may be if it is tried again."""
    after: float | None = None
    """Seconds to wait before that, when the other side said so."""
    unreachable: bool = False
    """Nobody was there to answer."""
    suspect: bool = False
    """It may be this very body that makes the attempt fail: others should be tried before it."""
    absent: bool = False
    """Nobody takes such things at this address: it is not this body, and not about to pass."""
    too_large: bool = False
    """It was refused for its size, and parts of it may be accepted."""
    rejected: int = 0
    """Spans that were left out of an accepted body."""
    reason: str = ""


class Transport(Protocol):
    """Takes bodies to the collector; used by one thread at a time."""

    def send(self, content: bytes) -> Answer:
        """Make one attempt, within a bounded time; it never raises for what the network does."""
        ...

    def close(self) -> None:
        """Let go of the connection, if there is one; `send` opens a new one."""
        ...


class Posted(NamedTuple):
    """What became of a body in the end."""

    answer: Answer
    """The last one; when it says `again`, nothing is settled and the whole body has to be posted again."""
    lost: int = 0
    """Calls that the collector does not take, whatever is done."""
    reason: str = ""


def post(transport: Transport, body: Body) -> Posted:
    """Send a body; what is refused is divided until only the spans that are the matter are lost.

    Halves that were accepted are sent again when the body is: the collector keeps one row for each span.
    """
    return _settled(transport, body, transport.send(body.content))


def _settled(transport: Transport, body: Body, answer: Answer) -> Posted:
    if answer.accepted:
        return Posted(answer, min(answer.rejected, body.calls), answer.reason)
    if answer.again:
        return Posted(answer)
    return _divided(transport, body, answer)


def _divided(transport: Transport, body: Body, refused: Answer) -> Posted:
    halves = body.halves()
    if halves is None:
        return Posted(refused, body.calls, refused.reason)
    answers = []
    for half in halves:
        answers.append(transport.send(half.content))
        if answers[-1].again:
            return Posted(answers[-1])
    if not refused.too_large and not any(answer.accepted for answer in answers):
        # One bad span spoils one half. When both are refused it is not about single spans, and to ask
        # for each of them would take a thousand requests.
        return Posted(refused, body.calls, refused.reason)
    return _together([_settled(transport, *part) for part in zip(halves, answers, strict=True)])


def _together(parts: list[Posted]) -> Posted:
    for part in parts:
        if part.answer.again:
            return part
    reasons = [part.reason for part in parts if part.lost]
    return Posted(parts[-1].answer, sum(part.lost for part in parts), reasons[0] if reasons else "")
