-- The calls in the time range that the variables let through; who has no name is (none). A call without a price has
-- no currency either, so it is shown whichever currency is chosen, as a call that is missing from the money.
SELECT
    started_at,
    if(empty(provider), '(none)', provider) AS provider,
    if(empty(model), '(none)', model) AS model,
    if(empty(environment), '(none)', environment) AS environment,
    if(empty(team), '(none)', team) AS team,
    if(empty(feature), '(none)', feature) AS feature,
    usage_source,
    input_tokens,
    output_tokens,
    status,
    reason,
    cost
FROM spend
WHERE $__timeFilter_ms(started_at)
    AND currency IN ('', ${currency:singlequote})
    AND $__conditionalAll(environment IN (${environment:singlequote}), $environment)
    AND $__conditionalAll(team IN (${team:singlequote}), $team)
    AND $__conditionalAll(feature IN (${feature:singlequote}), $feature)
    AND $__conditionalAll(provider IN (${provider:singlequote}), $provider)
    AND $__conditionalAll(model IN (${model:singlequote}), $model)
