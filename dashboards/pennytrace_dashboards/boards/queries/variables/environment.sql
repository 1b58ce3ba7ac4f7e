SELECT DISTINCT if(empty(environment), '(none)', environment) AS value
FROM spend
WHERE $__timeFilter_ms(started_at)
ORDER BY value
