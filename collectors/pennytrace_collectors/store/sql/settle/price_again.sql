-- Feed calls back into `usage`: the view `price` prices them again, and their new version replaces them.
INSERT INTO $database.usage
SELECT
    started_at, trace_id, span_id, parent_span_id, response_key, batch_key, batch_total, duration_us, first_chunk_us, scope,
    operation, provider, host, request_model, response_model, requested_tier, served_tier, processing, streamed, attempts,
    error_type, service, environment, feature, feature_source, team, customer, user, session, tags,
    usage_source, usage_method, usage_fault, input_tokens, output_tokens, details, reported_cost,
    arrayMap(meter -> quantities[indexOf(meters, meter)], $token_meters), version % 1000000000000000000 + 10000000000000, 0, ''
FROM $database.calls FINAL
WHERE $which
