-- Who used GPUs, with the money that they took and the share of the idle time that falls to them by a policy. What a price of
-- input or output is made of comes from the calls whose GPU time is known apart for reading and for writing.
WITH
    toDecimal256(spent.prefill_seconds + spent.decode_seconds, 6) AS apart,
    spent.direct_cost IS NOT NULL AS has_price,
    has_price AND apart > 0 AS split
SELECT
    kind,
    $dimensions,
    currency,
    sum(spent.calls) AS calls,
    sum(spent.input_tokens) AS input_tokens,
    sum(spent.cache_read_tokens) AS cache_read_tokens,
    sum(spent.output_tokens) AS output_tokens,
    sum(spent.gpu_seconds) AS gpu_seconds,
    sum(spent.direct_cost) AS direct_cost,
    sum(spent.$idle) AS idle_cost,
    sumIf(spent.input_tokens + spent.output_tokens, has_price) AS priced_tokens,
    sumIf(spent.input_tokens, split) AS split_input_tokens,
    sumIf(spent.output_tokens, split) AS split_output_tokens,
    sumIf(spent.direct_cost, split) AS split_direct_cost,
    sumIf(spent.$idle, split) AS split_idle_cost,
    sumIf(CAST(toDecimal256(spent.direct_cost, 18) * toDecimal256(spent.prefill_seconds, 6) / nullIf(apart, 0) AS Nullable(Decimal(38, 18))), split) AS input_direct_cost,
    sumIf(CAST(toDecimal256(spent.$idle, 18) * toDecimal256(spent.prefill_seconds, 6) / nullIf(apart, 0) AS Nullable(Decimal(38, 18))), split) AS input_idle_cost
FROM $database.gpu_spend AS spent
WHERE spent.hour >= toStartOfHour(fromUnixTimestamp64Nano({since:Int64}, 'UTC')) AND spent.hour < fromUnixTimestamp64Nano({until:Int64}, 'UTC')
GROUP BY ALL
