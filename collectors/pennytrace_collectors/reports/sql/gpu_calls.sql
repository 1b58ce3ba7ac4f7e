-- The calls that GPUs of ours worked for, once for each rate card that they are to be compared with. A card stands in the place
-- of the host, as the look-up expects it, and the model and the provider in those of service and environment.
(
    SELECT * EXCEPT compared REPLACE (
        stored.provider AS environment,
        toLowCardinality(if(stored.response_model != '', stored.response_model, stored.request_model)) AS service,
        toLowCardinality(compared) AS host,
        toLowCardinality('') AS provider,
        toLowCardinality('') AS request_model,
        toLowCardinality('') AS response_model,
        toLowCardinality('') AS requested_tier,
        toLowCardinality('') AS served_tier,
        toLowCardinality('') AS processing,
        mapFilter((name, amount) -> NOT startsWith(name, 'gpu_') AND name != 'queue_seconds', stored.details) AS details)
    FROM $database.calls AS stored FINAL
    ARRAY JOIN $cards AS compared
    WHERE stored.gpu_source IN ('engine', 'process')
        AND stored.started_at >= toStartOfHour(fromUnixTimestamp64Nano({since:Int64}, 'UTC')) AND stored.started_at < fromUnixTimestamp64Nano({until:Int64}, 'UTC')
)
