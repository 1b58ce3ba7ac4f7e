-- What calls were charged before they were priced again, and what they are charged since: one row for each time.
CREATE TABLE IF NOT EXISTS $database.corrections
(
    started_at           DateTime64(9, 'UTC')   CODEC(Delta, ZSTD(1)),
    trace_id             FixedString(16),
    span_id              FixedString(8),
    version              UInt64                 CODEC(ZSTD(1)),  -- of the row that was corrected
    correction           LowCardinality(String),                 -- which `reprice` it was
    note                 LowCardinality(String),
    made_at              DateTime64(3, 'UTC'),
    old_meters           Array($meter_enum)     CODEC(ZSTD(1)),
    old_quantities       Array(Decimal(18, 6))  CODEC(ZSTD(1)),
    old_costs            Array(Decimal(38, 18)) CODEC(ZSTD(1)),
    old_currency         LowCardinality(String),
    old_billing_currency LowCardinality(String),
    old_exchange_rate    Nullable(Decimal(38, 18)),
    old_billed_cost      Nullable(Decimal(38, 18)),
    old_status           Enum8('unpriced' = 0, 'priced' = 1, 'partly_priced' = 2),
    old_reason           LowCardinality(String),
    old_rate_card        LowCardinality(String),
    old_variant          LowCardinality(String),
    old_price_valid_from DateTime('UTC'),
    old_catalog          LowCardinality(String),
    new_meters           Array($meter_enum)     CODEC(ZSTD(1)),
    new_quantities       Array(Decimal(18, 6))  CODEC(ZSTD(1)),
    new_costs            Array(Decimal(38, 18)) CODEC(ZSTD(1)),
    new_currency         LowCardinality(String),
    new_billing_currency LowCardinality(String),
    new_exchange_rate    Nullable(Decimal(38, 18)),
    new_billed_cost      Nullable(Decimal(38, 18)),
    new_status           Enum8('unpriced' = 0, 'priced' = 1, 'partly_priced' = 2),
    new_reason           LowCardinality(String),
    new_rate_card        LowCardinality(String),
    new_variant          LowCardinality(String),
    new_price_valid_from DateTime('UTC'),
    new_catalog          LowCardinality(String)
)
-- A correction that was cut off is made once more: the later row of the same correction replaces the earlier.
ENGINE = $replacing_merge_tree(made_at)
PARTITION BY toYYYYMM(started_at)
ORDER BY (started_at, trace_id, span_id, version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Months that finance has closed, with what they came to.
CREATE TABLE IF NOT EXISTS $database.months
(
    month                Date,                                  -- its first day, UTC
    closed_at            DateTime64(3, 'UTC'),
    note                 String,
    catalog              LowCardinality(String),                -- the price list in force at that moment
    calls                UInt64,
    unpriced_calls       UInt64,
    partly_priced_calls  UInt64,
    estimated_calls      UInt64,
    unconverted_calls    UInt64,                                -- priced, but without an exchange rate
    costs                Map(LowCardinality(String), Decimal(38, 18)),  -- by the currency of the prices
    billed_costs         Map(LowCardinality(String), Decimal(38, 18))   -- by the currency of the reports
)
ENGINE = $replacing_merge_tree(closed_at)
ORDER BY month
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
