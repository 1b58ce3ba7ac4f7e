-- The stored calls whose price differs from what they would be charged now, both side by side.
SELECT
    stored.started_at AS started_at, stored.trace_id AS trace_id, stored.span_id AS span_id, stored.version AS version,
    stored.feature AS feature, stored.provider AS provider,
    if(stored.response_model != '', stored.response_model, stored.request_model) AS model,
    stored.meters AS old_meters, anew.meters AS new_meters,
    stored.quantities AS old_quantities, anew.quantities AS new_quantities,
    stored.costs AS old_costs, anew.costs AS new_costs,
    stored.currency AS old_currency, anew.currency AS new_currency,
    stored.billing_currency AS old_billing_currency, anew.billing_currency AS new_billing_currency,
    stored.exchange_rate AS old_exchange_rate, anew.exchange_rate AS new_exchange_rate,
    stored.billed_cost AS old_billed_cost,
    -- As the column `billed_cost` of `calls`.
    if(arraySum(anew.costs) = 0, toDecimal128(0, 18),
        CAST(toDecimal256(arraySum(anew.costs), 18) * toDecimal256(anew.exchange_rate, 18) AS Nullable(Decimal(38, 18)))) AS new_billed_cost,
    stored.status AS old_status, anew.status AS new_status,
    stored.reason AS old_reason, anew.reason AS new_reason,
    stored.rate_card AS old_rate_card, anew.rate_card AS new_rate_card,
    stored.variant AS old_variant, anew.variant AS new_variant,
    stored.price_valid_from AS old_price_valid_from, anew.price_valid_from AS new_price_valid_from,
    stored.catalog AS old_catalog, anew.catalog AS new_catalog
FROM (SELECT *, billed_cost FROM $database.calls FINAL WHERE $which) AS stored
INNER JOIN ($anew) AS anew
    ON stored.started_at = anew.started_at AND stored.trace_id = anew.trace_id AND stored.span_id = anew.span_id
WHERE NOT (stored.status = 'unpriced' AND anew.status = 'unpriced')
    AND (stored.meters != anew.meters OR stored.quantities != anew.quantities OR stored.costs != anew.costs
        OR stored.currency != anew.currency OR stored.status != anew.status
        OR stored.billing_currency != anew.billing_currency
        OR NOT (stored.exchange_rate <=> anew.exchange_rate))
