-- Stored calls as rows of `usage`, to be priced again: those for which a condition on `calls` holds.
SELECT
    started_at, trace_id, span_id, parent_span_id, response_key, batch_key, batch_total, duration_us, first_chunk_us, scope, dialect,
    operation, provider, host, request_model, response_model, requested_tier, served_tier, processing, streamed, attempts,
    image_size, image_quality, gpu_pool, gpu_model, gpu_source, gpu_count, gpu_method, gpu_confidence, gpu_preemptions, left_out,
    error_type, service, environment, feature, feature_source, team, customer, user, session, tags,
    usage_source, usage_method, usage_fault, toInt64(stored.input_tokens) AS input_tokens, toInt64(stored.output_tokens) AS output_tokens,
    details, reported_cost,
    arrayMap(meter -> toInt64(stored.quantities[indexOf(meters, meter)]), $token_meters) AS quantities,
    version % 1000000000000000000 + 10000000000000 AS turn, toUInt64(0) AS lost_calls, toLowCardinality('') AS lost_reason
FROM $calls
WHERE $which
