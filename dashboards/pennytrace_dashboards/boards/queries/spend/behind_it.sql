WITH selected AS (@selected)
SELECT
    count() AS "Calls",
    countIf(status = 'unpriced') AS "Unpriced calls",
    countIf(status = 'partly_priced') AS "Partly priced calls",
    sum(input_tokens) + sum(output_tokens) AS "Tokens",
    sumIf(input_tokens + output_tokens, status = 'priced') / nullIf(sum(input_tokens + output_tokens), 0) AS "Tokens priced",
    countIf(usage_source = 'estimated') / nullIf(count(), 0) AS "Calls estimated",
    toFloat64(sumIf(cost, usage_source = 'estimated')) / nullIf(toFloat64(sum(cost)), 0) AS "Spend estimated"
FROM selected
