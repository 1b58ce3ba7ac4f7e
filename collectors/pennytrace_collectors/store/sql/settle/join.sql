-- Joined calls whose price stays.
INSERT INTO $database.calls
SELECT * EXCEPT keeps_price REPLACE (version + 10000000000000 AS version)
FROM ($joined)
WHERE keeps_price
