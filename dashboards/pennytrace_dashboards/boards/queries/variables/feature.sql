SELECT DISTINCT if(empty(feature), '(none)', feature) AS value
FROM spend
WHERE $__timeFilter_ms(started_at)
ORDER BY value
