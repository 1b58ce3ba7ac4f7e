ALTER TABLE $database.unresolved DELETE
WHERE (provider, host, request_model, response_model) IN
    (SELECT provider, host, request_model, response_model FROM $database.models)
SETTINGS mutations_sync = 1
