WITH selected AS (@selected)
SELECT
    provider AS "Provider",
    model AS "Model",
    if(status = 'unpriced', 'unpriced', 'partly priced') AS "State",
    reason AS "Reason",
    count() AS "Calls",
    sum(input_tokens) AS "Input tokens",
    sum(output_tokens) AS "Output tokens",
    max(started_at) AS "Newest"
FROM selected
WHERE status != 'priced'
GROUP BY provider, model, status, reason
ORDER BY "Calls" DESC, "Provider", "Model", "State", "Reason"
