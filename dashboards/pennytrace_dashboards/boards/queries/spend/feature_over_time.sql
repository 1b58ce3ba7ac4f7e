-- The twelve that cost most have a colour of their own; the others are stacked as one, so that the bars add up.
WITH
    selected AS (@selected),
    bars AS
    (
        SELECT
            $__timeInterval(started_at) AS time,
            feature,
            sum(cost) AS bar,
            sum(sum(cost)) OVER (PARTITION BY feature) AS total
        FROM selected
        WHERE cost IS NOT NULL
        GROUP BY time, feature
    ),
    ranked AS
    (
        SELECT time, feature, bar, dense_rank() OVER (ORDER BY total DESC, feature) AS place
        FROM bars
    )
SELECT
    time,
    if(place <= 12, feature, '(others)') AS feature_or_others,
    toFloat64(sum(bar)) AS spend
FROM ranked
GROUP BY time, feature_or_others
ORDER BY time, feature_or_others
