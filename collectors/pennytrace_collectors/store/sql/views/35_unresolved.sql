-- Models that no rate card is known for yet: the work list of settle.
CREATE MATERIALIZED VIEW $database.note_unresolved TO $database.unresolved AS
SELECT provider, host, toString(request_model) AS request_model, toString(response_model) AS response_model,
    min(started_at) AS first_at, max(started_at) AS last_at
FROM $database.usage
WHERE NOT dictHas('$database.model_rate_card', (toString(provider), toString(host), toString(request_model), toString(response_model)))
GROUP BY provider, host, request_model, response_model;
