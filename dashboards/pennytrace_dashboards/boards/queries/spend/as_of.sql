-- As of which call, whatever is selected, and by which price list calls are priced now.
WITH in_force AS
    (
        SELECT catalog, newest_price
        FROM catalogs
        ORDER BY activated_at DESC
        LIMIT 1
    )
SELECT
    (SELECT maxOrNull(started_at) FROM spend WHERE $__timeFilter_ms(started_at)) AS "Newest call",
    (SELECT catalog FROM in_force) AS "Price list",
    (SELECT newest_price FROM in_force) AS "Newest price in it",
    dateDiff('second', (SELECT newest_price FROM in_force), now('UTC')) / 86400 AS "Age of that price"
