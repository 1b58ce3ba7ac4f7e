SELECT provider, model, reason, count() AS calls, sum(input_tokens) + sum(output_tokens) AS tokens
FROM $database.spend
WHERE status != 'priced'
    AND started_at >= fromUnixTimestamp64Nano({since:Int64}, 'UTC') AND started_at < fromUnixTimestamp64Nano({until:Int64}, 'UTC')
GROUP BY provider, model, reason
ORDER BY tokens DESC, calls DESC, provider, model, reason
