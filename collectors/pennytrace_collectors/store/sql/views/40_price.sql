-- The one implementation of a price: quantity by meter, times the unit price that was in force at the call's own time.
-- A meter without a price makes a call partly priced, and so does what is billed apart from tokens as long as no meter
-- counts it; a call without a rate card is unpriced, with the reason.
-- All arrays here have one element a meter, so that no lambda carries an array along, which would copy it for each.
CREATE MATERIALIZED VIEW $database.price TO $database.calls AS
SELECT
    started_at, trace_id, span_id, parent_span_id, response_key, batch_key, batch_total, duration_us, first_chunk_us, scope,
    operation, provider, host, request_model, response_model, requested_tier, served_tier, processing, streamed, attempts,
    error_type, service, environment, feature, feature_source, team, customer, user, session, tags,
    usage_source, usage_method, usage_fault,
    toUInt64(if(usage_fault = '', call.input_tokens, 0)) AS input_tokens,
    toUInt64(if(usage_fault = '', call.output_tokens, 0)) AS output_tokens,
    details, reported_cost,
    arrayFilter((meter, quantity) -> quantity > 0, $meters, billed) AS meters,
    arrayFilter(quantity -> quantity > 0, billed) AS quantities,
    arrayMap((quantity, price) -> toDecimal128(quantity, 0) * if(price < 0, toDecimal128(0, 18), price),
        arrayFilter(quantity -> quantity > 0, billed), arrayFilter((price, quantity) -> quantity > 0, unit_prices, billed)) AS costs,
    rates.4 AS currency,
    CAST(multiIf(
        reason IN ('', 'failed before it was billed'), 'priced',
        reason LIKE '% meter %' AND arrayExists((price, quantity) -> price >= 0 AND quantity > 0, unit_prices, billed), 'partly_priced',
        'unpriced'
    ) AS Enum8('unpriced' = 0, 'priced' = 1, 'partly_priced' = 2)) AS status,
    multiIf(
        usage_fault != '', toString(usage_fault),
        failed, 'failed before it was billed',
        usage_source = 'missing', 'usage missing',
        model.1 = '', model.3,
        variant != '' AND (model.2 = 0 OR empty(rates.1)),
            if(mode = '', 'no price for service tier', concat('no price for ', mode, ' processing')),
        empty(rates.1), 'no price for its meters at that date',
        arrayExists((price, quantity) -> price < 0 AND quantity > 0, unit_prices, billed), 'a meter has no price',
        unmetered != '', concat('no meter for ', unmetered),
        ''
    ) AS reason,
    model.1 AS rate_card,
    variant,
    rates.5 AS price_valid_from,
    rates.6 AS catalog,
    -- Which row of a span is the call: the one with the better evidence, then the one that settle has priced again, then
    -- the one that came first, so that a replay under a newer price list does not change what a call was charged at.
    -- One digit for the evidence, five for how often it was priced again, thirteen for how long before 2286 it came, in ms.
    toUInt64(multiIf(usage_fault != '', 0, usage_source = 'measured', 3, usage_source = 'estimated', 2, error_type != '', 1, 0))
        * 1000000000000000000 + turn AS version
FROM
(
    WITH
        -- Which window of the day and which band of input size the call falls into, counted from 0.
        greatest(arrayCount(start -> start <= second_of_day, rates.1), 1) - 1 AS window,
        greatest(arrayCount(above -> above < input_tokens, rates.2), 1) - 1 AS band
    SELECT
        *,
        arraySlice(rates.3, (window * length(rates.2) + band) * $meter_count + 1, $meter_count) AS unit_prices,
        arrayFirst((name, quantity) -> quantity > 0 AND name NOT IN $parts_of_tokens, mapKeys(details), mapValues(details)) AS unmetered,
        arrayPushBack(
            if(usage_fault = '', CAST(quantities AS Array(UInt64)), arrayWithConstant($meter_count - 1, toUInt64(0))),
            toUInt64(unit_prices[$meter_count] >= 0 AND NOT failed)) AS billed
    FROM
    (
        SELECT
            *,
            dictGetOrDefault('$database.rate_sets',
                ('windows', 'thresholds', 'unit_prices', 'currency', 'price_valid_from', 'catalog'),
                dictGetOrDefault('$database.rate_set_at', 'rate_set', (model.1, variant), toDateTime(started_at, 'UTC'), toUInt64(0)),
                (CAST([] AS Array(UInt32)), CAST([] AS Array(Int64)), arrayWithConstant($meter_count, toDecimal128(-1, 18)),
                 '', toDateTime(0, 'UTC'), '')) AS rates
        FROM
        (
            SELECT
                *,
                dictGetOrDefault('$database.model_rate_card', ('rate_card', 'tiered', 'reason'),
                    (toString(provider), toString(host), toString(request_model), toString(response_model)),
                    ('', toUInt8(0), 'unresolved')) AS model,
                -- How a call was submitted and the tier that served it; some providers call the first of them a tier.
                if(served_tier = 'batch', 'batch', toString(processing)) AS mode,
                if(served_tier IN ('', 'default', 'auto', 'standard', 'batch'), '', toString(served_tier)) AS tier,
                concat(mode, if(mode != '' AND tier != '', '+', ''), tier) AS variant,
                -- Refused by the provider, so never generated; after a time-out or a lost connection nobody knows.
                error_type != '' AND usage_source = 'missing' AND NOT match(error_type, '(?i)timeout|connection|cancel') AS failed,
                toUInt32(toUnixTimestamp(toDateTime(started_at, 'UTC')) % 86400) AS second_of_day
            FROM $database.usage
            WHERE lost_calls = 0
        )
    )
) AS call;
