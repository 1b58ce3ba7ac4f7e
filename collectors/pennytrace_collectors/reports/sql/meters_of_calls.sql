-- Each call once a meter, with that part of its cost; the first of its rows is `counted`, so that calls can be counted once.
WITH
    toDecimal128(0, 18) AS nothing,
    multiIf(currency IN ('', {currency:String}) OR cost = 0, toNullable(toDecimal128(1, 18)), billing_currency = {currency:String}, exchange_rate, NULL) AS rate,
    -- What has come to the call so far, converted: its differences add up to the converted cost of the call, whatever is
    -- cut off each at its last digit. 256 bits, because the product of two decimals of 128 may not fit in one.
    arrayMap(so_far -> toDecimal128(toDecimal256(so_far, 18) * ifNull(rate, nothing), 18), arrayCumSum(costs)) AS converted
SELECT
    *, place <= 1 AS counted, meter, quantity,
    -- The parts of a partly priced call that cost nothing are those without a price.
    if(status = 'unpriced' OR (status = 'partly_priced' AND meter_cost = 0), NULL, meter_cost) AS part,
    if(part IS NULL OR rate IS NULL, NULL, billed) AS billed_part,
    cost IS NOT NULL AND rate IS NULL AS unconverted
FROM $database.spend
LEFT ARRAY JOIN
    arrayMap(name -> toString(name), meters) AS meter,
    quantities AS quantity,
    costs AS meter_cost,
    arrayMap((after, before) -> after - before, converted, arrayPopBack(arrayPushFront(converted, nothing))) AS billed,
    arrayEnumerate(meters) AS place
WHERE started_at >= fromUnixTimestamp64Nano({since:Int64}, 'UTC') AND started_at < fromUnixTimestamp64Nano({until:Int64}, 'UTC')
