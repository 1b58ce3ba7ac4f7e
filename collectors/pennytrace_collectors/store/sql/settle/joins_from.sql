-- Since when calls may have to be joined, and the moment from which the next look begins.
SELECT
    toString(if(joined_until > toDateTime64(0, 3, 'UTC'), joined_until, first)) AS since,
    toString(now64(3, 'UTC')) AS until
FROM (SELECT max(joined_until) AS joined_until FROM $database.gpu_joins) AS joins,
    (SELECT min(noted_at) AS first FROM $database.gpu_records) AS records
