"""Which rate card a seen model is priced by: the seller from the host before its name, the model as answered first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import ModelInfo, Provider

from pennytrace_collectors.catalog import genai
from pennytrace_collectors.catalog.compiled import Catalog
from pennytrace_collectors.catalog.pricefile import ANY_PROVIDER, card_name

# The price list's provider for names that instrumentations use, where the two differ. Only these and the list's own:
# genai-prices would also take whatever contains "openai" for OpenAI, and so a self-hosted compatible server as well.
_PROVIDER_IDS: Final = {
    "aws.bedrock": "aws",
    "az.ai.inference": "azure",
    "az.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "bedrock": "aws",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "gemini": "google",
    "microsoft.foundry": "azure",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "vertex_ai": "google",
    "x_ai": "x-ai",
    "xai": "x-ai",
}


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
    """Whether the card's service-tier prices are this provider's own."""
    reason: str = ""


def resolve(seen: SeenModel, catalog: Catalog) -> Resolution:
    """The rate card of a seen model: the user's own price first, then the price list. Never a sibling's."""
    models = [name for name in (seen.response_model, seen.request_model) if name]
    if not models:
        return Resolution(reason="no model named")
    for model in models:
        own = _own_card(seen.provider, model, catalog)
        if own:
            return Resolution(own)
    provider = _provider(seen, catalog.snapshot)
    if provider is None:
        return Resolution(reason="unknown provider")
    for model in models:
        listed = _listed(provider, model, catalog.snapshot)
        if listed is not None:
            return listed
    return Resolution(reason="unknown model")


def _own_card(provider: str, model: str, catalog: Catalog) -> str:
    matches = [price for price in catalog.own_prices if price.model == model]
    exact = (price for price in matches if price.provider == provider)
    anyone = (price for price in matches if price.provider == ANY_PROVIDER)
    chosen = next(exact, None) or next(anyone, None)
    return card_name(chosen) if chosen else ""


def _provider(seen: SeenModel, snapshot: DataSnapshot) -> Provider | None:
    by_host = _at_host(seen.host, snapshot) if seen.host else None
    if by_host is not None:
        return by_host
    wanted = _PROVIDER_IDS.get(seen.provider, seen.provider)
    return next((provider for provider in snapshot.providers if provider.id == wanted), None)


def _at_host(host: str, snapshot: DataSnapshot) -> Provider | None:
    try:
        return snapshot.find_provider(None, None, f"https://{host}")
    except LookupError:
        return None


def _listed(provider: Provider, model: str, snapshot: DataSnapshot) -> Resolution | None:
    found = provider.find_model(model, all_providers=snapshot.providers)
    if found is None:
        return None
    if any(found is own for own in provider.models):
        return _priced(provider, found, tiered=True)
    owner = next(p for p in snapshot.providers if any(found is own for own in p.models))
    return _priced(owner, found, tiered=False)


def _priced(owner: Provider, model: ModelInfo, *, tiered: bool) -> Resolution:
    if not genai.is_priced(model):
        return Resolution(reason="model without a price")
    return Resolution(genai.card_name(owner.id, model.id), tiered)
