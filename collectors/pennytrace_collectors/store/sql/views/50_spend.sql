-- What reports and dashboards read: each call once, whatever was replayed or priced again, its cost NULL when unknown.
-- The total of a batch is left out as soon as one of its lines is stored, in whichever order they came.
CREATE OR REPLACE VIEW $database.spend AS
SELECT
    started_at,
    lower(hex(trace_id)) AS trace_id,
    lower(hex(span_id)) AS span_id,
    duration_us,
    first_chunk_us,
    scope,
    operation,
    provider,
    host,
    if(response_model != '', response_model, request_model) AS model,
    request_model,
    response_model,
    served_tier,
    processing,
    streamed,
    attempts,
    error_type,
    service,
    environment,
    feature,
    feature_source,
    team,
    customer,
    user,
    session,
    tags,
    usage_source,
    usage_method,
    input_tokens,
    output_tokens,
    details,
    meters,
    quantities,
    costs,
    if(status = 'unpriced', NULL, arraySum(costs)) AS cost,
    reported_cost,
    currency,
    status,
    reason,
    rate_card,
    variant,
    price_valid_from,
    catalog,
    batch_key,
    batch_total
FROM $database.calls FINAL
WHERE batch_total = 0 OR batch_key NOT IN (SELECT batch_key FROM $database.batch_lines);

-- What is stored and not charged, and why.
CREATE OR REPLACE VIEW $database.left_out AS
SELECT
    started_at,
    lower(hex(trace_id)) AS trace_id,
    lower(hex(span_id)) AS span_id,
    operation,
    provider,
    if(response_model != '', response_model, request_model) AS model,
    service,
    environment,
    feature,
    input_tokens,
    output_tokens,
    if(status = 'unpriced', NULL, arraySum(costs)) AS cost,
    currency,
    'the total of a batch whose calls are charged one by one' AS left_out_because,
    batch_key
FROM $database.calls FINAL
WHERE batch_total = 1 AND batch_key IN (SELECT batch_key FROM $database.batch_lines);
