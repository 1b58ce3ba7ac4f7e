-- Rate cards of models whose names are like the one that somebody typed; the one itself first.
SELECT rate_card
FROM (
    SELECT DISTINCT toString(rate_card) AS rate_card
    FROM $database.prices
    WHERE catalog = (SELECT argMax(catalog, activated_at) FROM $database.catalogs) AND NOT startsWith(rate_card, 'gpu:')
)
ORDER BY rate_card = {card:String} DESC, editDistance(rate_card, {card:String}), rate_card
LIMIT 3
