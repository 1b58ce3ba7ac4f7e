-- What is known of a call's GPU time, and which stored calls are never charged: those that are counted elsewhere.
ALTER TABLE $database.calls
    ADD COLUMN IF NOT EXISTS gpu_source LowCardinality(String) AFTER gpu_model,      -- 'engine', 'process', or 'joined': an engine's, at its client's call
    ADD COLUMN IF NOT EXISTS gpu_count UInt16 AFTER gpu_source,                      -- GPUs that worked for it at a time
    ADD COLUMN IF NOT EXISTS gpu_method LowCardinality(String) AFTER gpu_count,      -- how its share was worked out
    ADD COLUMN IF NOT EXISTS gpu_confidence LowCardinality(String) AFTER gpu_method,
    ADD COLUMN IF NOT EXISTS gpu_preemptions UInt32 AFTER gpu_confidence,            -- times that the engine stopped it and began again
    ADD COLUMN IF NOT EXISTS left_out LowCardinality(String) AFTER batch_total       -- why it is not charged, or ''
SETTINGS alter_sync = 2;

-- The calls that GPUs worked for, as those GPUs' processes told them: few and narrow, so that GPU reports, and the search for
-- the client's record of an engine's call, need not read all calls. A copy, written by views/80_gpu_hours.sql.
CREATE TABLE IF NOT EXISTS $database.gpu_records
(
    started_at         DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    trace_id           FixedString(16)      CODEC(NONE),
    span_id            FixedString(8)       CODEC(NONE),
    version            UInt64               CODEC(ZSTD(1)),
    noted_at           DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    response_key       UInt64               CODEC(ZSTD(1)),
    duration_us        UInt64               CODEC(T64, ZSTD(1)),
    gpu_source         LowCardinality(String),
    gpu_pool           LowCardinality(String),
    gpu_model          LowCardinality(String),
    gpu_seconds        Decimal(18, 6)       CODEC(ZSTD(1)),
    prefill_seconds    Decimal(18, 6)       CODEC(ZSTD(1)),
    decode_seconds     Decimal(18, 6)       CODEC(ZSTD(1)),
    operation          LowCardinality(String),
    provider           LowCardinality(String),
    model              LowCardinality(String),
    service            LowCardinality(String),
    environment        LowCardinality(String),
    feature            LowCardinality(String),
    feature_source     LowCardinality(String),
    team               LowCardinality(String),
    customer           LowCardinality(String),
    user               String               CODEC(ZSTD(1)),
    session            String               CODEC(ZSTD(1)),
    input_tokens       UInt64               CODEC(T64, ZSTD(1)),
    cache_read_tokens  UInt64               CODEC(T64, ZSTD(1)),
    output_tokens      UInt64               CODEC(T64, ZSTD(1)),
    INDEX noted noted_at TYPE minmax GRANULARITY 1
)
ENGINE = $replacing_merge_tree(version)
PARTITION BY toYYYYMM(started_at)
ORDER BY (started_at, trace_id, span_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Hours for which calls came long after they were made, so that settle looks there for an engine's record of them.
CREATE TABLE IF NOT EXISTS $database.late_hours
(
    hour      DateTime('UTC'),
    noted_at  DateTime64(3, 'UTC')
)
ENGINE = $replacing_merge_tree(noted_at)
ORDER BY hour
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Up to when all that was stored has been joined: the newest row.
CREATE TABLE IF NOT EXISTS $database.gpu_joins
(
    joined_until  DateTime64(3, 'UTC')
)
ENGINE = $replacing_merge_tree(joined_until)
ORDER BY ();
