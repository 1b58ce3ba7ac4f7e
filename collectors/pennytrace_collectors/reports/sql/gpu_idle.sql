-- GPU time that no call was charged for, over the whole hours that the period touches.
SELECT
    currency,
    sum(hour.idle_seconds) AS idle_seconds,
    sum(hour.idle_cost) AS idle_cost
FROM $database.gpu_hours AS hour
WHERE hour.hour >= toStartOfHour(fromUnixTimestamp64Nano({since:Int64}, 'UTC')) AND hour.hour < fromUnixTimestamp64Nano({until:Int64}, 'UTC')
    AND hour.idle_seconds > 0
GROUP BY currency
ORDER BY currency = '', currency
