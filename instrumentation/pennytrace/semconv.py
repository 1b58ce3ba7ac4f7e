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
OPENAI_COMPATIBLE: Final = "openai_compatible"
"""The provider's name where only the language that a server speaks is known; it is often self-hosted."""
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
TEXT_INPUT_TOKENS: Final = "gen_ai.usage.text.input_tokens"
TEXT_OUTPUT_TOKENS: Final = "gen_ai.usage.text.output_tokens"
TEXT_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.text.cache_read.input_tokens"
IMAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.image.cache_read.input_tokens"
IMAGE_INPUT_TOKENS: Final = "gen_ai.usage.image.input_tokens"
IMAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.image.output_tokens"

USAGE_SOURCE: Final = "pennytrace.usage.source"
"""`measured` (the provider said so), `estimated` (derived from what was delivered) or `missing`."""
MEASURED: Final = "measured"
ESTIMATED: Final = "estimated"
MISSING: Final = "missing"
USAGE_METHOD: Final = "pennytrace.usage.method"
"""How an estimate was made: `tiktoken:o200k_base`, `characters/4`."""

# --- usage that the conventions have no name for: what is not said to be a part of something is billed apart -
CACHE_WRITE_5M: Final = "pennytrace.usage.cache_write_5m"  # tokens, a part of the cache writes
CACHE_WRITE_30M: Final = "pennytrace.usage.cache_write_30m"
CACHE_WRITE_1H: Final = "pennytrace.usage.cache_write_1h"
CACHE_WRITE_12H: Final = "pennytrace.usage.cache_write_12h"
ACCEPTED_PREDICTION: Final = "pennytrace.usage.accepted_prediction"  # tokens, a part of the output
REJECTED_PREDICTION: Final = "pennytrace.usage.rejected_prediction"
TOOL_PROMPT: Final = "pennytrace.usage.tool_prompt"  # tokens, a part of the input
VIDEO_INPUT: Final = "pennytrace.usage.video_input"  # tokens, a part of the input
VIDEO_CACHE_READ: Final = (
    "pennytrace.usage.video_cache_read"  # tokens, a part of the cache reads and of video_input
)
VIDEO_OUTPUT: Final = "pennytrace.usage.video_output"  # tokens, a part of the output
CHARACTERS: Final = "pennytrace.usage.characters"
AUDIO_SECONDS: Final = "pennytrace.usage.audio_seconds"
VIDEO_SECONDS: Final = "pennytrace.usage.video_seconds"
IMAGES: Final = "pennytrace.usage.images"
PAGES: Final = "pennytrace.usage.pages"
SEARCHES: Final = "pennytrace.usage.searches"  # of documents ranked, as Cohere bills them
WEB_SEARCHES: Final = "pennytrace.usage.web_searches"
FILE_SEARCHES: Final = "pennytrace.usage.file_searches"
CODE_EXECUTIONS: Final = "pennytrace.usage.code_executions"
TOOL_CALLS: Final = "pennytrace.usage.tool_calls"
TRAINED_TOKENS: Final = "pennytrace.usage.trained_tokens"

# --- the time of GPUs ----------------------------------------------------------------------------------------
GPU_SECONDS: Final = "pennytrace.usage.gpu_seconds"
"""Seconds of one GPU that the call is charged for: wall seconds times the GPUs that worked, shared with the others."""
GPU_PREFILL_SECONDS: Final = "pennytrace.usage.gpu_prefill_seconds"  # a part of them: reading the input
GPU_DECODE_SECONDS: Final = "pennytrace.usage.gpu_decode_seconds"  # a part of them: writing the output
QUEUE_SECONDS: Final = "pennytrace.usage.queue_seconds"  # wall seconds before the first step; no GPU's
GPU_POOL: Final = "pennytrace.gpu.pool"
GPU_MODEL: Final = "pennytrace.gpu.model"
CPU: Final = "cpu"
"""The GPU's model where there is none."""
GPU_COUNT: Final = "pennytrace.gpu.count"
GPU_SOURCE: Final = "pennytrace.gpu.source"
"""Who measured: one of the two values below."""
FROM_ENGINE: Final = "engine"  # an inference engine, whose caller may have recorded the same call
FROM_PROCESS: Final = "process"  # the process that made the call
GPU_METHOD: Final = "pennytrace.gpu.method"
"""How; one of the values below."""
BY_ROOFLINE: Final = "steps:roofline"  # an engine's steps, shared by what requests compute and read in them
BY_TOKENS: Final = "steps:tokens"  # an engine's steps, shared by tokens
BY_EVENTS: Final = "events"  # the device's own clock
BY_WALL: Final = "wall"  # the wall's
GPU_CONFIDENCE: Final = "pennytrace.gpu.confidence"
"""How sure; one of the values below."""
HIGH: Final = "high"  # nobody shared the device
MEDIUM: Final = "medium"  # shares are worked out
LOW: Final = "low"  # shares are guessed
PREEMPTIONS: Final = "pennytrace.gpu.preemptions"
GPU_PROVISIONED_METRIC: Final = (
    "pennytrace.gpu.provisioned"  # seconds that a GPU was held, each in one interval
)
GPU_BUSY_METRIC: Final = "pennytrace.gpu.busy"  # GPU-seconds of an engine's steps
GPU_IDLE_METRIC: Final = "pennytrace.gpu.idle"  # GPU-seconds between them
GPU_UTILIZATION_METRIC: Final = "hw.gpu.utilization"  # 0 to 1
GPU_MEMORY_USAGE_METRIC: Final = "hw.gpu.memory.usage"  # bytes
GPU_MEMORY_LIMIT_METRIC: Final = "hw.gpu.memory.limit"  # bytes
GPU_ENERGY_METRIC: Final = "hw.energy"  # joules since the driver was loaded
HW_ID: Final = "hw.id"
HW_TYPE: Final = "hw.type"
HW_MODEL: Final = "hw.model"
HW_VENDOR: Final = "hw.vendor"
HW_PARENT: Final = "hw.parent"
HOST_NAME: Final = "host.name"
SERVICE_INSTANCE_ID: Final = "service.instance.id"

# --- what else decides what a call costs -------------------------------------------------------------------
REPORTED_COST: Final = "pennytrace.cost.reported"
"""What the provider says the call costs, in USD, as a decimal number in a string."""
PROCESSING: Final = "pennytrace.processing"
BATCH_PROCESSING: Final = "batch"
BATCH: Final = "pennytrace.batch"
"""A batch that the call was a line of, or that it is the total of."""
BATCH_TOTAL: Final = "pennytrace.batch.total"
ATTEMPTS: Final = "pennytrace.attempts"
"""Requests that were sent for the call, when it was more than one."""
SPEED: Final = "pennytrace.speed"
"""How fast the model ran, as the provider names it, where that has a price of its own: `fast`."""
GEO: Final = "pennytrace.geo"
"""Where in the world the model ran, as the provider names it: `us`, `global`."""
IMAGE_SIZE: Final = "pennytrace.image.size"
IMAGE_QUALITY: Final = "pennytrace.image.quality"

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
USER_HASH: Final = "user.hash"  # in the place of the id, when there is a key to hash it with
SESSION_ID: Final = "session.id"
TAG_PREFIX: Final = "pennytrace.tag."

# --- what was lost on the way to the collector: a span of its own, so that the loss can be seen there ---------
LOSS: Final = "pennytrace.loss"
LOST_CALLS: Final = "pennytrace.lost.calls"
LOST_REASON: Final = "pennytrace.lost.reason"
"""Why; one of the values below."""
QUEUE_FULL: Final = "queue full"
SPOOL_FULL: Final = "spool full"
SPOOL_DAMAGED: Final = "spool damaged"
REFUSED: Final = "refused"
LOST_REASONS: Final = (QUEUE_FULL, SPOOL_FULL, SPOOL_DAMAGED, REFUSED)
CALLS_LOST_METRIC: Final = "pennytrace.calls.lost"
CALLS_WAITING_METRIC: Final = "pennytrace.calls.waiting"

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
OPERATIONS_AROUND_CALLS: Final = frozenset(
    {"create_agent", "invoke_agent", "invoke_workflow", "execute_tool", "plan", "retrieval", "fetch_response"}
)
"""Operations that are not themselves a call of a model, though their spans may say which model they use."""

# --- the instrumentation scope of our spans ----------------------------------------------------------------
SCOPE_NAME: Final = "pennytrace"
