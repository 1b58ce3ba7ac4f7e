"""Which spans tell of the same call, and at which one it is charged.

A call is told of twice

- by spans with one response id (an app and its gateway, two instrumentations of one client), if they overlap in time,
  or are of one service and agree in their tokens. What one instrumentation tells twice under one id are two calls: some
  servers give the same id again, and a few always;
- by a span around another one in the same trace (a framework around its client), by parent, or where spans of another
  kind stand in between by time, model and tokens. Where response ids or models differ, they are two calls.

A span around several calls repeats them all. Of those that tell of one call, the one with the best usage is charged,
and of equals the innermost. It takes who spent it from the others, as far as it does not know better. What a month was
closed with stays charged.

It is worked out anew from all that is stored of a call, so that neither the order in which spans came nor a second run
makes a difference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

SAME_RESPONSE: Final = "another span with its response id is charged"
INSIDE: Final = "a span inside it is charged"
SEVERAL_INSIDE: Final = "the calls inside it are charged"
AROUND: Final = "a span around it knows more of it, and is charged"

_OURS: Final = "pennytrace"
_APART: Final = 2_000_000_000  # nanoseconds between two spans from which on one response id is two calls
_NEAR: Final = 20  # spans with the same tokens that are looked at for one inside another
# A feature that somebody named is better than one that was found: see `pennytrace.feature.source`.
_NAMED: Final[Mapping[str, int]] = {"tag": 4, "baggage": 4, "function": 2, "init": 1, "service": 1}
_OTHERS: Final = 3


class Who(NamedTuple):
    """Who spent a call."""

    feature: str
    feature_source: str
    team: str
    customer: str
    user: str
    session: str
    tags: dict[str, str]


class Id(NamedTuple):
    """A span, in hex."""

    trace: str
    span: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is stored of a call that a span tells of."""

    id: Id
    parent: str
    response: int
    """The hash of its response id; 0 for none."""
    scope: str
    service: str
    began: int
    """Nanoseconds since 1970."""
    ended: int
    kind: str
    """Its operation; those that are one chat by another name are the same."""
    models: frozenset[str]
    """As asked for and as answered, in lower case and without a prefix."""
    read: int
    """Tokens."""
    written: int
    quality: int
    """Of its usage: 2 measured, 1 estimated, 0 missing or at fault."""
    details: int
    """Kinds of quantities that it knows."""
    is_closed: bool
    """Whether its month was closed with it."""
    who: Who


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a span."""

    told: Told
    charged_at: Id
    """Itself, or the span that its call is charged at."""
    because: str
    """Why it is not charged; '' if it is."""
    who: Who

    @property
    def is_charged(self) -> bool:
        """Whether the call is charged here."""
        return self.told.id == self.charged_at


def sort(spans: Sequence[Told]) -> Iterator[Verdict]:
    """Yield what becomes of each of some spans, among which are all that may tell of the same calls."""
    nests = _Nests.of(spans)
    for call in _calls(spans, nests):
        winner = max(call, key=_rank(call, nests))
        knowing = {span.id: span for member in call for span in (member, *nests.around.get(member.id, ()))}
        who = _spender(winner, knowing.values())
        for span in call:
            if span is winner:
                yield Verdict(span, winner.id, "", who)
            else:
                yield Verdict(span, winner.id, _why(span, winner, nests), span.who)


@dataclass(frozen=True, slots=True)
class _Nests:
    """Which spans are inside which, as far as they can be of the same call."""

    inside: Mapping[Id, Sequence[Told]]
    """In order of time; only where there are any."""
    around: Mapping[Id, Sequence[Told]]

    @classmethod
    def of(cls, spans: Sequence[Told]) -> _Nests:
        inside: dict[Id, list[Told]] = defaultdict(list)
        around: dict[Id, list[Told]] = defaultdict(list)
        pairs = {
            (outer.id, inner.id): (outer, inner) for outer, inner in (*_by_parent(spans), *_by_tokens(spans))
        }
        for outer, inner in sorted(pairs.values(), key=lambda pair: (pair[1].began, pair[1].id, pair[0].id)):
            if _agree(outer, inner):
                inside[outer.id].append(inner)
                around[inner.id].append(outer)
        return cls(inside, around)

    def is_sum(self, span: Told) -> bool:
        """Whether it is around several calls."""
        return len(self.inside.get(span.id, ())) > 1

    def innermost(self, span: Told) -> Told:
        """The last one inside the last one inside it."""
        seen = {span.id}
        while (within := self.inside.get(span.id)) and within[-1].id not in seen:
            span = within[-1]
            seen.add(span.id)
        return span


def _by_parent(spans: Sequence[Told]) -> Iterator[tuple[Told, Told]]:
    known = {span.id: span for span in spans}
    for inner in spans:
        outer = known.get(Id(inner.id.trace, inner.parent))
        if outer is not None and outer is not inner:
            yield outer, inner


def _by_tokens(spans: Sequence[Told]) -> Iterator[tuple[Told, Told]]:
    alike: dict[tuple[str, int, int], list[Told]] = defaultdict(list)
    for span in spans:
        if span.read + span.written > 0:
            alike[span.id.trace, span.read, span.written].append(span)
    for same in alike.values():
        same.sort(key=lambda span: (span.began, -span.ended, span.id))
        for place, outer in enumerate(same):
            for inner in same[place + 1 : place + 1 + _NEAR]:
                if inner.scope != outer.scope and inner.ended <= outer.ended:
                    yield outer, inner


def _agree(outer: Told, inner: Told) -> bool:
    return (
        outer.kind == inner.kind
        and (outer.response == inner.response or not outer.response or not inner.response)
        and (not outer.models or not inner.models or not outer.models.isdisjoint(inner.models))
    )


def _calls(spans: Sequence[Told], nests: _Nests) -> Iterator[Sequence[Told]]:
    chains: dict[Id, list[Told]] = defaultdict(list)
    for span in spans:
        chains[nests.innermost(span).id].append(span)
    by_response: dict[int | Id, list[Told]] = defaultdict(list)
    for innermost, chain in chains.items():
        by_response[max(span.response for span in chain) or innermost] += chain
    for told in by_response.values():
        yield from _apart(told, nests)


def _apart(told: Sequence[Told], nests: _Nests) -> Iterator[Sequence[Told]]:
    """Yield the calls that spans with one response id tell of.

    One instrumentation tells of a call once, so what it tells twice under one id are two calls, and the id is none
    that could join what is not in one trace.
    """
    chains: dict[Id, list[Told]] = defaultdict(list)
    for span in told:
        chains[nests.innermost(span).id].append(span)
    tellers = [_tellers(chain) for chain in chains.values()]
    is_worn = sum(map(len, tellers)) > len(set().union(*tellers))
    calls: list[list[Told]] = []
    for chain in sorted(chains.values(), key=lambda chain: min((span.began, span.id) for span in chain)):
        call = next((call for call in calls if _is_one(call, chain, in_trace=is_worn)), None)
        if call is None:
            calls.append(list(chain))
        else:
            call += chain
    yield from calls


def _tellers(spans: Sequence[Told]) -> set[tuple[str, str]]:
    return {(span.scope, span.service) for span in spans}


def _is_one(call: Sequence[Told], chain: Sequence[Told], *, in_trace: bool) -> bool:
    """Whether they are; `in_trace` says that the id alone is worth nothing."""
    if _tellers(call) & _tellers(chain):
        return False
    return any(
        _meet(one, other) and (not in_trace or one.id.trace == other.id.trace)
        for one in call
        for other in chain
    )


def _meet(one: Told, other: Told) -> bool:
    if one.began <= other.ended + _APART and other.began <= one.ended + _APART:
        return True
    # What was created by one and is only read again by another, of the same app.
    return one.service == other.service and (one.read, one.written) == (other.read, other.written)


def _rank(call: Sequence[Told], nests: _Nests) -> Callable[[Told], tuple[Any, ...]]:
    # The innermost span is of whoever spoke with the provider: it knows best which provider that was.
    nearest = max(call, key=lambda span: (span.began, -span.ended, span.id)).service

    def rank(span: Told) -> tuple[Any, ...]:
        return (
            not nests.is_sum(span),
            span.is_closed,
            span.quality,
            span.service == nearest,
            span.details,
            span.scope == _OURS,
            span.id not in nests.inside,
            span.began,
            -span.ended,
            span.id,
        )

    return rank


def _why(span: Told, winner: Told, nests: _Nests) -> str:
    if nests.is_sum(span):
        return SEVERAL_INSIDE
    if span.response and span.response == winner.response:
        return SAME_RESPONSE
    return INSIDE if span.id in nests.inside else AROUND


def _spender(winner: Told, knowing: Collection[Told]) -> Who:
    others = sorted(knowing, key=lambda span: (span is winner, span.began, span.id))
    # Of equals the one nearest to the call: `max` takes the first.
    named = max(reversed(others), key=lambda span: (bool(span.who.feature), _named(span))).who
    tags: dict[str, str] = {}
    said = dict.fromkeys(("team", "customer", "user", "session"), "")
    for span in others:  # the innermost last, and the one that is charged after all others
        tags |= span.who.tags
        said |= {name: value for name in said if (value := getattr(span.who, name))}
    return Who(named.feature, named.feature_source, tags=tags, **said)


def _named(span: Told) -> int:
    return _NAMED.get(span.who.feature_source, _OTHERS)
