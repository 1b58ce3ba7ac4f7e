-- Whether any GPU was reported in the hours that the period touches: most stores have none.
SELECT 1 AS reported
FROM $database.gpu_points
WHERE metric = 'pennytrace.gpu.provisioned'
    AND hour >= toStartOfHour(fromUnixTimestamp64Nano({since:Int64}, 'UTC')) AND hour < fromUnixTimestamp64Nano({until:Int64}, 'UTC')
LIMIT 1
