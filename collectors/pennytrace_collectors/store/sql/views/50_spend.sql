-- What reports and dashboards read: each call once, whatever was replayed or priced again, its cost NULL when unknown.
-- The total of a batch is left out as soon as one of its lines is stored, in whichever order they came; the record of an
-- engine as soon as settle has found the client's record of the same call.
CREATE OR REPLACE VIEW $database.spend AS
SELECT
    started_at,
    lower(hex(trace_id)) AS trace_id,
    lower(hex(span_id)) AS span_id,
    duration_us,
    first_chunk_us,
    scope,
    dialect,
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
    image_size,
    image_quality,
    gpu_pool,
    gpu_model,
    gpu_source,
    gpu_count,
    gpu_method,
    gpu_confidence,
    gpu_preemptions,
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
    if(status = 'unpriced', NULL, billed_cost) AS billed_cost,  -- NULL as well where there is no exchange rate
    billing_currency,
    exchange_rate,
    status,
    reason,
    rate_card,
    variant,
    price_valid_from,
    catalog,
    batch_key,
    batch_total
FROM $database.calls FINAL
WHERE left_out = '' AND (batch_total = 0 OR batch_key NOT IN (SELECT batch_key FROM $database.batch_lines));

-- What is stored and not charged, and why.
CREATE OR REPLACE VIEW $database.left_out AS
SELECT
    calls.started_at AS started_at,
    lower(hex(calls.trace_id)) AS trace_id,
    lower(hex(calls.span_id)) AS span_id,
    scope,
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
    if(status = 'unpriced', NULL, billed_cost) AS billed_cost,
    billing_currency,
    multiIf(
        repeats.reason != '', toString(repeats.reason),
        left_out != '', toString(left_out),
        'the total of a batch whose calls are charged one by one'
    ) AS left_out_because,
    if(repeats.reason = '', '', lower(hex(repeats.counted_at_trace_id))) AS counted_at_trace_id,  -- where it is charged instead
    if(repeats.reason = '', '', lower(hex(repeats.counted_at_span_id))) AS counted_at_span_id,
    batch_key
FROM
(
    SELECT *, billed_cost FROM $database.calls FINAL
    WHERE left_out != '' OR batch_total = 1 AND batch_key IN (SELECT batch_key FROM $database.batch_lines)
) AS calls
LEFT JOIN (SELECT * FROM $database.repeats FINAL) AS repeats
    ON left_out = '$repeat' AND repeats.started_at = calls.started_at AND repeats.trace_id = calls.trace_id AND repeats.span_id = calls.span_id;
