WITH selected AS (@selected)
SELECT
    toFloat64(sum(cost)) AS "Spend",
    countIf(status = 'priced') / nullIf(count(), 0) AS "Calls priced"
FROM selected
