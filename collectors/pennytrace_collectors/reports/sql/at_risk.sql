-- What calls without a price would have cost by the nearest rate cards, over the whole days that the period touches.
SELECT provider, model, toString(reason) AS reason, candidate, sum(risk.calls) AS calls, sum(risk.cost) AS cost, currency
FROM $database.at_risk AS risk
WHERE day >= toDate(fromUnixTimestamp64Nano({since:Int64}, 'UTC')) AND day <= toDate(fromUnixTimestamp64Nano({until:Int64} - 1, 'UTC'))
    AND candidate != '' AND risk.cost IS NOT NULL
GROUP BY ALL
