-- The one implementation of a price: quantity by meter, times the unit price that was in force at the call's own time.
-- A meter without a price makes a call partly priced; a call without a rate card is unpriced, with the reason.
CREATE MATERIALIZED VIEW $database.price TO $database.calls AS
SELECT
    started_at, trace_id, span_id, parent_span_id, response_key, duration_us, first_chunk_us, scope, operation, provider,
    host, request_model, response_model, requested_tier, served_tier, streamed, error_type, service, environment, feature,
    feature_source, team, customer, user, session, tags, usage_source, usage_fault, input_tokens, output_tokens,
    billed_meters AS meters,
    billed_quantities AS quantities,
    arrayMap((quantity, position) -> toDecimal128(quantity, 0) * rates.4[position], billed_quantities, positions) AS costs,
    rates.5 AS currency,
    CAST(multiIf(
        reason IN ('', 'failed before it was billed'), 'priced',
        reason = 'a meter has no price' AND arrayExists(position -> position > 0, positions), 'partly_priced',
        'unpriced'
    ) AS Enum8('unpriced' = 0, 'priced' = 1, 'partly_priced' = 2)) AS status,
    multiIf(
        usage_fault != '', toString(usage_fault),
        failed, 'failed before it was billed',
        usage_source = 'missing', 'usage missing',
        model.1 = '', model.3,
        variant != '' AND (model.2 = 0 OR empty(rates.3)), 'no price for service tier',
        empty(rates.3), 'no price for its meters at that date',
        has(positions, 0), 'a meter has no price',
        ''
    ) AS reason,
    model.1 AS rate_card,
    variant,
    rates.6 AS price_valid_from,
    rates.7 AS catalog,
    version
FROM
(
    WITH
        -- Which window of the day and which band of input size the call falls into, as the first part of a cell.
        toUInt32((arrayCount(start -> start <= second_of_day, rates.1) * length(rates.2)
            + arrayCount(above -> above < toInt64(input_tokens), rates.2)) * 256) AS base,
        NOT failed AND has(rates.3, base + toUInt8(CAST('requests' AS $meter_enum))) AS per_request
    SELECT
        *,
        arrayConcat(arrayFilter(meter -> meter != 'requests', meters),
            if(per_request, [CAST('requests' AS $meter_enum)], [])) AS billed_meters,
        arrayConcat(arrayFilter((quantity, meter) -> meter != 'requests', quantities, meters),
            if(per_request, [toUInt64(1)], [])) AS billed_quantities,
        arrayMap(meter -> indexOf(rates.3, base + toUInt8(meter)), billed_meters) AS positions
    FROM
    (
        SELECT
            *,
            dictGetOrDefault('$database.rate_card_prices',
                ('windows', 'thresholds', 'cells', 'unit_prices', 'currency', 'price_valid_from', 'catalog'),
                (model.1, variant), toDateTime(started_at, 'UTC'),
                (CAST([] AS Array(UInt32)), CAST([] AS Array(Int64)), CAST([] AS Array(UInt32)),
                 CAST([] AS Array(Decimal(38, 18))), '', toDateTime(0, 'UTC'), '')) AS rates
        FROM
        (
            SELECT
                *,
                dictGetOrDefault('$database.model_rate_card', ('rate_card', 'tiered', 'reason'),
                    (toString(provider), toString(host), toString(request_model), toString(response_model)),
                    ('', toUInt8(0), 'unresolved')) AS model,
                if(served_tier IN ('', 'default', 'auto', 'standard'), '', toString(served_tier)) AS variant,
                -- Refused by the provider, so never generated; after a time-out or a lost connection nobody knows.
                error_type != '' AND usage_source = 'missing' AND NOT match(error_type, '(?i)timeout|connection|cancel') AS failed,
                toUInt32(toUnixTimestamp(toDateTime(started_at, 'UTC')) % 86400) AS second_of_day
            FROM $database.usage
        )
    )
);
