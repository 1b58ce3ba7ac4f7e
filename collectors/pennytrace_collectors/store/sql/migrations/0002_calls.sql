-- One row a billed call. Written by the materialized view `price` only; the highest version of a span is the call.
CREATE TABLE $database.calls
(
    started_at          DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    trace_id            FixedString(16)      CODEC(NONE),
    span_id             FixedString(8)       CODEC(NONE),
    parent_span_id      FixedString(8)       CODEC(ZSTD(1)),
    response_key        UInt64               CODEC(ZSTD(1)),  -- cityHash64(response id); 0 when there was none
    duration_us         UInt32               CODEC(T64, ZSTD(1)),
    first_chunk_us      UInt32               CODEC(T64, ZSTD(1)),
    scope               LowCardinality(String),
    operation           LowCardinality(String),
    provider            LowCardinality(String),
    host                LowCardinality(String),
    request_model       LowCardinality(String),
    response_model      LowCardinality(String),
    requested_tier      LowCardinality(String),
    served_tier         LowCardinality(String),
    streamed            UInt8,
    error_type          LowCardinality(String),
    service             LowCardinality(String),
    environment         LowCardinality(String),
    feature             LowCardinality(String),
    feature_source      LowCardinality(String),
    team                LowCardinality(String),
    customer            LowCardinality(String),
    user                String               CODEC(ZSTD(1)),
    session             String               CODEC(ZSTD(1)),
    tags                Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    usage_source        Enum8('missing' = 0, 'measured' = 1, 'estimated' = 2),
    usage_fault         LowCardinality(String),               -- why the reported usage cannot be priced, or ''
    input_tokens        UInt64               CODEC(T64, ZSTD(1)),  -- totals as reported; details are parts of them
    output_tokens       UInt64               CODEC(T64, ZSTD(1)),
    meters              Array($meter_enum)   CODEC(ZSTD(1)),  -- disjoint, so that quantities and costs may be summed
    quantities          Array(UInt64)        CODEC(T64, ZSTD(1)),
    costs               Array(Decimal(38, 18)) CODEC(ZSTD(1)),
    cost                Decimal(38, 18) ALIAS arraySum(costs),
    currency            LowCardinality(String),
    status              Enum8('unpriced' = 0, 'priced' = 1, 'partly_priced' = 2),
    reason              LowCardinality(String),
    rate_card           LowCardinality(String),
    variant             LowCardinality(String),
    price_valid_from    DateTime('UTC')      CODEC(ZSTD(1)),
    catalog             LowCardinality(String),
    version             UInt32                                -- 1 as loaded, more each time it is priced again
)
ENGINE = $replacing_merge_tree(version)
PARTITION BY toYYYYMM(started_at)
ORDER BY (started_at, trace_id, span_id)
-- The journal forgets a segment once it is loaded, so what was loaded must survive a loss of power as well.
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Work for settle: models seen in a load that no rate card was known for yet.
CREATE TABLE $database.unresolved
(
    provider        LowCardinality(String),
    host            LowCardinality(String),
    request_model   String,
    response_model  String,
    first_at        SimpleAggregateFunction(min, DateTime64(9, 'UTC')),
    last_at         SimpleAggregateFunction(max, DateTime64(9, 'UTC'))
)
ENGINE = $aggregating_merge_tree
ORDER BY (provider, host, request_model, response_model);
