"""Which rate card a seen model is priced by: the seller from the host before its name, the model as answered first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pennytrace_collectors.catalog import genai
from pennytrace_collectors.catalog.composed import composed
from pennytrace_collectors.catalog.listed import Listed
from pennytrace_collectors.catalog.matching import ANY, Wanted, fits, fits_provider
from pennytrace_collectors.catalog.prices import PRICE_FILE
from pennytrace_collectors.catalog.sellers import counter_of, listed_seller, seller_at, seller_named
from pennytrace_collectors.catalog.siblings import is_fine_tuned

if TYPE_CHECKING:
    from pennytrace_collectors.catalog.compiled import Catalog

NO_MODEL: Final = "no model named"
UNKNOWN_PROVIDER: Final = "unknown provider"
UNKNOWN_MODEL: Final = "unknown model"
NOT_PRICED: Final = "model without a price"
FINE_TUNED: Final = "fine-tuned model without a price of its own"


@dataclass(frozen=True, slots=True)
class SeenModel:
    """What calls say of the model that answered them."""

    provider: str
    host: str
    request_model: str
    response_model: str


@dataclass(frozen=True, slots=True)
class Resolution:
    """The rate card for a seen model, or none and the reason."""

    rate_card: str = ""
    tiered: bool = False
    """Whether the card's prices of service tiers and other variants are this provider's own."""
    sized: bool = False
    """Whether size and quality of an image are parts of the card's variants."""
    reason: str = ""
    why: tuple[str, ...] = ()
    """How it was found, in sentences for people."""
    candidates: tuple[str, ...] = ()
    """When there is no card: at most 3 that are nearest by name, the same model elsewhere before others there."""


@dataclass(frozen=True, slots=True)
class _Seller:
    """Who sells the seen model, and under which names price files may know him."""

    names: tuple[str, ...]
    """As calls call him, then as he goes by here; no name that the host belies."""
    why: str

    @property
    def name(self) -> str:
        return self.names[-1]


@dataclass(frozen=True, slots=True)
class _Model:
    """The name that a seen model is known by, and what the price list has under it."""

    name: str
    listed: Listed | None
    also: tuple[str, ...] = ()
    """Another name that calls have for this very model: price files may use either."""


def resolve(seen: SeenModel, catalog: Catalog) -> Resolution:
    """The rate card of a seen model, every layer of the price list put over the one below. Never a sibling's."""
    seller = _seller(seen, catalog)
    names, why = _names(seen, seller, catalog)
    if not names:
        return Resolution(reason=NO_MODEL)
    model = _model(names, seller, catalog)
    why = (seller.why, *why)
    if model is not None:
        found = _priced(model, seller, catalog)
        if found is not None:
            return replace(found, why=(*why, *found.why))
    return _unpriced(names, model, seller, catalog, why)


def _seller(seen: SeenModel, catalog: Catalog) -> _Seller:
    named = seller_named(seen.provider)
    at_host = seller_at(seen.host, catalog.snapshot)
    seller = at_host or named
    belied = named != seller and listed_seller(named, catalog.snapshot) is not None
    counter = counter_of(seen.provider, seen.host)
    called = (counter,) if counter else () if belied else (seen.provider.strip().lower(),)
    by = f"the host {seen.host!r}" if at_host else f"the provider's name {seen.provider!r}"
    return _Seller((*called, seller), f"sold by {seller!r}, by {by}" if seller else "no provider named")


def _names(seen: SeenModel, seller: _Seller, catalog: Catalog) -> tuple[list[str], tuple[str, ...]]:
    """The model as answered, then as asked for; a deployment's name stands for the model that it means."""
    why = []
    asked = seen.request_model or seen.response_model
    answered = seen.response_model
    meant = _deployed(asked, seen.host, seller, catalog)
    if meant:
        why.append(f"the deployment {asked!r} is {meant[0]!r} ({meant[1]})")
        answered = "" if answered == asked else answered  # an echo says nothing
        asked = meant[0]
    return list(dict.fromkeys(name for name in (answered, asked) if name)), tuple(why)


def _deployed(name: str, host: str, seller: _Seller, catalog: Catalog) -> tuple[str, str] | None:
    """The model behind a deployment's name, and where that is written; the last file that knows it wins."""
    for layer in reversed(catalog.layers):
        fitting = [
            entry
            for entry in layer.file.deployments
            if (not entry.host or fits(entry.host, host))
            and fits(entry.name, name)
            and fits_provider(entry.provider, seller.names)
        ]
        if fitting:
            entry = max(
                fitting, key=lambda entry: (ANY not in entry.name, entry.host != "", ANY not in entry.host)
            )
            return entry.model, entry.written
    return None


def _model(names: Sequence[str], seller: _Seller, catalog: Catalog) -> _Model | None:
    """The first name that any layer knows; after one that means another model, none is looked at."""
    for place, name in enumerate(names):
        found = catalog.listed(seller.name, name)
        if _is_own(name, seller, catalog) or (found and found.itself):
            return _known(
                name, found if found and found.itself else None, names[place + 1 :], seller, catalog
            )
        if found or is_fine_tuned(name):
            return None
    return None


def _known(
    name: str, found: Listed | None, others: Sequence[str], seller: _Seller, catalog: Catalog
) -> _Model:
    also = tuple(other for other in others if _same(found, catalog.listed(seller.name, other)))
    meant = (there for other in also if (there := catalog.listed(seller.name, other)) and there.itself)
    return _Model(name, found or next(meant, None), also)


def _is_own(name: str, seller: _Seller, catalog: Catalog) -> bool:
    wanted = Wanted(seller.names, (name,))
    return any(layer.knows(wanted) for layer in catalog.layers)


def _same(model: Listed | None, other: Listed | None) -> bool:
    """Whether two names may be of one model: not when the price list has each of them, and apart."""
    return model is None or other is None or model.model is other.model


def _priced(model: _Model, seller: _Seller, catalog: Catalog) -> Resolution | None:
    base = model.listed if model.listed and genai.is_priced(model.listed.model) else None
    said = [
        # Only the user's files go by either name: the supplement has each snapshot's own history.
        layer.about(Wanted(seller.names, (model.name, *(model.also if layer.name == PRICE_FILE else ()))))
        for layer in catalog.layers
    ]
    below = catalog.rate_card(base.card) if base else None
    made = composed(f"{seller.name}/{model.name}", below, bool(base and base.own), said)
    if made is None:
        return None
    if made.new:
        catalog.remember(made.card)
    return Resolution(
        made.card.name,
        made.tiered,
        made.sized,
        why=(*_listed_why(model, base, catalog), *made.why),
    )


def _listed_why(model: _Model, base: Listed | None, catalog: Catalog) -> Iterator[str]:
    if base:
        owner = "" if base.own else ", whose models are resold at the same price"
        yield f"{model.name!r} is {base.card!r} in genai-prices {catalog.genai_prices}{owner}"


def _unpriced(
    names: Sequence[str],
    model: _Model | None,
    seller: _Seller,
    catalog: Catalog,
    why: tuple[str, ...],
) -> Resolution:
    looked_up = ((name, catalog.listed(seller.name, name)) for name in names)
    mistaken = [(name, found) for name, found in looked_up if found and not found.itself]
    taken = tuple(
        f"genai-prices would take {name!r} for {found.card!r}, its sibling" for name, found in mistaken
    )
    siblings = [found.card for _, found in mistaken if genai.is_priced(found.model)]
    near = catalog.nearest(names, seller.names, first=siblings)
    return Resolution(reason=_reason(names, model, seller, catalog), why=(*why, *taken), candidates=near)


def _reason(names: Sequence[str], model: _Model | None, seller: _Seller, catalog: Catalog) -> str:
    if model is not None:
        return NOT_PRICED
    listed_here = listed_seller(seller.name, catalog.snapshot) is not None
    if not listed_here and not any(layer.sells(seller.names) for layer in catalog.layers):
        return UNKNOWN_PROVIDER
    return FINE_TUNED if is_fine_tuned(names[0]) else UNKNOWN_MODEL
