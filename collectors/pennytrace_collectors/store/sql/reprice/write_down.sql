-- Keep what the calls that are about to be priced again were charged, and what they will be.
INSERT INTO $database.corrections
    (started_at, trace_id, span_id, version, correction, note, made_at,
     old_meters, old_quantities, old_costs, old_currency, old_billing_currency, old_exchange_rate, old_billed_cost, old_status, old_reason,
     old_rate_card, old_variant, old_price_valid_from, old_catalog,
     new_meters, new_quantities, new_costs, new_currency, new_billing_currency, new_exchange_rate, new_billed_cost, new_status, new_reason,
     new_rate_card, new_variant, new_price_valid_from, new_catalog)
SELECT
    started_at, trace_id, span_id, version, {correction:String}, {note:String}, now64(3),
    old_meters, old_quantities, old_costs, old_currency, old_billing_currency, old_exchange_rate, old_billed_cost, old_status, old_reason,
    old_rate_card, old_variant, old_price_valid_from, old_catalog,
    new_meters, new_quantities, new_costs, new_currency, new_billing_currency, new_exchange_rate, new_billed_cost, new_status, new_reason,
    new_rate_card, new_variant, new_price_valid_from, new_catalog
FROM ($changed)
