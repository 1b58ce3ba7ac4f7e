-- Each call, priced as it comes in or is fed back; the SELECT is that of price/priced.sql.
CREATE MATERIALIZED VIEW $database.price TO $database.calls AS
$priced;
