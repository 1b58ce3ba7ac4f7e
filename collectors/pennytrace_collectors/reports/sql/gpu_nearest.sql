-- The rate cards whose names are nearest to that of a model which no price list has.
dictGetOrDefault('$database.model_rate_card', 'candidates',
    (toString(stored.provider), toString(stored.host), toString(stored.request_model), toString(stored.response_model)),
    CAST([] AS Array(String)))
