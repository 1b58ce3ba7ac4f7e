-- The currency of most calls comes first, and so is the one a board opens with.
SELECT currency
FROM spend
WHERE $__timeFilter_ms(started_at) AND notEmpty(currency)
GROUP BY currency
ORDER BY count() DESC, currency
