-- All that is stored of calls which spans of given traces, or with given response ids, tell of: what `store/families.py` sorts.
WITH
    seeds AS
    (
        SELECT trace_id, response_key FROM $database.calls
        WHERE started_at BETWEEN toDateTime($earliest, 'UTC') AND toDateTime($latest, 'UTC')
            AND (trace_id IN ($traces) OR response_key IN ($responses))
    )
SELECT
    hex(calls.trace_id), hex(calls.span_id), hex(parent_span_id), response_key, toString(scope), toString(service),
    toUnixTimestamp64Nano(calls.started_at) AS began, began + toInt64(least(duration_us, 86400000000)) * 1000 AS ended,
    if(operation IN ('chat', 'text_completion', 'generate_content'), 'chat', toString(operation)) AS kind,
    arrayFilter(name -> name != '', arrayMap(name -> lower(arrayElement(splitByChar('/', toString(name)), -1)),
        [request_model, response_model])) AS models,
    toInt64(input_tokens), toInt64(output_tokens),
    -- By what the span itself said: what it has from an engine depends on which of them was joined.
    gpu_source = 'joined' AND usage_method = 'engine' AS has_usage_of_engine,
    multiIf(usage_fault != '' OR usage_source = 'missing' OR has_usage_of_engine, 0, usage_source = 'measured', 2, 1) AS quality,
    if(has_usage_of_engine, 0, length(arrayFilter(meter -> gpu_source != 'joined' OR meter != 'gpu_seconds', meters))) AS details,
    left_out = '' AS is_charged,
    left_out = '' AND 9999999999999 - version % 10000000000000 <= months.closed_ms AS is_closed,
    (toString(feature), toString(feature_source), toString(team), toString(customer), user, session, CAST(tags AS Map(String, String))) AS who,
    hex(repeats.counted_at_trace_id), hex(repeats.counted_at_span_id), toString(repeats.reason)
FROM
(
    SELECT * FROM $database.calls FINAL
    WHERE started_at BETWEEN toDateTime($earliest, 'UTC') AND toDateTime($latest, 'UTC')
        AND gpu_source != 'engine' AND batch_total = 0 AND left_out IN ('', '$repeat')
        AND (trace_id IN (SELECT trace_id FROM seeds) OR response_key != 0 AND response_key IN (SELECT response_key FROM seeds))
) AS calls
LEFT JOIN (SELECT month, toUnixTimestamp64Milli(max(closed_at)) AS closed_ms FROM $database.months GROUP BY month) AS months
    ON months.month = toStartOfMonth(calls.started_at)
LEFT JOIN
(
    SELECT * FROM $database.repeats FINAL WHERE started_at BETWEEN toDateTime($earliest, 'UTC') AND toDateTime($latest, 'UTC')
) AS repeats
    ON repeats.started_at = calls.started_at AND repeats.trace_id = calls.trace_id AND repeats.span_id = calls.span_id
