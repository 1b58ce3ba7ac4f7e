(
    SELECT * EXCEPT candidate REPLACE (
        toLowCardinality(candidate) AS host, reason AS requested_tier, toLowCardinality('') AS served_tier, toLowCardinality('') AS processing)
    FROM $database.calls FINAL
    LEFT ARRAY JOIN
        if(rate_card != '', [toString(rate_card)],
            dictGetOrDefault('$database.model_rate_card', 'candidates',
                (toString(provider), toString(host), toString(request_model), toString(response_model)), CAST([] AS Array(String)))) AS candidate
    WHERE status = 'unpriced' AND left_out = '' AND (batch_total = 0 OR batch_key NOT IN (SELECT batch_key FROM $database.batch_lines))
)
