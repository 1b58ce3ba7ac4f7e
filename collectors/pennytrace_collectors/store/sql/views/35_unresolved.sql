-- Models, and GPUs, that no rate card is known for yet: the work list of settle. A GPU stands there as the model of a
-- provider 'gpu:' at the host of its pool.
CREATE MATERIALIZED VIEW $database.note_unresolved TO $database.unresolved AS
SELECT toLowCardinality(key.1) AS provider, toLowCardinality(key.2) AS host, key.3 AS request_model, key.4 AS response_model, first_at, last_at
FROM
(
    SELECT
        arrayJoin(arrayFilter(seen -> NOT dictHas('$database.model_rate_card', seen),
            arrayConcat([(toString(provider), toString(host), toString(request_model), toString(response_model))],
                if(on_gpu, [('gpu:', toString(gpu_pool), toString(gpu_model), '')], [])))) AS key,
        first_at, last_at
    FROM
    (
        SELECT provider, host, request_model, response_model, gpu_pool, gpu_model,
            gpu_source != '' OR details['gpu_seconds'] > 0 AS on_gpu, min(started_at) AS first_at, max(started_at) AS last_at
        FROM $database.usage
        WHERE lost_calls = 0
        GROUP BY provider, host, request_model, response_model, gpu_pool, gpu_model, on_gpu
    )
);

-- Batches that have single lines: their totals are left out of the view `spend`.
CREATE MATERIALIZED VIEW $database.note_batch_lines TO $database.batch_lines AS
SELECT DISTINCT batch_key FROM $database.usage WHERE batch_key != 0 AND NOT batch_total;

-- Calls that apps could not keep.
CREATE MATERIALIZED VIEW $database.note_losses TO $database.losses AS
SELECT started_at, trace_id, span_id, service, environment, lost_calls AS calls, lost_reason AS reason
FROM $database.usage
WHERE lost_calls > 0;

-- Calls that came long after they were made, when others have told their part of them: see settle/due.sql and repeats_due.sql.
CREATE MATERIALIZED VIEW $database.note_late_hours TO $database.late_hours AS
SELECT toStartOfHour(toDateTime(started_at, 'UTC')) AS hour, now64(3) AS noted_at
FROM $database.usage
WHERE gpu_source != 'engine' AND started_at < now() - INTERVAL 10 MINUTE
GROUP BY hour;
