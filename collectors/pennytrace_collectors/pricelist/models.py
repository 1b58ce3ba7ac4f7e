"""The models that a price list names, and who sells them."""

from __future__ import annotations

from collections.abc import Iterator

from pennytrace_collectors.catalog import Catalog, RateCard, SeenModel
from pennytrace_collectors.catalog.genai import card_name, is_priced
from pennytrace_collectors.catalog.matching import ANY
from pennytrace_collectors.catalog.sellers import seller_named


def known_models(catalog: Catalog) -> list[tuple[str, str]]:
    """Provider and name of every model that a layer has a price for, in order; the provider may be '*'.

    What stands in a price file with a wildcard has no end, and is left out.
    """
    listed = {
        (provider.id, model.id)
        for provider in catalog.snapshot.providers
        for model in provider.models
        if is_priced(model)
    }
    return sorted(listed | set(_own_models(catalog)))


def providers(catalog: Catalog) -> list[str]:
    """Every provider that a layer has a price for, by the name it goes by in the price list."""
    listed = {provider.id for provider in catalog.snapshot.providers}
    own = {entry.provider for layer in catalog.layers for entry in layer.file.prices}
    return sorted(listed | {seller_named(name) for name in own if ANY not in name})


def maker(catalog: Catalog, model: str) -> str:
    """The provider whose model this is by its name; empty when that is not known."""
    try:
        return catalog.snapshot.find_provider(model.lower(), None, None).id
    except LookupError:
        return ""


def priced(catalog: Catalog, provider: str, model: str) -> RateCard | None:
    """The prices of a model with all layers put together; None when it has none.

    Some of genai-prices' names are none that calls have ('regional.…' for 'eu.…', 'us.…'): theirs are its own prices.
    """
    found = catalog.resolve(SeenModel("" if provider == ANY else provider, "", "", model))
    return catalog.rate_card(found.rate_card or card_name(provider, model))


def priced_models(catalog: Catalog) -> dict[str, RateCard]:
    """The prices of every model, by 'provider/model'."""
    found = {(provider, model): priced(catalog, provider, model) for provider, model in known_models(catalog)}
    return {f"{provider}/{model}": card for (provider, model), card in found.items() if card}


def _own_models(catalog: Catalog) -> Iterator[tuple[str, str]]:
    for layer in catalog.layers:
        for entry in layer.file.prices:
            provider = entry.provider if ANY in entry.provider else seller_named(entry.provider)
            for model in entry.model:
                if ANY not in model and (provider == ANY or ANY not in provider):
                    yield provider, model
