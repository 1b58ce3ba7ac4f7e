SELECT
    $dimensions,
    currency,
    counted,
    if(status = 'priced', '', provider) AS lacking_provider,
    if(status = 'priced', '', model) AS lacking_model,
    if(status = 'priced', '', toString(reason)) AS lacking_reason,
    unconverted,
    count() AS calls,
    sum(call.input_tokens) AS input_tokens,
    sum(call.output_tokens) AS output_tokens,
    sum(call.quantity) AS quantity,
    sum(part) AS cost,
    sum(billed_part) AS billed_cost,
    min(started_at) AS first_at,
    countIf(status = 'priced') AS priced_calls,
    sumIf(call.input_tokens + call.output_tokens, status = 'priced') AS priced_tokens,
    countIf(status = 'partly_priced') AS partly_priced_calls,
    countIf(status = 'unpriced') AS unpriced_calls,
    countIf(usage_source = 'estimated') AS estimated_calls,
    sumIf(call.input_tokens + call.output_tokens, usage_source = 'estimated') AS estimated_tokens,
    -- Where the provider states a cost, always in USD, and there is one of ours to set beside it.
    countIf(call.reported_cost IS NOT NULL AND call.cost IS NOT NULL AND currency = 'USD') AS compared_calls,
    sumIf(call.reported_cost, call.cost IS NOT NULL AND currency = 'USD') AS reported_cost,
    sumIf(call.cost, call.reported_cost IS NOT NULL AND currency = 'USD') AS compared_cost
FROM ($parts) AS call
GROUP BY ALL
