-- Record what a month comes to; a month without calls is one with nothing in it.
INSERT INTO $database.months
SELECT
    wanted.month,
    now64(3) AS closed_at,
    {note:String} AS note,
    (SELECT argMax(catalog, activated_at) FROM $database.catalogs) AS catalog,
    calls, unpriced_calls, partly_priced_calls, estimated_calls, unconverted_calls, costs, billed_costs
FROM (SELECT toDate({month:String}) AS month) AS wanted
LEFT JOIN (SELECT * FROM $database.month_totals WHERE month = toDate({month:String})) AS totals USING (month)
