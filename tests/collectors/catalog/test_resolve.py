"""Which rate card a seen model gets: the seller's own, and never another's for want of it."""

from __future__ import annotations

import pytest
from genai_prices.data_snapshot import get_snapshot

from pennytrace_collectors.catalog import Catalog, Resolution, SeenModel, compile_catalog, resolve


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return compile_catalog()


@pytest.mark.parametrize(
    ("seen", "card"),
    [
        (SeenModel("openai", "api.openai.com", "gpt-4o", "gpt-4o-2024-08-06"), "openai/gpt-4o"),
        (SeenModel("openai", "", "gpt-4o", ""), "openai/gpt-4o"),
        # the host says who sells, whatever an instrumentation calls it
        (
            SeenModel("openai", "api.together.xyz", "mistralai/Mixtral-8x7B-Instruct-v0.1", ""),
            "together/mistralai/Mixtral-8x7B-Instruct-v0.1",
        ),
        # an Azure deployment has any name; the response names the model
        (
            SeenModel("azure.ai.openai", "acme.openai.azure.com", "our-bot", "gpt-4o-2024-08-06"),
            "openai/gpt-4o",
        ),
        (SeenModel("gcp.gemini", "", "gemini-2.5-flash", ""), "google/gemini-2.5-flash"),
        (SeenModel("mistral_ai", "", "mistral-small-latest", ""), "mistral/mistral-small-latest"),
    ],
)
def test_a_model_gets_the_rate_card_of_who_sells_it(catalog: Catalog, seen: SeenModel, card: str) -> None:
    assert resolve(seen, catalog).rate_card == card


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        # a self-hosted server that speaks OpenAI's language is not OpenAI, even when it serves a familiar name
        (SeenModel("openai_compatible", "127.0.0.1", "gpt-4o", "gpt-4o"), "unknown provider"),
        (SeenModel("vllm", "10.0.0.7", "llama-3", "llama-3"), "unknown provider"),
        (SeenModel("openai", "api.openai.com", "gpt-99-imaginary", "gpt-99-imaginary"), "unknown model"),
        (SeenModel("openai", "api.openai.com", "", ""), "no model named"),
        (SeenModel("", "", "gpt-4o", ""), "unknown provider"),
    ],
)
def test_what_nobody_sells_there_has_no_card_and_a_reason(
    catalog: Catalog, seen: SeenModel, reason: str
) -> None:
    assert resolve(seen, catalog) == Resolution(reason=reason)


def test_service_tiers_of_a_list_do_not_apply_to_a_reseller(catalog: Catalog) -> None:
    own = resolve(SeenModel("openai", "api.openai.com", "gpt-4o", ""), catalog)
    resold = resolve(SeenModel("azure.ai.openai", "acme.openai.azure.com", "gpt-4o", ""), catalog)

    assert (own.tiered, resold.tiered) == (True, False)


def test_every_provider_of_the_list_is_found_by_its_own_id(catalog: Catalog) -> None:
    for provider in get_snapshot().providers:
        seen = SeenModel(provider.id, "", "no-such-model-anywhere", "")
        assert resolve(seen, catalog).reason in ("unknown model", ""), provider.id
