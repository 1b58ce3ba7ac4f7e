SELECT catalog, genai_prices, newest_price, currency
FROM $database.catalogs FINAL
ORDER BY activated_at DESC
LIMIT 1
