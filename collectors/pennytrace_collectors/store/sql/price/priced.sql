-- The one implementation of a price: quantity by meter, times the unit price that was in force at the call's own time.
-- A call without a rate card is unpriced, with the reason; a meter without a price makes it partly priced, and so does what
-- is billed apart from tokens and no meter counts. Two things are not billed twice: what a call says in two measures (the
-- images that its tokens drew), of which one has a price; and the time of a GPU, which prices the calls that no price list
-- prices, with all that they used.
-- For speed: no lambda carries an array along for token meters, which would copy it for each of them; what is billed apart
-- from tokens is empty for nearly every call. ClickHouse plans every layer, lambda and repeated alias anew at each INSERT:
-- what passes through unread is carried as one column, `kept`.
SELECT
    kept.1 AS trace_id, kept.2 AS span_id, kept.3 AS parent_span_id, kept.4 AS response_key, kept.5 AS batch_key,
    kept.6 AS batch_total, kept.7 AS duration_us, kept.8 AS first_chunk_us, kept.9 AS scope, kept.10 AS provider,
    kept.11 AS host, kept.12 AS request_model, kept.13 AS response_model, kept.14 AS requested_tier,
    kept.15 AS served_tier, kept.16 AS processing, kept.17 AS streamed, kept.18 AS attempts, kept.19 AS image_size,
    kept.20 AS image_quality, kept.21 AS gpu_pool, kept.22 AS gpu_model, kept.23 AS service, kept.24 AS environment,
    kept.25 AS feature, kept.26 AS feature_source, kept.27 AS team, kept.28 AS customer, kept.29 AS user,
    kept.30 AS session, kept.31 AS tags, kept.32 AS usage_method, kept.33 AS details, kept.34 AS reported_cost,
    kept.35 AS gpu_source, kept.36 AS gpu_count, kept.37 AS gpu_method, kept.38 AS gpu_confidence,
    kept.39 AS gpu_preemptions, kept.40 AS left_out, kept.41 AS dialect,
    started_at, operation, error_type, usage_source, usage_fault,
    toUInt64(if(usage_fault = '', call.input_tokens, 0)) AS input_tokens,
    toUInt64(if(usage_fault = '', call.output_tokens, 0)) AS output_tokens,
    arrayConcat(used.1, detail_meters) AS meters,
    arrayConcat(CAST(used.2 AS Array(Decimal(18, 6))), detail_quantities) AS quantities,
    arrayConcat(
        arrayMap((quantity, price) -> toDecimal128(quantity, 0) * greatest(price, toDecimal128(0, 18)), used.2, used.3),
        arrayMap((quantity, price) -> toDecimal128(round(toDecimal256(quantity, 6) * toDecimal256(greatest(price, toDecimal128(0, 18)), 18), 18), 18),
            detail_quantities, detail_prices)) AS costs,
    rates.5 AS currency,
    rates.6 AS billing_currency,
    multiIf(
        currency = '', NULL,
        currency = billing_currency, toDecimal128(1, 18),
        dictGetOrNull('$exchange_rate_at', 'rate', (currency, billing_currency), toDateTime(started_at, 'UTC'))) AS exchange_rate,
    CAST(multiIf(
        why IN ('', 'failed before it was billed'), 'priced',
        refused = '' AND arrayMax(arrayPushBack(arrayConcat(used.3, detail_prices), toDecimal128(-1, 18))) >= 0, 'partly_priced',
        'unpriced'
    ) AS Enum8('unpriced' = 0, 'priced' = 1, 'partly_priced' = 2)) AS status,
    why AS reason,
    card AS rate_card,
    variant,
    rates.7 AS price_valid_from,
    rates.8 AS catalog,
    -- Which row of a span is the call: the one with the better evidence, then the one that settle has priced again, then
    -- the one that came first, so that a replay under a newer price list does not change what a call was charged at.
    -- One digit for the evidence, five for how often it was priced again, thirteen for how long before 2286 it came, in ms.
    toUInt64(multiIf(usage_fault != '', 0, usage_source = 'measured', 3, usage_source = 'estimated', 2, error_type != '', 1, 0))
        * 1000000000000000000 + turn AS version
FROM
(
    WITH
        reinterpret(substring(cell, 1, $dense_count * 16), 'Array(Decimal(38, 18))') AS dense_prices,
        reinterpret(substring(cell, $dense_count * 16 + 1), 'Array(Decimal(38, 18))') AS sparse_prices,
        CAST(reinterpret(rates.4, 'Array(Int8)') AS Array($meter_enum)) AS sparse_meters
    SELECT
        kept, started_at, operation, error_type, usage_source, usage_fault, input_tokens, output_tokens, turn,
        rates, card, variant, refused, detail_meters, detail_quantities,
        -- Its tokens and the request itself: (meter, quantity, price) of what there is any of; a price of -1 is none.
        arrayFilter(line -> line.2 > 0, arrayZip($dense_meters, arrayPushBack(tokens, toUInt64(dense_prices[$dense_count] >= 0 AND refused = '')), dense_prices)) AS used,
        arrayMap(meter -> if(has(sparse_meters, meter), sparse_prices[indexOf(sparse_meters, meter)],
            toDecimal128(if(meter = 'gpu_seconds', 0, -1), 18)), detail_meters) AS detail_prices,
        multiIf(
            refused != '' OR by_gpu, refused,
            arrayMin(arrayPushBack(used.3, toDecimal128(0, 18))) < 0
                AND NOT arrayExists((meter, price) -> price >= 0 AND (operation, meter) IN $same_measures, detail_meters, detail_prices)
            OR arrayExists((meter, price) -> price < 0 AND NOT (arrayMax(arrayPushBack(used.3, toDecimal128(-1, 18))) >= 0 AND (operation, meter) IN $same_measures), detail_meters, detail_prices),
                'a meter has no price',
            unmetered != '', concat('no meter for ', unmetered),
            ''
        ) AS why
    FROM
    (
        WITH
            reinterpret(rates.1, 'Array(UInt32)') AS windows,
            reinterpret(rates.2, 'Array(Int64)') AS thresholds,
            length(rates.4) * 16 + $dense_count * 16 AS cell_bytes
        SELECT
            *,
            -- The prices of the window of the day and of the band of input size that the call falls into.
            substring(rates.3, cell_bytes * (
                (greatest(arrayCount(start -> start <= second_of_day, windows), 1) - 1) * length(thresholds)
                + greatest(arrayCount(above -> above < input_tokens, thresholds), 1) - 1) + 1, cell_bytes) AS cell,
            multiIf(
                usage_fault != '', toString(usage_fault),
                failed, 'failed before it was billed',
                usage_source = 'missing', 'usage missing',
                card = '', no_card,
                submitted != '' AND (NOT tiered OR rates.6 = '' AND sizing = ''),
                    if(mode = '', 'no price for service tier', concat('no price for ', mode, ' processing')),
                rates.6 = '', if(sizing = '', 'no price for its meters at that date', 'no price for its size and quality'),
                ''
            ) AS refused
        FROM
        (
            SELECT
                *,
                on_gpu AND card_of_model.1 = '' AND card_of_model.4 != 'unresolved' AND card_of_gpu.1 != '' AS by_gpu,
                if(by_gpu, card_of_gpu.1, card_of_model.1) AS card,
                if(on_gpu AND card_of_model.4 != 'unresolved', card_of_gpu.2, card_of_model.4) AS no_card,
                by_gpu OR card_of_model.2 = 1 AS tiered,
                if(by_gpu, '', concat(mode, if(mode != '' AND tier != '', '+', ''), tier)) AS submitted,
                if(card_of_model.3 = 1, concat(quality, if(quality != '' AND size != '', '+', ''), size), '') AS sizing,
                concat(submitted, if(submitted != '' AND sizing != '', '+', ''), sizing) AS variant,
                dictGetOrDefault('$rate_sets',
                    ('windows', 'thresholds', 'unit_prices', 'detail_meters', 'currency', 'billing_currency', 'price_valid_from', 'catalog'),
                    dictGetOrDefault('$rate_set_at', 'rate_set', (if(submitted != '' AND NOT tiered, '', card), variant),
                        toDateTime(started_at, 'UTC'), toUInt64(0)),
                    ('', '', $no_prices, '', '', '', toDateTime(0, 'UTC'), '')) AS rates
            FROM
            (
                WITH mapFilter((name, amount) -> amount >= 0.000001 AND usage_fault = '' AND name IN $detail_meter_names, details) AS apart
                SELECT
                    started_at, operation, error_type, usage_source, usage_fault, input_tokens, output_tokens, turn,
                    tuple(
                        trace_id, span_id, parent_span_id, response_key, batch_key, batch_total, duration_us,
                        first_chunk_us, scope, provider, host, request_model, response_model, requested_tier,
                        served_tier, processing, streamed, attempts, image_size, image_quality, gpu_pool, gpu_model,
                        service, environment, feature, feature_source, team, customer, user, session, tags,
                        usage_method, details, reported_cost, gpu_source, gpu_count, gpu_method, gpu_confidence,
                        gpu_preemptions, left_out, dialect
                    ) AS kept,
                    if(usage_fault = '', CAST(quantities AS Array(UInt64)), arrayWithConstant($dense_count - 1, toUInt64(0))) AS tokens,
                    -- What is billed apart from tokens; nothing at all of a call whose usage is at fault.
                    CAST(mapKeys(apart) AS Array($meter_enum)) AS detail_meters,
                    CAST(mapValues(apart) AS Array(Decimal(18, 6))) AS detail_quantities,
                    arrayFirst((name, amount) -> amount > 0 AND name NOT IN $detail_meter_names AND name NOT IN $parts_of_tokens, mapKeys(details), mapValues(details)) AS unmetered,
                    dictGetOrDefault('$model_rate_card', ('rate_card', 'tiered', 'sized', 'reason'),
                        (toString(provider), toString(host), toString(request_model), toString(response_model)),
                        ('', toUInt8(0), toUInt8(0), 'unresolved')) AS card_of_model,
                    gpu_source != '' OR details['gpu_seconds'] > 0 AS on_gpu,
                    if(on_gpu, dictGetOrDefault('$model_rate_card', ('rate_card', 'reason'),
                        ('gpu:', toString(gpu_pool), toString(gpu_model), ''), ('', 'unresolved')), ('', '')) AS card_of_gpu,
                    -- How a call was submitted and the tier that served it; some providers call the first of them a tier.
                    if(startsWith(served_tier, 'batch'), 'batch', toString(processing)) AS mode,
                    multiIf(operation = 'decision', 'decision', served_tier IN ('', 'default', 'auto', 'standard', 'batch'), '', replaceRegexpOne(toString(served_tier), '^batch\\+', '')) AS tier,
                    toString(image_size) AS size,
                    if(image_quality = 'standard', '', toString(image_quality)) AS quality,
                    -- Refused by the provider, so never generated; after a time-out or a lost connection nobody knows.
                    error_type != '' AND usage_source = 'missing' AND NOT match(error_type, '(?i)timeout|connection|cancel') AS failed,
                    toUInt32(toUnixTimestamp(toDateTime(started_at, 'UTC')) % 86400) AS second_of_day
                FROM $usage
                WHERE lost_calls = 0
            )
        )
    )
) AS call
