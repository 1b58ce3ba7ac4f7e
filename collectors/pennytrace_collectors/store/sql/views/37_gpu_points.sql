-- Data points of GPUs to rows. An interval is cut at every full hour, its value in proportion; a reading of the energy counter
-- in the first minute of an hour closes the hour before as well, so that no joule between two hours is lost.
CREATE MATERIALIZED VIEW $database.note_gpu_points TO $database.gpu_points AS
WITH $clean AS clean, toInt64(3600000000000) AS hour_ns
SELECT
    metric,
    toDateTime(hour_number * 3600, 'UTC') AS hour,
    clean(strings[indexOf(names, 'hw.id')]) AS gpu,
    instance,
    fromUnixTimestamp64Nano(if(interval, least(time_ns, (hour_number + 1) * hour_ns), time_ns), 'UTC') AS time,
    fromUnixTimestamp64Nano(if(interval, greatest(start_ns, hour_number * hour_ns), time_ns), 'UTC') AS start,
    if(interval, value * (toUnixTimestamp64Nano(time) - toUnixTimestamp64Nano(start)) / (time_ns - start_ns), value) AS value,
    clean(strings[indexOf(names, 'hw.model')]) AS gpu_model,
    clean(strings[indexOf(names, 'hw.vendor')]) AS vendor,
    clean(strings[indexOf(names, 'hw.parent')]) AS parent,
    clean(strings[indexOf(names, 'pennytrace.gpu.pool')]) AS gpu_pool,
    node, service, environment
FROM
(
    SELECT
        metric, node, instance, service, environment,
        point.attributes.key AS names,
        point.attributes.value.string_value AS strings,
        metric IN ('pennytrace.gpu.provisioned', 'pennytrace.gpu.busy', 'pennytrace.gpu.idle') AS interval,
        toInt64(least(point.time_unix_nano, 4102444800000000000)) AS time_ns,
        multiIf(
            interval, greatest(toInt64(least(point.start_time_unix_nano, 4102444800000000000)), time_ns - 31622400000000000),
            metric = 'hw.energy', time_ns - 60000000000,
            time_ns - 1) AS start_ns,
        if(point.as_int != 0, toFloat64(point.as_int), point.as_double) AS value,
        arrayJoin(range(intDiv(start_ns, hour_ns), intDiv(time_ns - 1, hour_ns) + 1)) AS hour_number
    FROM
    (
        SELECT clean(metric.name) AS metric, node, instance, service, environment,
            arrayJoin(arrayConcat(metric.gauge.data_points, metric.sum.data_points)) AS point
        FROM
        (
            SELECT
                clean(strings[indexOf(names, 'host.name')]) AS node,
                clean(strings[indexOf(names, 'service.instance.id')]) AS instance,
                clean(strings[indexOf(names, 'service.name')]) AS service,
                if(empty(stamp.environment), clean(strings[indexOf(names, 'deployment.environment.name')]), stamp.environment) AS environment,
                arrayJoin(arrayFlatten(all_metrics)) AS metric
            FROM
            (
                SELECT
                    stamp,
                    resource_metrics.scope_metrics.metrics AS all_metrics,
                    resource_metrics.resource.attributes.key AS names,
                    resource_metrics.resource.attributes.value.string_value AS strings
                FROM (SELECT arrayJoin(metrics.resource_metrics) AS resource_metrics, stamp FROM $database.otel_metrics)
            )
        )
    )
);

-- GPUs that no rate card is known for yet, whether or not a call was made on them: see 35_unresolved.sql.
CREATE MATERIALIZED VIEW $database.note_unresolved_gpus TO $database.unresolved AS
SELECT
    toLowCardinality('gpu:') AS provider, gpu_pool AS host, toString(gpu_model) AS request_model, '' AS response_model,
    min(start) AS first_at, max(time) AS last_at
FROM $database.gpu_points
WHERE metric = 'pennytrace.gpu.provisioned'
    AND NOT dictHas('$database.model_rate_card', ('gpu:', toString(gpu_pool), toString(gpu_model), ''))
GROUP BY gpu_pool, gpu_model;
