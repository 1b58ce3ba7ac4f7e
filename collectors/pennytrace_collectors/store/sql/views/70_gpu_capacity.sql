-- What GPUs were there: for each GPU and hour the seconds for which any process held it, however many did. A pool that is
-- named counts before none, and of several the one named last; so with the model and the node.
CREATE OR REPLACE VIEW $database.gpu_capacity AS
SELECT
    hour,
    gpu,
    max(held.1) AS gpu_model,
    max(held.2) AS gpu_pool,
    max(held.3) AS node,
    toDecimal64(sum(held_us), 6) / 1000000 AS provisioned_seconds,
    max(used) AS utilization,
    max(busy) AS busy_seconds,
    max(joules) AS energy_joules,
    max(instances) AS processes,
    maxIf(from, instances > 0) AS first_at,
    maxIf(to, instances > 0) AS last_at
FROM
(
    -- Seconds are those of the union of all intervals, so a replay of one changes nothing.
    SELECT
        hour,
        gpu,
        (argMaxIf(gpu_model, time, gpu_model != ''), argMaxIf(gpu_pool, time, gpu_pool != ''), argMaxIf(node, time, node != '')) AS held,
        intervalLengthSum(toUnixTimestamp64Micro(start), toUnixTimestamp64Micro(time)) AS held_us,
        CAST(NULL AS Nullable(Float64)) AS used,
        CAST(NULL AS Nullable(Float64)) AS busy,
        CAST(NULL AS Nullable(Float64)) AS joules,
        uniqExact(instance) AS instances,
        min(start) AS from,
        max(time) AS to
    FROM $database.gpu_points
    WHERE metric = 'pennytrace.gpu.provisioned'
        -- A GPU whose slices are reported is not counted once more as a whole.
        AND (hour, gpu) NOT IN (
            SELECT hour, parent FROM $database.gpu_points WHERE metric = 'pennytrace.gpu.provisioned' AND parent != '')
    GROUP BY hour, gpu
    SETTINGS optimize_aggregation_in_order = 1

    UNION ALL

    SELECT hour, gpu, ('', '', ''), 0,
        avgOrNullIf(value, metric = 'hw.gpu.utilization'), sumOrNullIf(value, metric = 'pennytrace.gpu.busy'), NULL, 0, min(start), max(time)
    FROM $database.gpu_points FINAL
    WHERE metric IN ('hw.gpu.utilization', 'pennytrace.gpu.busy')
    GROUP BY hour, gpu
    SETTINGS optimize_aggregation_in_order = 1

    UNION ALL

    -- What the counter rose by from reading to reading, up to the first of the next hour; where it fell, it was set back.
    SELECT hour, gpu, ('', '', ''), 0, NULL, NULL,
        if(length(readings) < 2, NULL, arraySum(rise -> greatest(rise, 0), arrayDifference(
            arraySlice(readings.2, 1, arrayCount(read_at -> read_at <= hour + INTERVAL 1 HOUR, readings.1) + 1)))), 0, from, to
    FROM (
        SELECT hour, gpu, arraySort(groupArray((time, value))) AS readings, min(start) AS from, max(time) AS to
        FROM $database.gpu_points
        WHERE metric = 'hw.energy'
        GROUP BY hour, gpu
        SETTINGS optimize_aggregation_in_order = 1
    )
)
GROUP BY hour, gpu
HAVING sum(held_us) > 0;
