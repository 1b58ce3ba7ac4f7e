"""A made-up shop: its calls, as they are and as OTLP, and its price file; boards are checked against it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from pennytrace import semconv

Usage: TypeAlias = Literal["measured", "estimated", "missing"]

START: Final = datetime(2026, 10, 5, tzinfo=UTC)
DAYS: Final = 45


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs in money per million tokens; None: no price."""

    currency: str
    input_mtok: str
    output_mtok: str | None


PRICES: Final = {
    ("acme", "acme-large"): Price("USD", "2.50", "10"),
    ("acme", "acme-small"): Price("USD", "0.15", "0.60"),
    ("acme", "acme-half"): Price("USD", "0.333333", None),
    ("euro-cloud", "euro-1"): Price("EUR", "1.10", "3.30"),
}
UNKNOWN: Final = ("shed", "mystery-9000")

_FEATURES: Final = (
    "checkout",
    'it\'s "new"',
    "a,b) OR (1=1 --",
    "costs $team",
    "поиск",
    "",
    "back\\slash",
    *(f"page {number}" for number in range(9)),
)
_TEAMS: Final = ("growth", "o'team", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sold:
    """One call as the app made it, and what is right to say about it."""

    number: int
    started_at: datetime
    provider: str
    model: str
    environment: str
    team: str
    sent_feature: str
    input_tokens: int
    output_tokens: int
    usage: Usage
    error: str = ""

    @property
    def feature(self) -> str:
        """The feature as the store keeps names: without backslashes."""
        return self.sent_feature.replace("\\", "_")

    @property
    def _price(self) -> Price | None:
        return PRICES.get((self.provider, self.model))

    @property
    def status(self) -> str:
        """`priced`, `partly_priced` or `unpriced`."""
        if self.error:
            return "priced"
        if self.usage == "missing" or self._price is None:
            return "unpriced"
        return "priced" if self._price.output_mtok is not None else "partly_priced"

    @property
    def currency(self) -> str:
        """The currency of its price; empty when there is none."""
        return self._price.currency if self._price else ""

    @property
    def cost(self) -> Decimal | None:
        """What it cost, exactly; None when that is not known."""
        if self.error:
            return Decimal(0)
        if self.status == "unpriced" or self._price is None:
            return None
        into = self.input_tokens * Decimal(self._price.input_mtok)
        out = self.output_tokens * Decimal(self._price.output_mtok or 0)
        return (into + out) / 1_000_000


def calls() -> Sequence[Sold]:
    """Some hundreds of calls over 45 days; the same each time."""
    dice = random.Random(20261005)
    return [_sold(number, dice) for number in range(900)]


def price_file() -> str:
    """The prices as a price file of pennytrace."""
    return "\n".join(_entry(provider, model, price) for (provider, model), price in PRICES.items())


def otlp(sold: Sequence[Sold]) -> bytes:
    """The calls as length-delimited OTLP messages, one for each environment."""
    messages = bytearray()
    for environment in sorted({call.environment for call in sold}):
        spans = [_span(call) for call in sold if call.environment == environment]
        resource = ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])
        resource.resource.attributes.append(_text(semconv.ENVIRONMENT, environment))
        resource.resource.attributes.append(_text(semconv.SERVICE_NAME, "shop"))
        body = ExportTraceServiceRequest(resource_spans=[resource]).SerializeToString()
        messages += _varint(len(body)) + body
    return bytes(messages)


def _sold(number: int, dice: random.Random) -> Sold:
    models = [*PRICES, UNKNOWN]
    provider, model = dice.choices(models, weights=[30, 40, 6, 12, 5])[0]
    usages: Sequence[Usage] = ("measured", "estimated", "missing")
    usage = dice.choices(usages, weights=[85, 10, 5])[0]
    failed = usage == "missing" and dice.random() < 0.5
    return Sold(
        number=number,
        started_at=START + timedelta(microseconds=dice.randrange(DAYS * 86_400_000_000)),
        provider=provider,
        model=model,
        environment=dice.choice(("production", "staging", "")),
        team=dice.choice(_TEAMS),
        sent_feature=dice.choice(_FEATURES),
        input_tokens=0 if usage == "missing" else dice.randrange(1, 40_000),
        output_tokens=0 if usage == "missing" else dice.randrange(1, 4_000),
        usage=usage,
        error="RateLimitError" if failed else "",
    )


def _entry(provider: str, model: str, price: Price) -> str:
    lines = [
        "[[price]]",
        f'provider = "{provider}"',
        f'model = "{model}"',
        f'currency = "{price.currency}"',
        f"input_mtok = {price.input_mtok}",
    ]
    if price.output_mtok is not None:
        lines.append(f"output_mtok = {price.output_mtok}")
    return "\n".join(lines) + "\n"


def _span(call: Sold) -> Span:
    start = int(call.started_at.timestamp()) * 1_000_000_000 + call.started_at.microsecond * 1000
    return Span(
        trace_id=call.number.to_bytes(16, "big"),
        span_id=(call.number + 1).to_bytes(8, "big"),
        name=f"chat {call.model}",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=start,
        end_time_unix_nano=start + 1_500_000_000,
        attributes=list(_attributes(call)),
    )


def _attributes(call: Sold) -> Iterator[KeyValue]:
    texts = {
        semconv.OPERATION_NAME: "chat",
        semconv.PROVIDER_NAME: call.provider,
        semconv.REQUEST_MODEL: call.model,
        semconv.USAGE_SOURCE: call.usage,
        semconv.FEATURE: call.sent_feature,
        semconv.TEAM: call.team,
        semconv.ERROR_TYPE: call.error,
    }
    for name, value in texts.items():
        if value:
            yield _text(name, value)
    if call.usage != "missing":
        yield KeyValue(key=semconv.INPUT_TOKENS, value=AnyValue(int_value=call.input_tokens))
        yield KeyValue(key=semconv.OUTPUT_TOKENS, value=AnyValue(int_value=call.output_tokens))


def _text(name: str, value: str) -> KeyValue:
    return KeyValue(key=name, value=AnyValue(string_value=value))


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])
