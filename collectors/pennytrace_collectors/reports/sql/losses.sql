-- Calls that apps could not keep, as they said themselves, by who lost them and why.
SELECT service, environment, reason, sum(loss.calls) AS calls
FROM $database.losses AS loss FINAL
WHERE started_at >= fromUnixTimestamp64Nano({since:Int64}, 'UTC') AND started_at < fromUnixTimestamp64Nano({until:Int64}, 'UTC')
GROUP BY ALL
ORDER BY calls DESC, service, environment, reason
