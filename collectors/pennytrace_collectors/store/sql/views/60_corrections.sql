-- What was corrected: the price a call had, and the one it has since. A correction that was cut off before the call was
-- priced again is none, and one of a record that a better one has replaced is past.
-- Rows of one call: the same evidence and moment of arrival, in a version that is larger by 10^13 each time.
CREATE OR REPLACE VIEW $database.corrections_made AS
SELECT
    correction, note, made_at,
    started_at,
    lower(hex(trace_id)) AS trace_id,
    lower(hex(span_id)) AS span_id,
    version,
    feature,
    provider,
    if(response_model != '', response_model, request_model) AS model,
    team,
    customer,
    service,
    environment,
    old_meters, new_meters,
    old_quantities, new_quantities,
    old_costs, new_costs,
    if(old_status = 'unpriced', NULL, arraySum(old_costs)) AS old_cost,
    if(new_status = 'unpriced', NULL, arraySum(new_costs)) AS new_cost,
    if(old_status = 'unpriced', NULL, correction.old_billed_cost) AS old_billed_cost,
    if(new_status = 'unpriced', NULL, correction.new_billed_cost) AS new_billed_cost,
    old_currency, new_currency,
    old_billing_currency, new_billing_currency,
    old_exchange_rate, new_exchange_rate,
    old_status, new_status,
    old_reason, new_reason,
    old_rate_card, new_rate_card,
    old_variant, new_variant,
    old_price_valid_from, new_price_valid_from,
    old_catalog, new_catalog
FROM (SELECT * FROM $database.corrections FINAL) AS correction
INNER JOIN (
    SELECT
        started_at, trace_id, span_id, version AS current_version, feature, provider, request_model, response_model, team,
        customer, service, environment, costs, currency, status
    FROM $database.calls FINAL
    WHERE (started_at, trace_id, span_id) IN (SELECT started_at, trace_id, span_id FROM $database.corrections)
        AND left_out = '' AND (batch_total = 0 OR batch_key NOT IN (SELECT batch_key FROM $database.batch_lines))
) AS current USING (started_at, trace_id, span_id)
WHERE intDiv(current_version, 1000000000000000000) = intDiv(version, 1000000000000000000)
    AND current_version % 10000000000000 = version % 10000000000000
    AND (current_version > version + 10000000000000
        OR current_version = version + 10000000000000
            AND (costs, currency, status) = (new_costs, new_currency, new_status));

-- Each call with what it was charged before anybody corrected it.
CREATE OR REPLACE VIEW $database.charged AS
SELECT
    started_at, trace_id, span_id, feature, provider, model, team, customer, service, environment, input_tokens, output_tokens,
    corrections,
    if(corrections > 0, was.1, spend.cost) AS cost,
    if(corrections > 0, was.2, toString(spend.currency)) AS currency,
    if(corrections > 0, was.3, spend.billed_cost) AS billed_cost,
    if(corrections > 0, was.4, toString(spend.billing_currency)) AS billing_currency,
    if(corrections > 0, was.5, spend.exchange_rate) AS exchange_rate,
    if(corrections > 0, was.6, toString(spend.status)) AS status,
    if(corrections > 0, was.7, toString(spend.reason)) AS reason,
    if(corrections > 0, was.8, toString(spend.rate_card)) AS rate_card,
    if(corrections > 0, was.9, toString(spend.variant)) AS variant,
    if(corrections > 0, was.10, toString(spend.catalog)) AS catalog
FROM $database.spend AS spend
LEFT JOIN (
    SELECT
        started_at, trace_id, span_id,
        count() AS corrections,
        argMin((old_cost, toString(old_currency), old_billed_cost, toString(old_billing_currency), old_exchange_rate,
            toString(old_status), toString(old_reason), toString(old_rate_card), toString(old_variant), toString(old_catalog)),
            version) AS was
    FROM $database.corrections_made
    GROUP BY started_at, trace_id, span_id
) AS first USING (started_at, trace_id, span_id);

-- What each month comes to, in UTC.
CREATE OR REPLACE VIEW $database.month_totals AS
SELECT
    toStartOfMonth(started_at) AS month,
    count() AS calls,
    countIf(status = 'unpriced') AS unpriced_calls,
    countIf(status = 'partly_priced') AS partly_priced_calls,
    countIf(usage_source = 'estimated') AS estimated_calls,
    countIf(cost IS NOT NULL AND billed_cost IS NULL) AS unconverted_calls,
    sumMapIf(map(currency, assumeNotNull(cost)), cost IS NOT NULL) AS costs,
    sumMapIf(map(billing_currency, assumeNotNull(billed_cost)), billed_cost IS NOT NULL) AS billed_costs
FROM $database.spend
GROUP BY month;

-- The months that are closed: what they came to then, what they come to now, and how that happened.
CREATE OR REPLACE VIEW $database.closed_months AS
SELECT
    months.month AS month, closed_at, note, catalog,
    months.calls AS calls, months.unpriced_calls AS unpriced_calls, months.partly_priced_calls AS partly_priced_calls,
    months.estimated_calls AS estimated_calls, months.unconverted_calls AS unconverted_calls,
    months.costs AS costs, months.billed_costs AS billed_costs,
    totals.calls AS calls_now, totals.unpriced_calls AS unpriced_calls_now,
    totals.partly_priced_calls AS partly_priced_calls_now, totals.estimated_calls AS estimated_calls_now,
    totals.unconverted_calls AS unconverted_calls_now, totals.costs AS costs_now, totals.billed_costs AS billed_costs_now,
    arrived.calls AS arrived_calls,
    corrected.calls AS corrected_calls
FROM (SELECT * FROM $database.months FINAL) AS months
LEFT JOIN (
    SELECT * FROM $database.month_totals WHERE month IN (SELECT month FROM $database.months)
) AS totals USING (month)
LEFT JOIN (
    SELECT toStartOfMonth(started_at) AS month, count() AS calls
    -- The last 13 digits of a version are those of the moment at which the call came, counted backwards.
    FROM $database.calls FINAL
    INNER JOIN (SELECT month, closed_at FROM $database.months FINAL) AS closing
        ON toStartOfMonth(started_at) = closing.month
    WHERE fromUnixTimestamp64Milli(toInt64(9999999999999 - version % 10000000000000)) > closing.closed_at
        AND left_out = '' AND (batch_total = 0 OR batch_key NOT IN (SELECT batch_key FROM $database.batch_lines))
    GROUP BY month
) AS arrived USING (month)
LEFT JOIN (
    SELECT toStartOfMonth(started_at) AS month, uniqExact(trace_id, span_id) AS calls
    FROM $database.corrections_made
    INNER JOIN (SELECT month, closed_at FROM $database.months FINAL) AS closing
        ON toStartOfMonth(started_at) = closing.month
    WHERE made_at > closing.closed_at
    GROUP BY month
) AS corrected USING (month);
