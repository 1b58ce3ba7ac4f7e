-- Models that no rate card is known for yet: the work list of settle.
CREATE MATERIALIZED VIEW $database.note_unresolved TO $database.unresolved AS
SELECT provider, host, toString(request_model) AS request_model, toString(response_model) AS response_model,
    min(started_at) AS first_at, max(started_at) AS last_at
FROM $database.usage
WHERE lost_calls = 0 AND NOT dictHas('$database.model_rate_card', (toString(provider), toString(host), toString(request_model), toString(response_model)))
GROUP BY provider, host, request_model, response_model;

-- Batches that have single lines: their totals are left out of the view `spend`.
CREATE MATERIALIZED VIEW $database.note_batch_lines TO $database.batch_lines AS
SELECT DISTINCT batch_key FROM $database.usage WHERE batch_key != 0 AND NOT batch_total;

-- Calls that apps could not keep.
CREATE MATERIALIZED VIEW $database.note_losses TO $database.losses AS
SELECT started_at, trace_id, span_id, service, environment, lost_calls AS calls, lost_reason AS reason
FROM $database.usage
WHERE lost_calls > 0;
