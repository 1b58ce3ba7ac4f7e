-- Calls that an engine told of and that may have to be joined, by response id, each with the time in which all that is stored
-- of it began: those of which a record came since $since, from the engine or from a client.
-- A client's record begins before the engine's, at most an hour (retries, a queue), or by its own clock up to 5 minutes after
-- it. An engine leaves a record for every hour that a request ran in: only one that touches a full hour has others.
WITH
    -- Ten seconds back, because another collector's load may have been under way.
    toDateTime64('$since', 3, 'UTC') - INTERVAL 10 SECOND AS since,
    late AS (SELECT hour FROM $database.late_hours WHERE noted_at >= since),
    toStartOfHour(toDateTime(started_at, 'UTC')) AS began_in
SELECT response_key, min(from_s) AS earliest, max(to_s) AS latest
FROM
(
    SELECT
        response_key,
        toUnixTimestamp(toDateTime(started_at, 'UTC')) AS at_s,
        at_s + intDiv(duration_us, 1000000) + 1 AS ended_s,
        at_s - if(at_s % 3600 = 0, 90000, 3600) AS from_s,
        if(intDiv(at_s, 3600) != intDiv(ended_s, 3600), at_s + 86700, ended_s + 300) AS to_s
    FROM $database.gpu_records
    WHERE gpu_source = 'engine' AND response_key != 0 AND noted_at >= since
    UNION ALL
    SELECT
        response_key,
        0, 0,
        toUnixTimestamp(toDateTime(started_at, 'UTC')) - 3600,
        toUnixTimestamp(toDateTime(started_at, 'UTC')) + least(intDiv(duration_us, 1000000), 86400) + 300
    FROM $database.calls
    WHERE response_key != 0 AND gpu_source = ''
        AND (started_at >= since - INTERVAL 10 MINUTE OR began_in IN late)
        -- The last 13 digits of a version are those of the moment at which the call came, counted backwards.
        AND version % 10000000000000 <= 9999999999999 - toUnixTimestamp64Milli(since)
        AND response_key IN (
            SELECT response_key FROM $database.gpu_records
            WHERE gpu_source = 'engine'
                AND (started_at >= since - INTERVAL 15 MINUTE
                    OR began_in IN (SELECT arrayJoin([hour - 3600, hour, hour + 3600, hour + 7200]) FROM late))
        )
)
GROUP BY response_key
ORDER BY latest - earliest > 7200, earliest
