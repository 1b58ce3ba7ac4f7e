-- Where a repeat may have come in since $since: traces with several spans of calls that tell of one another, and response ids
-- that several spans have. Each with when the first and the last of those spans began.
WITH
    -- Ten seconds back, because another collector's load may have been under way.
    toDateTime64('$since', 3, 'UTC') - INTERVAL 10 SECOND AS since,
    late AS (SELECT hour FROM $database.late_hours WHERE noted_at >= since),
    came AS
    (
        SELECT trace_id, response_key, toStartOfHour(toDateTime(started_at, 'UTC')) AS hour
        FROM $database.calls
        WHERE gpu_source != 'engine' AND batch_total = 0
            AND (started_at >= since - INTERVAL 10 MINUTE OR toStartOfHour(toDateTime(started_at, 'UTC')) IN late)
            AND version % 10000000000000 <= 9999999999999 - toUnixTimestamp64Milli(since)
    ),
    hours AS (SELECT arrayJoin([hour - 3600, hour, hour + 3600]) FROM came GROUP BY hour)
SELECT hex(trace_id) AS trace, toUInt64(0) AS response, toUnixTimestamp(min(started_at)) AS earliest, toUnixTimestamp(max(started_at)) AS latest
FROM $database.calls
WHERE gpu_source != 'engine' AND batch_total = 0
    AND toStartOfHour(toDateTime(started_at, 'UTC')) IN hours AND trace_id IN (SELECT trace_id FROM came)
GROUP BY trace_id
HAVING uniqExact(span_id) > 1 AND (uniqExact(scope) > 1 OR hasAny(groupUniqArray(span_id), groupUniqArray(parent_span_id)))
UNION ALL
SELECT '', response_key, toUnixTimestamp(min(started_at)), toUnixTimestamp(max(started_at))
FROM $database.calls
WHERE gpu_source != 'engine' AND batch_total = 0 AND response_key != 0
    AND toStartOfHour(toDateTime(started_at, 'UTC')) IN hours AND response_key IN (SELECT response_key FROM came)
GROUP BY response_key
HAVING uniqExact(trace_id, span_id) > 1
