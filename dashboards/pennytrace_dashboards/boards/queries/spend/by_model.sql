WITH selected AS (@selected)
SELECT
    model AS "Model",
    count() AS "Calls",
    countIf(status = 'priced') / count() AS "Calls priced",
    sum(input_tokens) AS "Input tokens",
    sum(output_tokens) AS "Output tokens",
    toFloat64(sum(cost)) AS "Spend",
    toFloat64(sum(cost)) / nullIf(countIf(status != 'unpriced'), 0) AS "Spend a priced call",
    toFloat64(sum(cost)) / nullIf(toFloat64(sum(sum(cost)) OVER ()), 0) AS "Share of spend"
FROM selected
GROUP BY model
ORDER BY "Spend" DESC NULLS LAST, "Calls" DESC, "Model"
