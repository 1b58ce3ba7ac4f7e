-- Sums of what differs, as fine as reports need them: a call is in exactly one row. What is unpriced has no currency.
SELECT
    feature,
    provider,
    model,
    toString(old_status) AS old_status,
    toString(new_status) AS new_status,
    if(old_status = 'priced', '', toString(changed.old_reason)) AS old_reason,
    if(new_status = 'priced', '', toString(changed.new_reason)) AS new_reason,
    if(old_status = 'unpriced', '', toString(changed.old_currency)) AS old_currency,
    if(new_status = 'unpriced', '', toString(changed.new_currency)) AS new_currency,
    if(old_status = 'unpriced' OR changed.old_billed_cost IS NULL, '', toString(changed.old_billing_currency)) AS old_billing_currency,
    if(new_status = 'unpriced' OR changed.new_billed_cost IS NULL, '', toString(changed.new_billing_currency)) AS new_billing_currency,
    count() AS calls,
    sumIf(arraySum(old_costs), old_status != 'unpriced') AS old_cost,
    sumIf(arraySum(new_costs), new_status != 'unpriced') AS new_cost,
    sumIf(ifNull(changed.old_billed_cost, toDecimal128(0, 18)), old_status != 'unpriced') AS old_billed_cost,
    sumIf(ifNull(changed.new_billed_cost, toDecimal128(0, 18)), new_status != 'unpriced') AS new_billed_cost
FROM $changed AS changed
GROUP BY ALL
