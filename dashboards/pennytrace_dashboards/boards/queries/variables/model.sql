SELECT DISTINCT if(empty(model), '(none)', model) AS value
FROM spend
WHERE $__timeFilter_ms(started_at)
ORDER BY value
