-- Calls of which an engine told, as they are once they are joined; only the rows that change by it. The client's record takes
-- the GPU time of all the engine's records with its response id; those are left out, and say who spent it. Worked out anew
-- from all that is stored of a call: the same in whatever order records came, and nothing the second time.
-- Of several clients' records (a framework's, a gateway's) the one with the best usage and a feature is joined. Where that
-- usage is not measured (a stream that was cut off) the engine's takes its place.
-- `keeps_price`: what a call was charged by its tokens stays, whatever the list says by now, and so does what the engine's
-- record would be charged. A client's record with another price counts as one that came when the last of its parts did.
SELECT * EXCEPT (is_engine, is_client, is_sound, is_measured, has_client, has_engine, engine_gpu, engine_preemptions, engine_times,
        has_engine_usage, engine_tokens, engine_meters, engine_came, client, wins, by_engine, gpu, usage, spender) REPLACE (
    gpu.1 AS gpu_source, gpu.2 AS gpu_pool, gpu.3 AS gpu_model, gpu.4 AS gpu_count, gpu.5 AS gpu_method,
    gpu.6 AS gpu_confidence, gpu.7 AS gpu_preemptions, gpu.8 AS details,
    usage.1 AS usage_source, usage.2 AS usage_method, usage.3 AS usage_fault, usage.4 AS input_tokens, usage.5 AS output_tokens,
    spender.1 AS left_out, spender.2 AS service, spender.3 AS environment, spender.4 AS feature, spender.5 AS feature_source,
    spender.6 AS team, spender.7 AS customer, spender.8 AS user, spender.9 AS session, spender.10 AS tags,
    -- The time of a GPU costs nothing of its own where the tokens have a price: see price/priced.sql.
    multiIf(is_engine, stored.meters, by_engine, engine_meters.1, arrayConcat(
        arrayFilter(meter -> meter != 'gpu_seconds', stored.meters),
        arrayWithConstant(gpu.8['gpu_seconds'] > 0, CAST('gpu_seconds' AS $meter_enum)))) AS meters,
    multiIf(is_engine, stored.quantities, by_engine, engine_meters.2, arrayConcat(
        arrayFilter((quantity, meter) -> meter != 'gpu_seconds', stored.quantities, stored.meters),
        arrayWithConstant(gpu.8['gpu_seconds'] > 0, CAST(gpu.8['gpu_seconds'] AS Decimal(18, 6))))) AS quantities,
    if(is_engine, stored.costs, arrayConcat(
        arrayFilter((cost, meter) -> meter != 'gpu_seconds', stored.costs, stored.meters),
        arrayWithConstant(gpu.8['gpu_seconds'] > 0, toDecimal128(0, 18)))) AS costs,
    if(keeps_price, stored.version,
        stored.version - stored.version % 10000000000000 + least(stored.version % 10000000000000, engine_came)) AS version
)
FROM
(
    WITH
        (toString(gpu_source), toString(gpu_pool), toString(gpu_model), gpu_count, toString(gpu_method), toString(gpu_confidence),
            gpu_preemptions, details) AS gpu_before,
        (toString(usage_source), toString(usage_method), toString(usage_fault), input_tokens, output_tokens) AS usage_before,
        (toString(left_out), toString(service), toString(environment), toString(feature), toString(feature_source), toString(team),
            toString(customer), user, session, tags) AS spender_before,
        mapFilter((name, amount) -> NOT mapContains(engine_times, toString(name)), details) AS own_details
    SELECT
        *,
        has_engine AND is_client AND client.1 = (started_at, trace_id, span_id) AS wins,
        wins AND has_engine_usage AND (usage_source != 'measured' OR usage_fault != '' OR usage_method = 'engine') AS by_engine,
        multiIf(
            wins, ('joined', engine_gpu.1, engine_gpu.2, engine_gpu.3, engine_gpu.4, engine_gpu.5, engine_preemptions, mapConcat(
                own_details, CAST(mapFilter((name, amount) -> amount > 0, engine_times) AS Map(LowCardinality(String), Decimal(38, 9))))),
            is_client AND gpu_source = 'joined', ('', '', '', toUInt16(0), '', '', toUInt32(0), own_details),
            gpu_before
        ) AS gpu,
        if(by_engine, ('measured', 'engine', '', engine_tokens.1, engine_tokens.2), usage_before) AS usage,
        if(is_engine AND has_client, client.2, spender_before) AS spender,
        is_engine OR NOT by_engine AND status != 'unpriced' AND NOT startsWith(rate_card, 'gpu:') AS keeps_price
    FROM
    (
        SELECT
            *,
            gpu_source = 'engine' AS is_engine,
            is_engine AND usage_fault = '' AS is_sound,
            is_sound AND usage_source = 'measured' AS is_measured,
            gpu_source IN ('', 'joined') AND left_out = '' AS is_client,
            countIf(is_client) OVER call > 0 AS has_client,
            countIf(is_engine) OVER call > 0 AS has_engine,
            argMaxIf(
                ((started_at, trace_id, span_id),
                    ('its GPU time is counted at the client\'s call', toString(service), toString(environment), toString(feature),
                        toString(feature_source), toString(team), toString(customer), user, session, tags)),
                (multiIf(usage_fault != '' OR usage_source = 'missing', 0, usage_source = 'measured' AND usage_method != 'engine', 2, 1),
                    feature != '', -toUnixTimestamp64Nano(started_at), trace_id, span_id),
                is_client) OVER call AS client,
            argMaxIf(
                (toString(gpu_pool), toString(gpu_model), gpu_count, toString(gpu_method), toString(gpu_confidence)),
                (details['gpu_seconds'], started_at, trace_id, span_id), is_engine) OVER call AS engine_gpu,
            toUInt32(sumIf(gpu_preemptions, is_engine) OVER call) AS engine_preemptions,
            -- To microseconds, as the meter counts them, so that records add up to the call.
            map(
                'gpu_seconds', toDecimal128(sumIf(CAST(details['gpu_seconds'] AS Decimal(18, 6)), is_sound) OVER call, 9),
                'gpu_prefill_seconds', toDecimal128(sumIf(CAST(details['gpu_prefill_seconds'] AS Decimal(18, 6)), is_sound) OVER call, 9),
                'gpu_decode_seconds', toDecimal128(sumIf(CAST(details['gpu_decode_seconds'] AS Decimal(18, 6)), is_sound) OVER call, 9),
                'queue_seconds', toDecimal128(sumIf(CAST(details['queue_seconds'] AS Decimal(18, 6)), is_sound) OVER call, 9)
            ) AS engine_times,
            countIf(is_measured) OVER call > 0 AS has_engine_usage,
            (sumIf(input_tokens, is_measured) OVER call, sumIf(output_tokens, is_measured) OVER call) AS engine_tokens,
            sumMappedArraysIf(meters, quantities, is_measured) OVER call AS engine_meters,
            minIf(version % 10000000000000, is_engine) OVER call AS engine_came
        FROM $database.calls FINAL
        WHERE response_key IN ($keys) AND (started_at, trace_id, span_id) IN (
            SELECT started_at, trace_id, span_id FROM $database.calls
            WHERE response_key IN ($keys) AND started_at BETWEEN toDateTime($earliest, 'UTC') AND toDateTime($latest, 'UTC')
        )
        WINDOW call AS (PARTITION BY response_key)
    )
    WHERE has_engine AND (is_engine AND spender != spender_before OR is_client AND (gpu != gpu_before OR usage != usage_before))
) AS stored
