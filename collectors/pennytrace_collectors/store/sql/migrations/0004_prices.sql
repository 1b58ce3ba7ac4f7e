-- Prices with what they were before discounts and which layer says so; amounts in a second currency; every meter; and what
-- else the price of a call may depend on: the size and quality of images, and the GPU that worked for it.
ALTER TABLE $database.prices
    ADD COLUMN IF NOT EXISTS list_price Decimal(38, 18) DEFAULT unit_price AFTER unit_price,  -- before discounts
    ADD COLUMN IF NOT EXISTS layer LowCardinality(String) AFTER price_key   -- 'genai-prices', 'supplement' or 'price file'
SETTINGS alter_sync = 2;

ALTER TABLE $database.models
    ADD COLUMN IF NOT EXISTS sized UInt8 AFTER tiered,               -- 1: the card has a price for each size and quality
    ADD COLUMN IF NOT EXISTS candidates Array(String) AFTER reason,  -- rate cards nearest by name, when there is none
    ADD COLUMN IF NOT EXISTS why Array(String) AFTER candidates      -- how the card was found, for people
SETTINGS alter_sync = 2;

ALTER TABLE $database.catalogs
    ADD COLUMN IF NOT EXISTS currency LowCardinality(String) DEFAULT 'USD' AFTER newest_price  -- what reports are in
SETTINGS alter_sync = 2;

-- What one unit of a currency is worth in another, by day.
CREATE TABLE IF NOT EXISTS $database.exchange_rates
(
    catalog     String,
    base        LowCardinality(String),
    quote       LowCardinality(String),
    valid_from  DateTime('UTC'),            -- inclusive
    valid_to    DateTime('UTC'),            -- inclusive, to the second
    rate        Decimal(38, 18),            -- of `quote` for one unit of `base`
    source      String
)
ENGINE = $replacing_merge_tree
ORDER BY (catalog, base, quote, valid_from);

ALTER TABLE $database.calls
    ADD COLUMN IF NOT EXISTS image_size LowCardinality(String) AFTER attempts,
    ADD COLUMN IF NOT EXISTS image_quality LowCardinality(String) AFTER image_size,
    ADD COLUMN IF NOT EXISTS gpu_pool LowCardinality(String) AFTER image_quality,       -- whose GPUs worked for it
    ADD COLUMN IF NOT EXISTS gpu_model LowCardinality(String) AFTER gpu_pool,           -- as reported; 'cpu' for none
    MODIFY COLUMN meters Array($meter_enum) CODEC(ZSTD(1)),
    MODIFY COLUMN quantities Array(Decimal(18, 6)) CODEC(GCD, T64, ZSTD(1)),            -- seconds have fractions
    ADD COLUMN IF NOT EXISTS billing_currency LowCardinality(String) DEFAULT currency AFTER currency,  -- what reports were in
    ADD COLUMN IF NOT EXISTS exchange_rate Nullable(Decimal(38, 18)) DEFAULT if(currency = '', NULL, toDecimal128(1, 18)) CODEC(ZSTD(1)) AFTER billing_currency,  -- of it for one of `currency`, on the day of the call; NULL for unknown
    ADD COLUMN IF NOT EXISTS billed_cost Nullable(Decimal(38, 18)) ALIAS if(arraySum(costs) = 0, toDecimal128(0, 18), CAST(toDecimal256(arraySum(costs), 18) * toDecimal256(exchange_rate, 18) AS Nullable(Decimal(38, 18)))) AFTER exchange_rate
SETTINGS alter_sync = 2, mutations_sync = 2;
