-- What instrumentation 0.2 says of a call besides its tokens: how it was made, what else it used, what its provider says
-- that it cost. `version` now says which row of a span is the call, so that no order of arrival can change it.
ALTER TABLE $database.calls
    ADD COLUMN IF NOT EXISTS processing LowCardinality(String) AFTER served_tier,       -- 'batch', or '' for at once
    ADD COLUMN IF NOT EXISTS attempts UInt8 DEFAULT 1 AFTER streamed,                   -- requests made for the call
    ADD COLUMN IF NOT EXISTS usage_method LowCardinality(String) AFTER usage_source,    -- how it was estimated
    ADD COLUMN IF NOT EXISTS details Map(LowCardinality(String), Decimal(38, 9)) CODEC(ZSTD(1)) AFTER output_tokens, -- parts of tokens, and what is billed apart from them: see dialects/quantities.csv
    ADD COLUMN IF NOT EXISTS reported_cost Nullable(Decimal(38, 18)) CODEC(ZSTD(1)) AFTER cost, -- USD, the provider's own figure
    ADD COLUMN IF NOT EXISTS batch_key UInt64 CODEC(ZSTD(1)) AFTER response_key,        -- cityHash64(batch); 0 for none
    ADD COLUMN IF NOT EXISTS batch_total UInt8 AFTER batch_key,                         -- 1: the sum of a whole batch
    MODIFY COLUMN duration_us UInt64 CODEC(T64, ZSTD(1)),                               -- jobs take longer than 71 minutes
    MODIFY COLUMN meters Array($meter_enum) CODEC(ZSTD(1)),
    MODIFY COLUMN version UInt64
SETTINGS alter_sync = 2, mutations_sync = 2;

-- Rows of store version 2 are numbered 1, 2, 3 ...: in the numbers of views/40_price.sql they were loaded before all
-- others, so that what they were charged at stays, whatever is replayed. A second run finds none of them.
INSERT INTO $database.calls
SELECT
    * EXCEPT version,
    toUInt64(multiIf(usage_fault != '', 0, usage_source = 'measured', 3, usage_source = 'estimated', 2, error_type != '', 1, 0))
        * 1000000000000000000 + toUInt64(stored.version) * 10000000000000 - 1 AS version
FROM $database.calls AS stored FINAL
WHERE stored.version < 1000000000000
SETTINGS max_partitions_per_insert_block = 0;

-- Batches of which single lines are stored: their totals are not charged.
CREATE TABLE IF NOT EXISTS $database.batch_lines
(
    batch_key  UInt64
)
ENGINE = $replacing_merge_tree
ORDER BY batch_key
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Calls that an app could not keep, as it says itself; one row a report.
CREATE TABLE IF NOT EXISTS $database.losses
(
    started_at   DateTime64(9, 'UTC'),
    trace_id     FixedString(16),
    span_id      FixedString(8),
    service      LowCardinality(String),
    environment  LowCardinality(String),
    calls        UInt64,
    reason       LowCardinality(String)
)
ENGINE = $replacing_merge_tree
ORDER BY (span_id, trace_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
