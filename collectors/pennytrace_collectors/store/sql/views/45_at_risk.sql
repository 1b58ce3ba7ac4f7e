-- The rate cards that unpriced calls may turn out to have: those nearest by name where there is none, and their own where it
-- lacks only the price of their tier, of batches, or of a size. A candidate stands where a look-up expects the host.
CREATE OR REPLACE VIEW $database.candidates AS
SELECT DISTINCT
    provider,
    candidate AS host,
    request_model,
    response_model,
    candidate AS rate_card,
    toUInt8(1) AS tiered,
    toUInt8(rate_card IN (SELECT rate_card FROM $database.rate_cards WHERE match(variant, '[0-9]x[0-9]'))) AS sized,
    '' AS reason
FROM $database.resolved_models
ARRAY JOIN if(rate_card != '', [rate_card], candidates) AS candidate
UNION ALL
-- Any card at all, for calls that somebody wants to see at another model's price.
SELECT DISTINCT '', toString(rate_card), '', '', toString(rate_card), toUInt8(1), toUInt8(0), ''
FROM $database.prices
WHERE catalog = (SELECT argMax(catalog, activated_at) FROM $database.catalogs);

CREATE OR REPLACE DICTIONARY $database.candidate_rate_card
(
    provider        String,
    host            String,
    request_model   String,
    response_model  String,
    rate_card       String,
    tiered          UInt8,
    sized           UInt8,
    reason          String
)
PRIMARY KEY provider, host, request_model, response_model
SOURCE(CLICKHOUSE(DB '$database' TABLE 'candidates'$dictionary_credentials))
LAYOUT(COMPLEX_KEY_HASHED())
LIFETIME(0);

-- What unpriced calls would have cost, at the standard rate of each candidate: a call counts once for every candidate that
-- it has, and once without one, and without a cost, when it has none. Priced by price/priced.sql, as everything is.
CREATE OR REPLACE VIEW $database.at_risk AS
SELECT
    toDate(started_at) AS day,
    provider,
    if(response_model != '', response_model, request_model) AS model,
    requested_tier AS reason,
    toString(host) AS candidate,
    count() AS calls,
    sum(input_tokens + output_tokens) AS tokens,
    sumOrNull(if(status = 'unpriced', NULL, arraySum(costs))) AS cost,
    toString(currency) AS currency
FROM
(
$at_risk
)
GROUP BY day, provider, model, reason, candidate, currency;
