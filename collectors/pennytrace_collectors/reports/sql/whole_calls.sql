-- Each call once, with what it cost and what that is in the currency of the report; NULL where it is not known.
SELECT
    *, 1 AS counted, '' AS meter, toDecimal64(0, 6) AS quantity, cost AS part,
    multiIf(currency IN ('', {currency:String}) OR cost = 0, cost, billing_currency = {currency:String}, billed_cost, NULL) AS billed_part,
    cost IS NOT NULL AND billed_part IS NULL AS unconverted
FROM $database.spend
WHERE started_at >= fromUnixTimestamp64Nano({since:Int64}, 'UTC') AND started_at < fromUnixTimestamp64Nano({until:Int64}, 'UTC')
