(started_at, trace_id, span_id, version) IN
    (SELECT started_at, trace_id, span_id, version FROM $database.corrections WHERE correction = {correction:String})
