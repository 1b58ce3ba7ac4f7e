"""Which provider is behind a host that speaks OpenAI's language."""

from __future__ import annotations

import functools
from fnmatch import fnmatchcase
from typing import Final

from pennytrace import semconv

COMPATIBLE: Final = semconv.OPENAI_COMPATIBLE
"""The provider name of a server of unknown host that speaks OpenAI's language; it is often self-hosted."""

# The names are those of the conventions where they have one, else those of the price list.
_HOSTS: Final = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "api.arcee.ai": "arcee",
    "api.avian.io": "avian",
    "api.cerebras.ai": "cerebras",
    "api.cloudflare.com": "cloudflare",
    "api.cohere.ai": "cohere",
    "api.cohere.com": "cohere",
    "api.deepinfra.com": "deepinfra",
    "api.deepseek.com": "deepseek",
    "api.doubleword.ai": "doubleword",
    "api.fireworks.ai": "fireworks",
    "api.githubcopilot.com": "github-copilot",
    "api.groq.com": "groq",
    "api.meta.ai": "meta",
    "api.minimax.io": "minimax",
    "api.minimaxi.com": "minimax",
    "api.mistral.ai": "mistral_ai",
    "api.moonshot.ai": "moonshot_ai",
    "api.moonshot.cn": "moonshot_ai",
    "api.novita.ai": "novita",
    "api.perplexity.ai": "perplexity",
    "api.quicksilverpro.io": "quicksilverpro",
    "api.sambanova.ai": "sambanova",
    "api.together.ai": "together",
    "api.together.xyz": "together",
    "api.typesafe.ai": "typesafe",
    "api.voyageai.com": "voyageai",
    "api.x.ai": "x_ai",
    "api.z.ai": "zai",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "inference.baseten.co": "baseten",
    "oai.endpoints.kepler.ai.cloud.ovh.net": "ovhcloud",
    "open.bigmodel.cn": "zhipuai",
    "openrouter.ai": "openrouter",
    "api.openrouter.ai": "openrouter",
    "router.huggingface.co": "huggingface",
}
_PATTERNS: Final = {
    "*.api.openai.com": "openai",
    "*.api.x.ai": "x_ai",
    "*.openai.azure.com": "azure.ai.openai",
    "*.azure-api.net": "azure.ai.openai",
    "*.cognitiveservices.azure.com": "azure.ai.openai",
    "*.services.ai.azure.com": "azure.ai.inference",
    "*.models.ai.azure.com": "azure.ai.inference",
    "*.cloud.databricks.com": "databricks",
    "*.azuredatabricks.net": "databricks",
    "*.gcp.databricks.com": "databricks",
    "*.modal.run": "modal",
    "*.modal.direct": "modal",
    "bedrock*.amazonaws.com": "aws.bedrock",
    "bedrock*.api.aws": "aws.bedrock",
    "*aiplatform.googleapis.com": "gcp.vertex_ai",
}


@functools.lru_cache(maxsize=1024)
def name_of_host(host: str) -> str:
    """Return the provider behind `host`, or `COMPATIBLE` when it is not a known one."""
    matching = (name for pattern, name in _PATTERNS.items() if fnmatchcase(host, pattern))
    return _HOSTS.get(host) or next(matching, COMPATIBLE)
