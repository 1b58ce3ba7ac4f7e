-- The calls that a repeat changes: those that are not charged any more, or again, and those that learn who spent them.
INSERT INTO $database.calls
SELECT stored.* REPLACE (
    change.left_out AS left_out, change.feature AS feature, change.feature_source AS feature_source, change.team AS team,
    change.customer AS customer, change.user AS user, change.session AS session, change.tags AS tags,
    stored.version + 10000000000000 AS version
)
FROM
(
    SELECT * FROM $database.calls FINAL
    WHERE started_at BETWEEN toDateTime($earliest, 'UTC') AND toDateTime($latest, 'UTC')
        AND gpu_source != 'engine' AND batch_total = 0 AND left_out IN ('', '$repeat')
) AS stored
INNER JOIN
(
    SELECT *, fromUnixTimestamp64Nano(began, 'UTC') AS started_at, toFixedString(unhex(trace), 16) AS trace_id, toFixedString(unhex(span), 8) AS span_id
    FROM format(JSONEachRow, 'began Int64, trace String, span String, left_out String, feature String, feature_source String, team String, customer String, user String, session String, tags Map(String, String)', $changes)
) AS change
    ON change.started_at = stored.started_at AND change.trace_id = stored.trace_id AND change.span_id = stored.span_id
