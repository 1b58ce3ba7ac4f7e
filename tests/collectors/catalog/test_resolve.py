"""Which rate card a seen model gets: the seller's own, and never another's for want of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from genai_prices.data_snapshot import get_snapshot

from pennytrace_collectors.catalog import Catalog, SeenModel, compile_catalog, resolve


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return compile_catalog()


def with_file(folder: Path, text: str) -> Catalog:
    file = folder / "prices.toml"
    file.write_text(text, "utf-8")
    return compile_catalog([file])


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
        (
            SeenModel("openai", "api.together.ai", "mistralai/Mixtral-8x7B-Instruct-v0.1", ""),
            "together/mistralai/Mixtral-8x7B-Instruct-v0.1",
        ),
        # an Azure deployment has any name; the response names the model
        (
            SeenModel("azure.ai.openai", "acme.openai.azure.com", "our-bot", "gpt-4o-2024-08-06"),
            "openai/gpt-4o",
        ),
        (SeenModel("gcp.gemini", "", "gemini-2.5-flash", ""), "google/gemini-2.5-flash"),
        (SeenModel("mistral_ai", "", "mistral-small-latest", ""), "mistral/mistral-small-latest"),
        # regions of one model have one card or several, as the seller asks
        (
            SeenModel("aws.bedrock", "", "eu.anthropic.claude-haiku-4-5-20251001-v1:0", ""),
            "aws/regional.anthropic.claude-haiku-4-5-20251001-v1:0",
        ),
        (
            SeenModel("aws.bedrock", "", "global.anthropic.claude-haiku-4-5-20251001-v1:0", ""),
            "aws/global.anthropic.claude-haiku-4-5-20251001-v1:0",
        ),
        (
            SeenModel("openrouter", "", "deepseek/deepseek-r1", ""),
            "openrouter/deepseek/deepseek-r1",
        ),
        # dates in either form, and versions, are no siblings
        (SeenModel("anthropic", "", "claude-haiku-4-5-20251001", ""), "anthropic/claude-haiku-4-5"),
        (SeenModel("openai", "", "gpt-5.2-20251211", ""), "openai/gpt-5.2"),
        (SeenModel("openai", "", "ft:gpt-4o-mini-2024-07-18:acme::9Zq", ""), "openai/ft:gpt-4o-mini"),
    ],
)
def test_a_model_gets_the_rate_card_of_who_sells_it(catalog: Catalog, seen: SeenModel, card: str) -> None:
    assert resolve(seen, catalog).rate_card.partition("+")[0] == card


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
    found = resolve(seen, catalog)

    assert (found.rate_card, found.reason) == ("", reason)


@pytest.mark.parametrize(
    ("seen", "sibling"),
    [
        # genai-prices answers with the price of the second for the first
        (SeenModel("gcp.gemini", "", "gemini-1.5-flash-8b", ""), "google/gemini-1.5-flash"),
        (SeenModel("gcp.gemini", "", "gemini-2.5-pro-image", ""), "google/gemini-2.5-pro"),
        (SeenModel("deepseek", "", "deepseek-r1-distill-llama-70b", ""), "deepseek/deepseek-reasoner"),
        (SeenModel("azure.ai.openai", "", "o4-mini-deep-research", ""), "azure/o4-mini"),
        (SeenModel("aws.bedrock", "", "amazon.nova-pro-acme", ""), "aws/amazon.nova-pro-v1:0"),
    ],
)
def test_a_name_that_only_begins_alike_is_not_priced_as_its_sibling(
    catalog: Catalog, seen: SeenModel, sibling: str
) -> None:
    found = resolve(seen, catalog)

    assert (found.rate_card, found.reason) == ("", "unknown model")
    assert found.candidates[0] == sibling
    assert any("sibling" in line for line in found.why)


@pytest.mark.parametrize("answered", ["", "ft:gpt-4-acme-special:acme::1", "tunedModels/gpt-4o"])
def test_a_fine_tuned_model_is_not_priced_as_what_it_was_made_of(catalog: Catalog, answered: str) -> None:
    seen = SeenModel("openai", "", "gpt-4" if answered else "ft:gpt-4-0125:acme::1", answered)

    found = resolve(seen, catalog)

    assert (found.rate_card, found.reason) == ("", "fine-tuned model without a price of its own")


@pytest.mark.parametrize("suffix", [":free", ":nitro", ":extended", ":online"])
def test_a_variant_of_a_router_is_itself_or_nothing(catalog: Catalog, suffix: str) -> None:
    for model in ("deepseek/deepseek-r1", "openai/gpt-4o", "meta-llama/llama-3.1-8b-instruct"):
        card = resolve(SeenModel("openrouter", "", model + suffix, ""), catalog).rate_card

        assert card in ("", f"openrouter/{model}{suffix}")


def test_the_same_model_elsewhere_is_a_candidate(catalog: Catalog) -> None:
    found = resolve(
        SeenModel("openai_compatible", "10.0.0.7", "mistralai/Mixtral-8x7B-Instruct-v0.1", ""), catalog
    )

    assert found.rate_card == ""
    assert "together/mistralai/Mixtral-8x7B-Instruct-v0.1" in found.candidates
    assert len(found.candidates) <= 3
    for name in found.candidates:
        card = catalog.rate_card(name)
        assert card is not None
        assert card.prices


def test_without_the_same_model_the_closest_names_there_are_candidates(catalog: Catalog) -> None:
    found = resolve(SeenModel("openai", "", "gpt-4.1-micro", ""), catalog)

    assert found.candidates
    assert all(name.startswith(("openai/gpt-4.1", "supplement:openai/gpt-4.1")) for name in found.candidates)


def test_service_tiers_of_a_list_do_not_apply_to_a_reseller(catalog: Catalog) -> None:
    own = resolve(SeenModel("openai", "api.openai.com", "gpt-5-mini", ""), catalog)
    resold = resolve(SeenModel("azure.ai.openai", "acme.openai.azure.com", "gpt-5-mini", ""), catalog)

    assert (own.tiered, resold.tiered) == (True, False)


def test_tiers_of_a_list_do_not_reach_a_reseller_through_a_file_either(tmp_path: Path) -> None:
    catalog = with_file(tmp_path, '[[discount]]\nprovider = "azure"\npercent = 10')
    resold = resolve(SeenModel("azure.ai.openai", "acme.openai.azure.com", "gpt-5-mini", ""), catalog)

    card = catalog.rate_card(resold.rate_card)
    assert card is not None
    assert {price.variant for price in card.prices} == {""}


def test_every_provider_of_the_list_is_found_by_its_own_id(catalog: Catalog) -> None:
    for provider in get_snapshot().providers:
        seen = SeenModel(provider.id, "", "no-such-model-anywhere", "")
        assert resolve(seen, catalog).reason in ("unknown model", ""), provider.id


def test_every_model_of_the_list_is_taken_for_itself(catalog: Catalog) -> None:
    """No rule that keeps siblings apart costs a model its own price."""
    for provider in get_snapshot().providers:
        for model in provider.models:
            found = provider.find_model(model.id)
            if found is not None and catalog.rate_card(f"{provider.id}/{found.id}").prices:  # type: ignore[union-attr]
                card = resolve(SeenModel(provider.id, "", model.id, ""), catalog).rate_card
                assert card.partition("+")[0] == f"{provider.id}/{found.id}"


def test_a_deployment_means_its_model(tmp_path: Path) -> None:
    catalog = with_file(
        tmp_path,
        """
        [[deployment]]
        provider = "azure"
        name = "prod-chat"
        model = "gpt-4o-2024-08-06"

        [[deployment]]
        provider = "azure"
        name = "gpt-4o"
        model = "gpt-4o"

        [[deployment]]
        provider = "azure"
        host = "acme-eu.openai.azure.com"
        name = "gpt-4o"          # deployed under the name of another model
        model = "gpt-4.1-nano"

        [[deployment]]
        name = "prod-*"
        model = "gpt-4"
        """,
    )

    def card(host: str, asked: str, answered: str) -> str:
        return resolve(SeenModel("azure.ai.openai", host, asked, answered), catalog).rate_card.partition("+")[
            0
        ]

    assert card("acme-eu.openai.azure.com", "gpt-4o", "") == "openai/gpt-4.1-nano"
    assert card("acme-eu.openai.azure.com", "gpt-4o", "gpt-4o") == "openai/gpt-4.1-nano"  # an echo
    assert card("acme-eu.openai.azure.com", "gpt-4o", "gpt-4o-mini-2024-07-18") == "openai/gpt-4o-mini"
    assert card("acme-us.openai.azure.com", "gpt-4o", "") == "openai/gpt-4o"
    assert card("", "prod-chat", "") == "openai/gpt-4o"
    assert card("", "", "prod-chat") == "openai/gpt-4o"
    assert card("", "prod-mail", "") == "openai/gpt-4"
    assert resolve(SeenModel("openai", "", "chat", ""), catalog).reason == "unknown model"
    why = resolve(SeenModel("azure", "", "prod-chat", ""), catalog).why
    assert "the deployment 'prod-chat' is 'gpt-4o-2024-08-06' (prices.toml:2)" in why


def test_what_answered_is_charged_and_not_what_was_asked_for(tmp_path: Path) -> None:
    catalog = with_file(
        tmp_path, '[[price]]\nprovider = "openai"\nmodel = "gpt-4o"\ninput_mtok = 1\noutput_mtok = 2'
    )

    fallen_back = resolve(SeenModel("openai", "", "gpt-4o", "gpt-4o-mini-2024-07-18"), catalog)
    snapshot = resolve(SeenModel("openai", "", "gpt-4o", "gpt-4o-2024-08-06"), catalog)
    unknown = resolve(SeenModel("openai", "", "gpt-4o", "gpt-4o-2031-01-01"), catalog)

    assert "prices.toml" not in str(fallen_back.why)
    assert "prices.toml" in str(snapshot.why)
    assert "prices.toml" in str(unknown.why)


def test_how_it_was_found_is_said_for_people(catalog: Catalog) -> None:
    why = resolve(SeenModel("openai", "api.groq.com", "llama-3.1-8b-instant", ""), catalog).why

    version = catalog.genai_prices
    assert why[:2] == (
        "sold by 'groq', by the host 'api.groq.com'",
        f"'llama-3.1-8b-instant' is 'groq/llama-3.1-8b-instant' in genai-prices {version}",
    )


@pytest.mark.parametrize(
    ("provider", "host", "seller"),
    [
        ("openai", "dashscope.aliyuncs.com", "alibaba"),
        ("openai_compatible", "dashscope-intl.aliyuncs.com", "alibaba-intl"),
        ("openai", "qianfan.baidubce.com", "baidu"),
        ("openai", "api.hunyuan.cloud.tencent.com", "tencent"),
        ("openai", "api.endpoints.anyscale.com", "anyscale"),
        ("openai", "bedrock-runtime.eu-central-1.amazonaws.com", "aws"),
        ("openai", "eu.api.openai.com", "openai"),
        ("openai", "acme.cloud.databricks.com", "databricks"),
        ("anthropic", "europe-west1-aiplatform.googleapis.com", "google"),
    ],
)
def test_the_host_says_who_sells(catalog: Catalog, provider: str, host: str, seller: str) -> None:
    why = resolve(SeenModel(provider, host, "no-such-model", ""), catalog).why

    assert why[0] == f"sold by {seller!r}, by the host {host!r}"


@pytest.mark.parametrize(
    ("provider", "host", "entry", "priced"),
    [
        # the name in the report, the price list's, and other names of the same seller
        ("azure.ai.openai", "acme.openai.azure.com", "azure.ai.openai", True),
        ("azure.ai.openai", "acme.openai.azure.com", "azure", True),
        ("azure.ai.openai", "", "az.ai.openai", True),
        ("openai_compatible", "10.0.0.7", "openai_compatible", True),
        ("openai_compatible", "dashscope.aliyuncs.com", "openai_compatible", True),
        ("openai_compatible", "dashscope.aliyuncs.com", "alibaba", True),
        # a name that the host belies is none
        ("openai", "acme.openai.azure.com", "openai", False),
        ("openai", "acme.openai.azure.com", "azure", True),
        # one seller, two counters
        ("gcp.vertex_ai", "", "gcp.vertex_ai", True),
        ("gcp.vertex_ai", "", "gcp.gemini", False),
        ("gcp.vertex_ai", "", "google", True),
        ("openai", "generativelanguage.googleapis.com", "gcp.gemini", True),
        ("openai", "us-east1-aiplatform.googleapis.com", "vertex_ai", True),
        ("google", "", "gcp.gemini", False),
        ("vllm", "", "openai", False),
    ],
)
def test_a_price_is_for_the_provider_by_any_of_his_names(
    tmp_path: Path, provider: str, host: str, entry: str, priced: bool
) -> None:
    catalog = with_file(tmp_path, f'[[price]]\nprovider = "{entry}"\nmodel = "acme-1"\ninput_mtok = 1')

    found = resolve(SeenModel(provider, host, "acme-1", ""), catalog)

    assert found.rate_card == (f"file:{entry}/acme-1" if priced else "")


def test_before_a_price_of_the_file_begins_the_list_holds_for_a_name_it_does_not_know(tmp_path: Path) -> None:
    text = '[[price]]\nprovider = "openai"\nmodel = "gpt-4o-*"\nvalid_from = 2026-06-01\ninput_mtok = 1'
    catalog = with_file(tmp_path, text)

    found = resolve(SeenModel("openai", "", "gpt-4o", "gpt-4o-2031-01-01"), catalog)

    assert found.rate_card.startswith("openai/gpt-4o+")
