-- A month that is closed keeps what it was closed with, also what had no price then: see `pennytrace reprice --closed-too`.
status != 'priced' AND usage_fault = '' AND usage_source != 'missing'
    AND toStartOfMonth(started_at) NOT IN (SELECT month FROM $database.months)
