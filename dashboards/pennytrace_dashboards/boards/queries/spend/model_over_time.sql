-- The twelve that cost most have a colour of their own; the others are stacked as one, so that the bars add up.
WITH
    selected AS (@selected),
    bars AS
    (
        SELECT
            $__timeInterval(started_at) AS time,
            model,
            sum(cost) AS bar,
            sum(sum(cost)) OVER (PARTITION BY model) AS total
        FROM selected
        WHERE cost IS NOT NULL
        GROUP BY time, model
    ),
    ranked AS
    (
        SELECT time, model, bar, dense_rank() OVER (ORDER BY total DESC, model) AS place
        FROM bars
    )
SELECT
    time,
    if(place <= 12, model, '(others)') AS model_or_others,
    toFloat64(sum(bar)) AS spend
FROM ranked
GROUP BY time, model_or_others
ORDER BY time, model_or_others
