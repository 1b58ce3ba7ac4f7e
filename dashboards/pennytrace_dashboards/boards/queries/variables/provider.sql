SELECT DISTINCT if(empty(provider), '(none)', provider) AS value
FROM spend
WHERE $__timeFilter_ms(started_at)
ORDER BY value
