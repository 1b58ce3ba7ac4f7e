-- The money of GPUs by hour: what was provisioned (view gpu_capacity), who used it, and what was idle.

-- A copy of the calls that GPUs worked for, whoever writes them.
CREATE MATERIALIZED VIEW $database.note_gpu_records TO $database.gpu_records AS
SELECT
    started_at, trace_id, span_id, version, now64(3) AS noted_at, response_key, duration_us, gpu_source, gpu_pool, gpu_model,
    if(usage_fault = '', CAST(details['gpu_seconds'] AS Decimal(18, 6)), toDecimal64(0, 6)) AS gpu_seconds,
    if(usage_fault = '', CAST(details['gpu_prefill_seconds'] AS Decimal(18, 6)), toDecimal64(0, 6)) AS prefill_seconds,
    if(usage_fault = '', CAST(details['gpu_decode_seconds'] AS Decimal(18, 6)), toDecimal64(0, 6)) AS decode_seconds,
    operation, provider, if(response_model != '', response_model, request_model) AS model,
    service, environment, feature, feature_source, team, customer, user, session,
    input_tokens, toUInt64(quantities[indexOf(meters, 'cache_read')]) AS cache_read_tokens, output_tokens
FROM $database.calls
WHERE gpu_source IN ('engine', 'process');

-- The time of GPUs by call and hour. A call that ran across full hours is cut there, its GPU time in proportion, to the
-- microsecond; it counts, with its tokens, in the hour in which it began. Two halves, because only the first can be read by hour.
CREATE OR REPLACE VIEW $database.gpu_work AS
SELECT
    toStartOfHour(toDateTime(started_at, 'UTC')) AS hour,
    started_at, trace_id, span_id, gpu_source, gpu_pool, gpu_model, operation, provider, model,
    service, environment, feature, feature_source, team, customer, user, session,
    toUInt64(1) AS calls, input_tokens, cache_read_tokens, output_tokens, gpu_seconds, prefill_seconds, decode_seconds
FROM $database.gpu_records FINAL
WHERE gpu_seconds > 0 AND toUnixTimestamp64Micro(started_at) % 3600000000 + duration_us <= 3600000000
UNION ALL
SELECT
    toDateTime(hour_number * 3600, 'UTC') AS hour,
    started_at, trace_id, span_id, gpu_source, gpu_pool, gpu_model, operation, provider, model,
    service, environment, feature, feature_source, team, customer, user, session,
    toUInt64(before_us = 0) AS calls,
    if(before_us = 0, cut.input_tokens, 0) AS input_tokens,
    if(before_us = 0, cut.cache_read_tokens, 0) AS cache_read_tokens,
    if(before_us = 0, cut.output_tokens, 0) AS output_tokens,
    CAST(toDecimal256(cut.gpu_seconds, 6) * until_us / took_us - toDecimal256(cut.gpu_seconds, 6) * before_us / took_us AS Decimal(18, 6)) AS gpu_seconds,
    CAST(toDecimal256(cut.prefill_seconds, 6) * until_us / took_us - toDecimal256(cut.prefill_seconds, 6) * before_us / took_us AS Decimal(18, 6)) AS prefill_seconds,
    CAST(toDecimal256(cut.decode_seconds, 6) * until_us / took_us - toDecimal256(cut.decode_seconds, 6) * before_us / took_us AS Decimal(18, 6)) AS decode_seconds
FROM
(
    SELECT
        *,
        toUnixTimestamp64Micro(started_at) AS start_us,
        toInt64(least(duration_us, 31622400000000)) AS took_us,  -- a year at most: who says more has a broken clock
        arrayJoin(range(intDiv(start_us, 3600000000), intDiv(start_us + took_us - 1, 3600000000) + 1)) AS hour_number,
        greatest(hour_number * 3600000000 - start_us, 0) AS before_us,
        least((hour_number + 1) * 3600000000 - start_us, took_us) AS until_us
    FROM $database.gpu_records FINAL
    WHERE gpu_seconds > 0 AND toUnixTimestamp64Micro(started_at) % 3600000000 + duration_us > 3600000000
) AS cut;

-- What a provisioned second of a GPU costs, by the list in force: without the share of idle time that a price file may assume.
CREATE OR REPLACE VIEW $database.gpu_rates AS
SELECT toString(rate_card) AS rate_card, valid_from, valid_to, list_price AS unit_price, currency
FROM $database.prices FINAL
WHERE catalog = (SELECT argMax(catalog, activated_at) FROM $database.catalogs)
    AND rate_card LIKE 'gpu:%' AND meter = 'gpu_seconds' AND variant = '';

-- The time of GPUs with what it costs at the rate of its hour; NULL where there is none.
CREATE OR REPLACE VIEW $database.gpu_charged AS
SELECT
    work.*,
    if(hour <= rates.valid_to AND rates.rate_card != '', rates.unit_price, NULL) AS unit_price,
    CAST(round(toDecimal256(gpu_seconds, 6) * toDecimal256(unit_price, 18), 18) AS Nullable(Decimal(38, 18))) AS direct_cost
FROM
(
    SELECT *, dictGetOrDefault('$database.model_rate_card', 'rate_card', ('gpu:', toString(gpu_pool), toString(gpu_model), ''), '') AS rate_card
    FROM $database.gpu_work
) AS work
ASOF LEFT JOIN $database.gpu_rates AS rates ON work.rate_card = rates.rate_card AND work.hour >= rates.valid_from;

-- What the GPUs of a pool and model come to in an hour: direct_cost + idle_cost = bill, to the last digit. What calls took and
-- nobody reported as provisioned was provisioned all the same.
CREATE OR REPLACE VIEW $database.gpu_hours AS
SELECT
    hour, gpu_pool, gpu_model, gpus,
    greatest(reported_seconds, attributed_seconds) AS provisioned_seconds,
    attributed_seconds,
    provisioned_seconds - attributed_seconds AS idle_seconds,
    provisioned_seconds - reported_seconds AS unreported_seconds,
    hours.rate_card AS rate_card,
    if(hour <= rates.valid_to AND rates.rate_card != '', rates.unit_price, NULL) AS unit_price,
    if(unit_price IS NULL, '', toString(rates.currency)) AS currency,
    direct_cost + idle_cost AS bill,
    if(unit_price IS NULL, NULL, charged) AS direct_cost,
    CAST(round(toDecimal256(idle_seconds, 6) * toDecimal256(unit_price, 18), 18) AS Nullable(Decimal(38, 18))) AS idle_cost,
    utilization,
    energy_joules
FROM
(
    SELECT
        hour, gpu_pool, gpu_model,
        uniqExactIf(gpu, gpu != '') AS gpus,
        CAST(sum(reported) AS Decimal(18, 6)) AS reported_seconds,
        CAST(sum(attributed) AS Decimal(18, 6)) AS attributed_seconds,
        sum(cost) AS charged,
        sum(busy) / nullIf(sumIf(toFloat64(reported), busy IS NOT NULL), 0) AS utilization,
        sum(joules) AS energy_joules,
        dictGetOrDefault('$database.model_rate_card', 'rate_card', ('gpu:', gpu_pool, gpu_model, ''), '') AS rate_card
    FROM
    (
        SELECT
            hour, toString(gpu_pool) AS gpu_pool, toString(gpu_model) AS gpu_model, toString(gpu) AS gpu,
            provisioned_seconds AS reported, toDecimal64(0, 6) AS attributed, toDecimal128(0, 18) AS cost,
            utilization * toFloat64(provisioned_seconds) AS busy, energy_joules AS joules
        FROM $database.gpu_capacity
        UNION ALL
        SELECT
            hour, toString(gpu_pool), toString(gpu_model), '',
            toDecimal64(0, 6), gpu_seconds, ifNull(direct_cost, toDecimal128(0, 18)), CAST(NULL AS Nullable(Float64)), CAST(NULL AS Nullable(Float64))
        FROM $database.gpu_charged
    )
    GROUP BY hour, gpu_pool, gpu_model
) AS hours
ASOF LEFT JOIN $database.gpu_rates AS rates ON hours.rate_card = rates.rate_card AND hours.hour >= rates.valid_from;

-- Who used the GPUs of a pool and model in an hour, what that costs, and which share of the idle time falls to them:
-- `idle_proportional` to the time that they used, `idle_even` the same for every feature that used any, and within a feature to
-- the time. Shares are what is given out up to a row less what is given out before it, so that they add up to all. Where nobody
-- used any, the idle time stands in a row of its own, of kind 'idle'.
CREATE OR REPLACE VIEW $database.gpu_spend AS
SELECT
    'call' AS kind, hour, gpu_pool, gpu_model, provider, model, operation, feature, feature_source, team, customer, user, session,
    service, environment, calls, input_tokens, cache_read_tokens, output_tokens, gpu_seconds, prefill_seconds, decode_seconds,
    direct_cost,
    CAST(toDecimal256(idle * up_to / in_hour, 18) - toDecimal256(idle * (up_to - gpu_seconds) / in_hour, 18)
        AS Nullable(Decimal(38, 18))) AS idle_proportional,
    CAST(toDecimal256(idle_of_feature * up_to_in_feature / in_feature, 18)
        - toDecimal256(idle_of_feature * (up_to_in_feature - gpu_seconds) / in_feature, 18)
        AS Nullable(Decimal(38, 18))) AS idle_even,
    currency
FROM
(
    WITH toDecimal256(gpu_seconds, 6) AS seconds
    SELECT
        used.*, currency,
        toDecimal256(idle_cost, 18) AS idle,
        sum(seconds) OVER all_of_it AS in_hour,
        sum(seconds) OVER so_far AS up_to,
        sum(seconds) OVER of_feature AS in_feature,
        sum(seconds) OVER of_feature_so_far AS up_to_in_feature,
        toInt64(uniqExact(feature) OVER all_of_it) AS features,
        toInt64(dense_rank() OVER by_feature) AS feature_number,
        idle * feature_number / features - idle * (feature_number - 1) / features AS idle_of_feature
    FROM
    (
        SELECT
            hour, toString(gpu_pool) AS gpu_pool, toString(gpu_model) AS gpu_model, provider, model, operation,
            feature, feature_source, team, customer, user, session, service, environment,
            sum(calls) AS calls, sum(input_tokens) AS input_tokens, sum(cache_read_tokens) AS cache_read_tokens,
            sum(output_tokens) AS output_tokens, CAST(sum(gpu_seconds) AS Decimal(18, 6)) AS gpu_seconds,
            CAST(sum(prefill_seconds) AS Decimal(18, 6)) AS prefill_seconds,
            CAST(sum(decode_seconds) AS Decimal(18, 6)) AS decode_seconds,
            sumOrNull(direct_cost) AS direct_cost
        FROM $database.gpu_charged
        GROUP BY hour, gpu_pool, gpu_model, provider, model, operation,
            feature, feature_source, team, customer, user, session, service, environment
    ) AS used
    INNER JOIN (SELECT hour, gpu_pool, gpu_model, idle_cost, currency FROM $database.gpu_hours) AS hours USING (hour, gpu_pool, gpu_model)
    WINDOW
        all_of_it AS (PARTITION BY hour, gpu_pool, gpu_model),
        by_feature AS (PARTITION BY hour, gpu_pool, gpu_model ORDER BY feature),
        so_far AS (PARTITION BY hour, gpu_pool, gpu_model
            ORDER BY feature, provider, model, operation, feature_source, team, customer, user, session, service, environment
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
        of_feature AS (PARTITION BY hour, gpu_pool, gpu_model, feature),
        of_feature_so_far AS (PARTITION BY hour, gpu_pool, gpu_model, feature
            ORDER BY provider, model, operation, feature_source, team, customer, user, session, service, environment
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
UNION ALL
SELECT
    'idle', hour, gpu_pool, gpu_model, '', '', '', '', '', '', '', '', '', '', '', 0, 0, 0, 0,
    toDecimal64(0, 6), toDecimal64(0, 6), toDecimal64(0, 6), if(idle_cost IS NULL, NULL, toDecimal128(0, 18)), idle_cost, idle_cost, currency
FROM $database.gpu_hours
WHERE attributed_seconds = 0;
