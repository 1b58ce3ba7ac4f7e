-- What waited for its model; where usage is missing or at fault that is the stated reason, but such a call has a rate card
-- and a currency all the same.
(reason = 'unresolved' OR rate_card = '' AND (usage_source = 'missing' OR usage_fault != '')
        AND (provider, host, request_model, response_model) IN
            (SELECT provider, host, request_model, response_model FROM $database.unresolved))
    AND started_at >= (SELECT min(first_at) FROM $database.unresolved)
    AND started_at <= (SELECT max(last_at) FROM $database.unresolved)
    AND (provider, host, request_model, response_model) IN
        (SELECT provider, host, request_model, response_model FROM $database.models)
