SELECT DISTINCT if(empty(team), '(none)', team) AS value
FROM spend
WHERE $__timeFilter_ms(started_at)
ORDER BY value
