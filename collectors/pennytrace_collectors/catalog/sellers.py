"""Who sells a model: the seller from the host of a call before its provider's name."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import Provider

# The price list's provider for names that instrumentations use, where the two differ. Only these and the list's own:
# genai-prices would also take whatever contains "openai" for OpenAI, and so a self-hosted compatible server as well.
_NAMES: Final = {
    "amazon": "aws",
    "amazon-bedrock": "aws",
    "amazon_bedrock": "aws",
    "aws.bedrock": "aws",
    "aws_bedrock": "aws",
    "az.ai.inference": "azure",
    "az.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "azure-openai": "azure",
    "azure_ai": "azure",
    "bedrock": "aws",
    "fireworks_ai": "fireworks",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "gemini": "google",
    "google-gla": "google",
    "google-vertex": "google",
    "google.generative-ai": "google",
    "google.vertex": "google",
    "microsoft.foundry": "azure",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "moonshot_ai": "moonshotai",
    "together_ai": "together",
    "vertex_ai": "google",
    "vertexai": "google",
    "x_ai": "x-ai",
    "xai": "x-ai",
}
# Hosts that the price list does not know, or knows by paths that calls do not tell.
_HOSTS: Final = {
    "*.api.openai.com": "openai",
    "*.api.x.ai": "x-ai",
    "*.azuredatabricks.net": "databricks",
    "*.cloud.databricks.com": "databricks",
    "*.gcp.databricks.com": "databricks",
    "*.models.ai.azure.com": "azure",
    "*.replicate.com": "replicate",
    "*.runwayml.com": "runwayml",
    "aip.baidubce.com": "baidu",
    "api.ai21.com": "ai21",
    "api.baichuan-ai.com": "baichuan",
    "api.cloudflare.com": "cloudflare",
    "api.endpoints.anyscale.com": "anyscale",
    "api.hunyuan.cloud.tencent.com": "tencent",
    "api.openrouter.ai": "openrouter",
    "api.together.ai": "together",
    "bedrock*.amazonaws.com": "aws",
    "bedrock*.api.aws": "aws",
    "dashscope-intl.aliyuncs.com": "alibaba-intl",
    "dashscope.aliyuncs.com": "alibaba",
    "hunyuan*.tencentcloudapi.com": "tencent",
    "qianfan.baidubce.com": "baidu",
}

# Google sells the same models at two counters that may ask different prices.
_COUNTERS: Final = {
    "gcp.gemini": "gcp.gemini",
    "gcp.vertex_ai": "gcp.vertex_ai",
    "gemini": "gcp.gemini",
    "google-gla": "gcp.gemini",
    "google-vertex": "gcp.vertex_ai",
    "google.generative-ai": "gcp.gemini",
    "google.vertex": "gcp.vertex_ai",
    "vertex_ai": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
}
_COUNTER_HOSTS: Final = {
    "generativelanguage.googleapis.com": "gcp.gemini",
    "*aiplatform.googleapis.com": "gcp.vertex_ai",
}

# What the AI SDK puts behind a provider's name, by the kind of model: `openai.chat`.
_KINDS_OF_MODELS: Final = (
    ".chat",
    ".completion",
    ".embedding",
    ".image",
    ".messages",
    ".rerank",
    ".responses",
    ".speech",
    ".transcription",
)


def seller_named(provider: str) -> str:
    """The seller that an instrumentation's name for a provider means; an unknown name is a seller of that name."""
    name = _named(provider)
    return _NAMES.get(name, name)


def _named(provider: str) -> str:
    name = provider.strip().lower()
    kind = next((kind for kind in _KINDS_OF_MODELS if name.endswith(kind)), "")
    return name.removesuffix(kind)


def counter_of(provider: str, host: str = "") -> str:
    """Where a seller with several counters sold, by host before name; '' when it has one, or which is not told."""
    at_host = (name for pattern, name in _COUNTER_HOSTS.items() if fnmatchcase(host.lower(), pattern))
    return next(at_host, "") or _COUNTERS.get(_named(provider), "")


@lru_cache(maxsize=4096)
def _seller_at(host: str) -> str:
    return next((seller for pattern, seller in _HOSTS.items() if fnmatchcase(host, pattern)), "")


def seller_at(host: str, snapshot: DataSnapshot) -> str:
    """The seller behind a host; '' when it is not a known one."""
    if not host:
        return ""
    named = _seller_at(host.lower())
    if named:
        return named
    try:
        return snapshot.find_provider(None, None, f"https://{host}").id
    except LookupError:
        return ""


def listed_seller(seller: str, snapshot: DataSnapshot) -> Provider | None:
    """What the price list has of a seller."""
    return next((provider for provider in snapshot.providers if provider.id == seller), None)
