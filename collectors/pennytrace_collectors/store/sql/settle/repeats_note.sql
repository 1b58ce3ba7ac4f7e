-- Why spans are not charged, and where their call is.
INSERT INTO $database.repeats
SELECT
    fromUnixTimestamp64Nano(began, 'UTC'), toFixedString(unhex(trace), 16), toFixedString(unhex(span), 8),
    toFixedString(unhex(at_trace), 16), toFixedString(unhex(at_span), 8), because, now64(3)
FROM format(JSONEachRow, 'began Int64, trace String, span String, at_trace String, at_span String, because String', $reasons)
