-- Every price that was ever in force here, on both axes of time: when it holds, and since when it was known.
CREATE OR REPLACE VIEW $database.price_history AS
SELECT
    rate_card, variant, valid_from, valid_to, window_from, above, meter, unit_price, list_price, currency, price_key, layer, source,
    min(activated_at) AS known_from,
    argMax(catalog, activated_at) AS last_catalog,
    last_catalog = (SELECT argMax(catalog, activated_at) FROM $database.catalogs) AS in_force
FROM (SELECT * FROM $database.prices FINAL) AS listed
INNER JOIN (SELECT catalog, min(activated_at) AS activated_at FROM $database.catalogs GROUP BY catalog) AS list USING (catalog)
GROUP BY ALL;
