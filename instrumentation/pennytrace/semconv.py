"""Every attribute name that pennytrace writes or reads on a span: the only module that spells them.

The GenAI names follow the OpenTelemetry GenAI semantic conventions
(open-telemetry/semantic-conventions-genai); they are spelled here because the constants published in
`opentelemetry-semantic-conventions` are marked deprecated and lack the newer ones. What the conventions do
not name is `pennytrace.*`.
"""

from __future__ import annotations

from typing import Final

# --- the call ----------------------------------------------------------------------------------------------
OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
REQUEST_STREAM: Final = "gen_ai.request.stream"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"  # seconds, double
OPENAI_REQUEST_SERVICE_TIER: Final = "openai.request.service_tier"
OPENAI_RESPONSE_SERVICE_TIER: Final = "openai.response.service_tier"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"

# --- its usage: tokens, integers; every detail is a part of its total --------------------------------------
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_INPUT_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
REASONING_OUTPUT_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
AUDIO_INPUT_TOKENS: Final = "gen_ai.usage.audio.input_tokens"
AUDIO_OUTPUT_TOKENS: Final = "gen_ai.usage.audio.output_tokens"
AUDIO_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.audio.cache_read.input_tokens"
IMAGE_INPUT_TOKENS: Final = "gen_ai.usage.image.input_tokens"
IMAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.image.output_tokens"

USAGE_SOURCE: Final = "pennytrace.usage.source"
"""`measured` (the provider said so), `estimated` (derived from what was delivered) or `missing`."""
MEASURED: Final = "measured"
ESTIMATED: Final = "estimated"
MISSING: Final = "missing"

# --- who spent it ------------------------------------------------------------------------------------------
FEATURE: Final = "pennytrace.feature"
FEATURE_SOURCE: Final = "pennytrace.feature.source"
"""How the feature was found; the values below, in the order in which they are tried."""
FROM_TAG: Final = "tag"
FROM_BAGGAGE: Final = "baggage"
FROM_ROUTE: Final = "route"
FROM_MESSAGING: Final = "messaging"
FROM_TASK: Final = "task"
FROM_INIT: Final = "init"
FROM_FUNCTION: Final = "function"
FROM_SERVICE: Final = "service"
TEAM: Final = "pennytrace.team"
CUSTOMER: Final = "pennytrace.customer"
USER_ID: Final = "user.id"
SESSION_ID: Final = "session.id"
TAG_PREFIX: Final = "pennytrace.tag."

# --- the resource ------------------------------------------------------------------------------------------
SERVICE_NAME: Final = "service.name"
ENVIRONMENT: Final = "deployment.environment.name"
TELEMETRY_SDK_NAME: Final = "telemetry.sdk.name"
TELEMETRY_SDK_LANGUAGE: Final = "telemetry.sdk.language"
TELEMETRY_SDK_VERSION: Final = "telemetry.sdk.version"

# --- what other instrumentations leave on the span that encloses a call ------------------------------------
HTTP_ROUTE: Final = "http.route"
MESSAGING_DESTINATION: Final = "messaging.destination.name"
CELERY_TASK: Final = "celery.task_name"

# --- the instrumentation scope of our spans ----------------------------------------------------------------
SCOPE_NAME: Final = "pennytrace"
