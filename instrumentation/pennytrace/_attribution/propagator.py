"""What OpenTelemetry calls to add our tags to requests; imported only when the app uses its propagators."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry.baggage import set_baggage
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)

from pennytrace._attribution import tracestate
from pennytrace._attribution.baggage import HEADER, merged, without
from pennytrace._attribution.propagation import (
    OURS,
    arriving,
    is_for_a_model,
    told_to_own_server,
    travelling,
)
from pennytrace._attribution.tags import Tags
from pennytrace._guard import never_break_the_host


class TagPropagator(TextMapPropagator):
    """The app's own propagator, and our tags in the `baggage` header that it sends.

    It is not a second one beside the app's: two would each write the header, and one would be lost. While a
    model provider is being called it takes our entries out, also those that have come from another service. A server
    of one's own, which is told who spends by the request's `tracestate`, is still told where the app has one too.
    """

    def __init__(self, inner: TextMapPropagator) -> None:
        self.inner = inner
        self._brings_baggage = HEADER in inner.fields

    @property
    def fields(self) -> set[str]:
        """The headers that may be written."""
        return {*self.inner.fields, HEADER}

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        """Let the app's propagator write, and add our tags to what it writes."""
        for_a_model, tags = is_for_a_model(), travelling()
        if not for_a_model and not tags:
            self.inner.inject(carrier, context, setter=setter)
            return
        adding: _Adding[CarrierT] = _Adding(setter, tags, told_to_own_server(), strips=for_a_model)
        self.inner.inject(carrier, context, setter=adding)
        if tags:
            adding.complete(carrier)

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        """Let the app's propagator read; our tags are read too when it does not read baggage."""
        found = self.inner.extract(carrier, context, getter=getter)
        if self._brings_baggage:
            return found
        return _with_our_baggage(found, carrier, getter) or found


class _Adding(Setter[CarrierT]):
    """The carrier's setter, which sees the `baggage` header pass."""

    def __init__(self, setter: Setter[CarrierT], tags: Tags, told: str, *, strips: bool) -> None:
        self._setter = setter
        self._tags = tags
        self._told = told
        self._strips = strips
        self._done = False

    def set(self, carrier: CarrierT, key: str, value: str) -> None:
        """Set what the app's propagator sets, with our tags added to it, or taken out of it."""
        name = key.lower()
        if name == HEADER:
            self._set_if_any(carrier, key, self._baggage(value))
        elif name == tracestate.HEADER and self._strips:
            self._set_if_any(carrier, key, _with_ours(value, self._told))
        else:
            self._setter.set(carrier, key, value)

    def _set_if_any(self, carrier: CarrierT, key: str, value: str | None) -> None:
        if value:
            self._setter.set(carrier, key, value)

    def _baggage(self, header: str) -> str | None:
        self._done = True
        changed = _changed(header, self._tags, self._strips)
        return header if changed is None and not self._strips else changed

    @never_break_the_host("adding tags to a request")
    def complete(self, carrier: CarrierT) -> None:
        """Set the header when the app's propagator has not."""
        if not self._done:
            self._setter.set(carrier, HEADER, merged(_already_in(carrier), self._tags))


@never_break_the_host("changing the baggage of a request")
def _changed(header: str, tags: Tags, strips: bool) -> str:
    return without(header, OURS) if strips else merged(header, tags)


@never_break_the_host("changing the tracestate of a request")
def _with_ours(header: str, member: str) -> str:
    return tracestate.merged(header, member)


def _already_in(carrier: Any) -> str:
    """Return the header that the app has put there by hand, where carriers can be asked."""
    get = getattr(carrier, "get", None)
    present = get(HEADER) if get is not None else None
    return present if isinstance(present, str) else ""


@never_break_the_host("reading the tags of a request")
def _with_our_baggage(context: Context, carrier: CarrierT, getter: Getter[CarrierT]) -> Context:
    headers: Collection[str] = getter.get(carrier, HEADER) or ()
    for name, value in arriving(next(iter(headers), "")).items():
        context = set_baggage(name, value, context)
    return context
