"""What genai-prices has under a model's name: the model, or the one that it would wrongly take it for."""

from __future__ import annotations

from dataclasses import dataclass

from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import ModelInfo, Provider

from pennytrace_collectors.catalog import genai
from pennytrace_collectors.catalog.siblings import is_itself


@dataclass(frozen=True, slots=True)
class Listed:
    """A model of the price list that was found by name."""

    owner: Provider
    model: ModelInfo
    own: bool
    """Whether the seller itself lists it, and not another provider whose models it resells at the same price."""
    itself: bool
    """Whether it is the model of that name; else it is one that the list's loose rules take it for."""

    @property
    def card(self) -> str:
        """The name of its rate card."""
        return genai.card_name(self.owner.id, self.model.id)


def listed(seller: Provider | None, name: str, snapshot: DataSnapshot) -> Listed | None:
    """What the price list finds when it is asked for a model of a seller."""
    found = seller.find_model(name, all_providers=snapshot.providers) if seller else None
    if seller is None or found is None:
        return None
    owner = next(
        provider
        for provider in (seller, *snapshot.providers)
        if any(found is model for model in provider.models)
    )
    return Listed(owner, found, owner is seller, is_itself(found, name))
