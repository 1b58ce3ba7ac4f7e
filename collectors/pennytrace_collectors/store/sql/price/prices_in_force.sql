(
    SELECT *, (SELECT argMax(currency, activated_at) FROM $database.catalogs) AS billing_currency
    FROM $database.prices FINAL
    WHERE catalog = (SELECT argMax(catalog, activated_at) FROM $database.catalogs)
)
