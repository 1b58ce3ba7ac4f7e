reason = 'unresolved'
    AND started_at >= (SELECT min(first_at) FROM $database.unresolved)
    AND started_at <= (SELECT max(last_at) FROM $database.unresolved)
    AND (provider, host, request_model, response_model) IN
        (SELECT provider, host, request_model, response_model FROM $database.models)
