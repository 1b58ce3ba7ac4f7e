-- What the GPUs of each pool and model came to, over the whole hours that the period touches.
SELECT
    gpu_pool,
    gpu_model,
    rate_card,
    hour.unit_price IS NOT NULL AS has_price,
    currency,
    max(gpus) AS gpus,
    sum(hour.provisioned_seconds) AS provisioned_seconds,
    sum(hour.attributed_seconds) AS attributed_seconds,
    sum(hour.idle_seconds) AS idle_seconds,
    sum(hour.unreported_seconds) AS unreported_seconds,
    sum(hour.bill) AS bill,
    sum(hour.direct_cost) AS direct_cost,
    sum(hour.idle_cost) AS idle_cost,
    sum(hour.utilization * toFloat64(hour.provisioned_seconds)) / sumIf(toFloat64(hour.provisioned_seconds), hour.utilization IS NOT NULL) AS utilization,
    sum(hour.energy_joules) AS energy_joules
FROM $database.gpu_hours AS hour
WHERE hour.hour >= toStartOfHour(fromUnixTimestamp64Nano({since:Int64}, 'UTC')) AND hour.hour < fromUnixTimestamp64Nano({until:Int64}, 'UTC')
GROUP BY ALL
ORDER BY bill DESC, provisioned_seconds DESC, gpu_pool, gpu_model
