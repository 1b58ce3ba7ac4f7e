-- What the tokens of self-hosted models would have cost at the prices of other models, where these have one for them.
SELECT
    toString(environment) AS provider,
    toString(service) AS model,
    toString(host) AS rate_card,
    toString(currency) AS currency,
    countIf(status != 'unpriced') AS calls,
    sumIf(input_tokens + output_tokens, status != 'unpriced') AS tokens,
    sumOrNull(if(status = 'unpriced', NULL, arraySum(costs))) AS cost
FROM
(
$priced
)
GROUP BY provider, model, rate_card, currency
HAVING calls > 0
ORDER BY cost, rate_card
