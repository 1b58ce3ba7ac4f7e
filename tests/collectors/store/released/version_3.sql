CREATE DATABASE pennytrace;

CREATE TABLE IF NOT EXISTS pennytrace.migrations
(
    number      UInt32,
    name        String,
    applied_at  DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree ORDER BY number;
CREATE TABLE IF NOT EXISTS pennytrace.view_versions
(
    checksum    String,
    applied_at  DateTime64(9, 'UTC') DEFAULT now64(9)
)
ENGINE = MergeTree ORDER BY applied_at;

-- Unit prices, one row a price: what one unit of a meter costs, from when, in which part of the day and above which input.
-- `unit_price` is per single unit (one token, one request), so that cost = quantity * unit_price.
CREATE TABLE pennytrace.prices
(
    catalog       String,                     -- identity of the compiled price list, see `catalogs`
    rate_card     LowCardinality(String),     -- 'openai/gpt-4o': the prices of one model at one provider
    variant       LowCardinality(String),     -- '' standard, else the service tier as served, 'flex'
    valid_from    DateTime('UTC'),            -- inclusive
    valid_to      DateTime('UTC'),            -- inclusive, to the second
    window_from   UInt32,                     -- second of the UTC day from which the price holds
    above         Int64,                      -- holds when the call's total input is more than this; -1 always
    meter         LowCardinality(String),
    unit_price    Decimal(38, 18),
    currency      LowCardinality(String),
    price_key     LowCardinality(String),     -- the source's own name of the price, 'cache_read_mtok'
    source        LowCardinality(String)      -- who says so
)
ENGINE = ReplacingMergeTree
ORDER BY (catalog, rate_card, variant, valid_from, window_from, above, meter);

-- What each (provider, host, models) seen in calls is priced as. An empty rate card has a reason.
CREATE TABLE pennytrace.models
(
    provider        LowCardinality(String),
    host            LowCardinality(String),
    request_model   String,
    response_model  String,
    rate_card       String,
    tiered          UInt8,                    -- 1: the card's service-tier variants apply to this provider
    reason          LowCardinality(String),
    catalog         String,
    resolved_at     DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(resolved_at)
ORDER BY (provider, host, request_model, response_model);

-- Each price list that was ever in force here; the newest is the one in use.
CREATE TABLE pennytrace.catalogs
(
    catalog          String,
    genai_prices     LowCardinality(String),  -- version of the compiled package
    newest_price     DateTime('UTC'),         -- start of its newest price in force: it is at least as young as that
    activated_at     DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(activated_at)
ORDER BY catalog;

INSERT INTO pennytrace.migrations (number, name) VALUES (1, '0001_prices');

-- One row a billed call. Written by the materialized view `price` only; the highest version of a span is the call.
CREATE TABLE pennytrace.calls
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
    meters              Array(Enum8('input' = 1, 'cache_read' = 2, 'cache_write' = 3, 'cache_write_5m' = 12, 'cache_write_1h' = 13, 'input_audio' = 4, 'cache_audio_read' = 5, 'input_image' = 6, 'cache_image_read' = 14, 'output' = 7, 'output_reasoning' = 8, 'output_audio' = 9, 'output_image' = 10, 'requests' = 11))   CODEC(ZSTD(1)),  -- disjoint, so that quantities and costs may be summed
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
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(started_at)
ORDER BY (started_at, trace_id, span_id)
-- The journal forgets a segment once it is loaded, so what was loaded must survive a loss of power as well.
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Work for settle: models seen in a load that no rate card was known for yet.
CREATE TABLE pennytrace.unresolved
(
    provider        LowCardinality(String),
    host            LowCardinality(String),
    request_model   String,
    response_model  String,
    first_at        SimpleAggregateFunction(min, DateTime64(9, 'UTC')),
    last_at         SimpleAggregateFunction(max, DateTime64(9, 'UTC'))
)
ENGINE = AggregatingMergeTree
ORDER BY (provider, host, request_model, response_model);

INSERT INTO pennytrace.migrations (number, name) VALUES (2, '0002_calls');

-- What instrumentation 0.2 says of a call besides its tokens: how it was made, what else it used, what its provider says
-- that it cost. `version` now says which row of a span is the call, so that no order of arrival can change it.
ALTER TABLE pennytrace.calls
    ADD COLUMN IF NOT EXISTS processing LowCardinality(String) AFTER served_tier,       -- 'batch', or '' for at once
    ADD COLUMN IF NOT EXISTS attempts UInt8 DEFAULT 1 AFTER streamed,                   -- requests made for the call
    ADD COLUMN IF NOT EXISTS usage_method LowCardinality(String) AFTER usage_source,    -- how it was estimated
    ADD COLUMN IF NOT EXISTS details Map(LowCardinality(String), Decimal(38, 9)) CODEC(ZSTD(1)) AFTER output_tokens, -- parts of tokens, and what is billed apart from them: see dialects/quantities.csv
    ADD COLUMN IF NOT EXISTS reported_cost Nullable(Decimal(38, 18)) CODEC(ZSTD(1)) AFTER cost, -- USD, the provider's own figure
    ADD COLUMN IF NOT EXISTS batch_key UInt64 CODEC(ZSTD(1)) AFTER response_key,        -- cityHash64(batch); 0 for none
    ADD COLUMN IF NOT EXISTS batch_total UInt8 AFTER batch_key,                         -- 1: the sum of a whole batch
    MODIFY COLUMN duration_us UInt64 CODEC(T64, ZSTD(1)),                               -- jobs take longer than 71 minutes
    MODIFY COLUMN meters Array(Enum8('input' = 1, 'cache_read' = 2, 'cache_write' = 3, 'cache_write_5m' = 12, 'cache_write_1h' = 13, 'input_audio' = 4, 'cache_audio_read' = 5, 'input_image' = 6, 'cache_image_read' = 14, 'output' = 7, 'output_reasoning' = 8, 'output_audio' = 9, 'output_image' = 10, 'requests' = 11)) CODEC(ZSTD(1)),
    MODIFY COLUMN version UInt64
SETTINGS alter_sync = 2, mutations_sync = 2;

-- Rows of store version 2 are numbered 1, 2, 3 ...: in the numbers of views/40_price.sql they were loaded before all
-- others, so that what they were charged at stays, whatever is replayed. A second run finds none of them.
INSERT INTO pennytrace.calls
SELECT
    * EXCEPT version,
    toUInt64(multiIf(usage_fault != '', 0, usage_source = 'measured', 3, usage_source = 'estimated', 2, error_type != '', 1, 0))
        * 1000000000000000000 + toUInt64(stored.version) * 10000000000000 - 1 AS version
FROM pennytrace.calls AS stored FINAL
WHERE stored.version < 1000000000000
SETTINGS max_partitions_per_insert_block = 0;

-- Batches of which single lines are stored: their totals are not charged.
CREATE TABLE IF NOT EXISTS pennytrace.batch_lines
(
    batch_key  UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY batch_key
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Calls that an app could not keep, as it says itself; one row a report.
CREATE TABLE IF NOT EXISTS pennytrace.losses
(
    started_at   DateTime64(9, 'UTC'),
    trace_id     FixedString(16),
    span_id      FixedString(8),
    service      LowCardinality(String),
    environment  LowCardinality(String),
    calls        UInt64,
    reason       LowCardinality(String)
)
ENGINE = ReplacingMergeTree
ORDER BY (span_id, trace_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

INSERT INTO pennytrace.migrations (number, name) VALUES (3, '0003_evidence');

-- The prices in force, folded so that one lookup by (rate card, variant, time) brings all that pricing a call needs:
-- for each window of the day and each band of input size in turn, the unit price of every meter, -1 where there is none.
CREATE OR REPLACE VIEW pennytrace.rate_cards AS
SELECT
    cityHash64(rate_card, variant, valid_from) AS rate_set,
    rate_card,
    variant,
    valid_from,
    valid_to,
    arraySort(groupUniqArray(window_from)) AS windows,
    arraySort(groupUniqArray(above)) AS thresholds,
    groupArray((window_from, above, meter)) AS cells,
    groupArray(unit_price) AS prices,
    arrayFlatten(arrayMap(
        start -> arrayMap(
            band -> arrayMap(
                name -> if(has(cells, (start, band, name)), prices[indexOf(cells, (start, band, name))], toDecimal128(-1, 18)),
                ['input', 'cache_read', 'cache_write', 'cache_write_5m', 'cache_write_1h', 'input_audio', 'cache_audio_read', 'input_image', 'cache_image_read', 'output', 'output_reasoning', 'output_audio', 'output_image', 'requests']),
            thresholds),
        windows)) AS unit_prices,
    any(listed.currency) AS currency,
    any(listed.valid_from) AS price_valid_from,
    any(listed.catalog) AS catalog
FROM (
    SELECT * FROM pennytrace.prices FINAL
    WHERE catalog = (SELECT argMax(catalog, activated_at) FROM pennytrace.catalogs)
) AS listed
GROUP BY rate_card, variant, valid_from, valid_to;

-- Two steps, because a look-up by text and time costs as much again for every attribute that it is asked for.
CREATE OR REPLACE DICTIONARY pennytrace.rate_set_at
(
    rate_card   String,
    variant     String,
    valid_from  DateTime('UTC'),
    valid_to    DateTime('UTC'),
    rate_set    UInt64
)
PRIMARY KEY rate_card, variant
SOURCE(CLICKHOUSE(DB 'pennytrace' TABLE 'rate_cards'))
LAYOUT(COMPLEX_KEY_RANGE_HASHED())
RANGE(MIN valid_from MAX valid_to)
LIFETIME(0);

CREATE OR REPLACE DICTIONARY pennytrace.rate_sets
(
    rate_set          UInt64,
    windows           Array(UInt32),
    thresholds        Array(Int64),
    unit_prices       Array(Decimal(38, 18)),
    currency          String,
    price_valid_from  DateTime('UTC'),
    catalog           String
)
PRIMARY KEY rate_set
SOURCE(CLICKHOUSE(DB 'pennytrace' TABLE 'rate_cards'))
LAYOUT(HASHED())
LIFETIME(0);

CREATE OR REPLACE VIEW pennytrace.resolved_models AS
SELECT provider, host, request_model, response_model, rate_card, tiered, reason
FROM pennytrace.models FINAL;

CREATE OR REPLACE DICTIONARY pennytrace.model_rate_card
(
    provider        String,
    host            String,
    request_model   String,
    response_model  String,
    rate_card       String,
    tiered          UInt8,
    reason          String
)
PRIMARY KEY provider, host, request_model, response_model
SOURCE(CLICKHOUSE(DB 'pennytrace' TABLE 'resolved_models'))
LAYOUT(COMPLEX_KEY_HASHED())
LIFETIME(0);

-- A call before it is priced: what `normalise` makes of a span, and what settle feeds back to have it priced again.
-- A report of lost calls passes through as well, for which `normalise` would otherwise have to be run twice.
CREATE TABLE IF NOT EXISTS pennytrace.usage
(
    started_at DateTime64(9, 'UTC'), trace_id FixedString(16), span_id FixedString(8), parent_span_id FixedString(8),
    response_key UInt64, batch_key UInt64, batch_total UInt8, duration_us UInt64, first_chunk_us UInt32, scope LowCardinality(String),
    operation LowCardinality(String), provider LowCardinality(String), host LowCardinality(String),
    request_model LowCardinality(String), response_model LowCardinality(String),
    requested_tier LowCardinality(String), served_tier LowCardinality(String), processing LowCardinality(String),
    streamed UInt8, attempts UInt8, error_type LowCardinality(String), service LowCardinality(String), environment LowCardinality(String),
    feature LowCardinality(String), feature_source LowCardinality(String), team LowCardinality(String),
    customer LowCardinality(String), user String, session String, tags Map(LowCardinality(String), String),
    usage_source Enum8('missing' = 0, 'measured' = 1, 'estimated' = 2), usage_method LowCardinality(String),
    usage_fault LowCardinality(String), input_tokens Int64, output_tokens Int64,
    details Map(LowCardinality(String), Decimal(38, 9)), reported_cost Nullable(Decimal(38, 18)),
    quantities Array(Int64),   -- one for each token meter, in their order; like the totals, whatever it is if there is a fault
    turn UInt64,  -- see `version` in views/40_price.sql
    lost_calls UInt64, lost_reason LowCardinality(String)
)
ENGINE = Null;

-- Raw OTLP, as ClickHouse's own Protobuf reader reads it; nothing of it is kept but what the view below takes.
CREATE TABLE IF NOT EXISTS pennytrace.otel_traces
(
    resource_spans Array(Tuple(
        resource Tuple(attributes Array(Tuple(key String, value Tuple(string_value String, bool_value Bool, int_value Int64, double_value Float64)))),
        scope_spans Array(Tuple(
            scope Tuple(name String, version String),
            spans Array(Tuple(
                trace_id String, span_id String, parent_span_id String, kind Int32,
                start_time_unix_nano UInt64, end_time_unix_nano UInt64,
                attributes Array(Tuple(key String, value Tuple(string_value String, bool_value Bool, int_value Int64, double_value Float64)))
            ))
        ))
    ))
)
ENGINE = Null;

-- Spans of every dialect to calls: names to fields by the rows of sql/dialects/attributes.csv, totals to disjoint meters.
-- Few layers and few repeated aliases: ClickHouse expands an alias wherever it is used and plans every layer anew at each
-- INSERT, and that may cost more than the rows.
CREATE MATERIALIZED VIEW pennytrace.normalise TO pennytrace.usage AS
WITH
    -- A total that is smaller than its cached part was reported without it: the cached part is added.
    raw_input + if(cache_read + cache_write > raw_input, cache_read + cache_write, 0) AS total_input,
    toInt64(details['cache_write_5m']) AS cache_write_5m,
    toInt64(details['cache_write_1h']) AS cache_write_1h,
    [total_input - cache_read - cache_write - (audio_in - cache_audio) - (image_in - cache_image),
     cache_read - cache_audio - cache_image, cache_write - cache_write_5m - cache_write_1h, cache_write_5m, cache_write_1h,
     audio_in - cache_audio, cache_audio, image_in - cache_image, cache_image,
     raw_output - reasoning - audio_out - image_out, reasoning, audio_out, image_out] AS meter_quantities
SELECT
    started_at, trace_id, span_id, parent_span_id, response_key, batch_key, batch_total, duration_us, first_chunk_us, scope,
    operation, provider, host, request_model, response_model, requested_tier, served_tier, processing, streamed, attempts,
    error_type, service, environment, feature, feature_source, team, customer, user, session, tags,
    transform(
        if(has_usage_source, raw_usage_source, if(has_usage OR notEmpty(details), 'measured', 'missing')),
        ['measured', 'estimated'],
        [CAST('measured' AS Enum8('missing' = 0, 'measured' = 1, 'estimated' = 2)), 'estimated'],
        'missing'
    ) AS usage_source,
    usage_method,
    multiIf(
        least(raw_input, raw_output, cache_read, cache_write, audio_in, audio_out, cache_audio, cache_image, image_in, image_out, reasoning) < 0, 'negative usage',
        greatest(raw_input, raw_output, cache_read, cache_write, audio_in, audio_out, cache_audio, cache_image, image_in, image_out, reasoning) > 1000000000000
            OR arrayExists(quantity -> quantity < 0 OR quantity > 1000000000000, mapValues(details)), 'absurd usage',
        arrayMin(meter_quantities) < 0, 'usage details exceed their total',
        ''
    ) AS usage_fault,
    total_input AS input_tokens,
    raw_output AS output_tokens,
    details,
    reported_cost,
    meter_quantities AS quantities,
    9999999999999 - toUnixTimestamp64Milli(now64(3)) AS turn,
    lost_calls,
    lost_reason
FROM
(
    SELECT
        -- A clock before 2015 or after 2100 is broken: such a call is kept, at the edge.
        fromUnixTimestamp64Nano(toInt64(least(greatest(span.start_time_unix_nano, 1420070400000000000), 4102444800000000000)), 'UTC') AS started_at,
        toFixedString(span.trace_id, 16) AS trace_id,
        toFixedString(span.span_id, 8) AS span_id,
        toFixedString(span.parent_span_id, 8) AS parent_span_id,
        if(span.end_time_unix_nano > span.start_time_unix_nano, intDiv(span.end_time_unix_nano - span.start_time_unix_nano, 1000), 0) AS duration_us,
        toUInt32(least(greatest(ifNotFinite(doubles[indexOf(codes, 15)], 0), 0) * 1e6, 4294967295)) AS first_chunk_us,
        scope,
        strings[indexOf(codes, 1)] AS operation,
        translate(strings[multiIf(indexOf(codes, 2) != 0, indexOf(codes, 2), indexOf(codes, 3))], '\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x5c\x7f', '__________________________________') AS provider,
        translate(strings[indexOf(codes, 7)], '\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x5c\x7f', '__________________________________') AS host,
        translate(strings[indexOf(codes, 4)], '\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x5c\x7f', '__________________________________') AS request_model,
        translate(strings[indexOf(codes, 5)], '\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x5c\x7f', '__________________________________') AS response_model,
        if(empty(strings[indexOf(codes, 6)]), 0, cityHash64(strings[indexOf(codes, 6)])) AS response_key,
        if(empty(strings[indexOf(codes, 34)]), 0, cityHash64(strings[indexOf(codes, 34)])) AS batch_key,
        bools[indexOf(codes, 35)] AS batch_total,
        translate(strings[multiIf(indexOf(codes, 10) != 0, indexOf(codes, 10), indexOf(codes, 11))], '\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x5c\x7f', '__________________________________') AS requested_tier,
        translate(strings[multiIf(indexOf(codes, 8) != 0, indexOf(codes, 8), indexOf(codes, 9))], '\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x5c\x7f', '__________________________________') AS served_tier,
        translate(strings[indexOf(codes, 12)], '\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x5c\x7f', '__________________________________') AS processing,
        bools[indexOf(codes, 14)] AS streamed,
        toUInt8(least(greatest(ints[indexOf(codes, 13)], 1), 255)) AS attempts,
        translate(strings[indexOf(codes, 16)], '\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x5c\x7f', '__________________________________') AS error_type,
        service,
        environment,
        translate(strings[indexOf(codes, 36)], '\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x5c\x7f', '__________________________________') AS feature,
        translate(strings[indexOf(codes, 37)], '\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x5c\x7f', '__________________________________') AS feature_source,
        translate(strings[indexOf(codes, 38)], '\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x5c\x7f', '__________________________________') AS team,
        translate(strings[indexOf(codes, 39)], '\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x5c\x7f', '__________________________________') AS customer,
        translate(strings[multiIf(indexOf(codes, 40) != 0, indexOf(codes, 40), indexOf(codes, 41))], '\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x5c\x7f', '__________________________________') AS user,
        translate(strings[multiIf(indexOf(codes, 42) != 0, indexOf(codes, 42), indexOf(codes, 43))], '\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x5c\x7f', '__________________________________') AS session,
        CAST(mapFromArrays(
            arrayMap(place -> toLowCardinality(substring(names[place], 16)), arrayFilter(place -> startsWith(names[place], 'pennytrace.tag.'), own)),
            arrayMap(place -> strings[place], arrayFilter(place -> startsWith(names[place], 'pennytrace.tag.'), own))
        ) AS Map(LowCardinality(String), String)) AS tags,
        CAST(mapFromArrays(
            arrayMap(place -> toLowCardinality(translate(substring(names[place], 18), '\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x5c\x7f', '__________________________________')), arrayFilter(place -> startsWith(names[place], 'pennytrace.usage.'), own)),
            arrayMap(place -> if(doubles[place] = 0, toDecimal128(ints[place], 9),
                toDecimal128(toString(least(greatest(ifNotFinite(doubles[place], 1e15), -1e15), 1e15)), 9)), arrayFilter(place -> startsWith(names[place], 'pennytrace.usage.'), own))
        ) AS Map(LowCardinality(String), Decimal(38, 9))) AS details,
        toDecimal128OrNull(strings[indexOf(codes, 33)], 18) AS reported_cost,
        translate(strings[indexOf(codes, 32)], '\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x5c\x7f', '__________________________________') AS usage_method,
        toUInt64(greatest(ints[indexOf(codes, 47)], 0)) AS lost_calls,
        translate(strings[indexOf(codes, 48)], '\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x5c\x7f', '__________________________________') AS lost_reason,
        (indexOf(codes, 31) != 0) AS has_usage_source,
        strings[indexOf(codes, 31)] AS raw_usage_source,
        (multiIf(indexOf(codes, 17) != 0, indexOf(codes, 17), indexOf(codes, 18)) != 0) OR (multiIf(indexOf(codes, 19) != 0, indexOf(codes, 19), indexOf(codes, 20)) != 0) AS has_usage,
        ints[multiIf(indexOf(codes, 17) != 0, indexOf(codes, 17), indexOf(codes, 18))] AS raw_input,
        ints[multiIf(indexOf(codes, 19) != 0, indexOf(codes, 19), indexOf(codes, 20))] AS raw_output,
        ints[indexOf(codes, 21)] AS cache_read,
        ints[multiIf(indexOf(codes, 22) != 0, indexOf(codes, 22), indexOf(codes, 23))] AS cache_write,
        ints[indexOf(codes, 25)] AS audio_in,
        ints[indexOf(codes, 26)] AS audio_out,
        ints[indexOf(codes, 27)] AS cache_audio,
        ints[indexOf(codes, 28)] AS cache_image,
        ints[indexOf(codes, 29)] AS image_in,
        ints[indexOf(codes, 30)] AS image_out,
        ints[indexOf(codes, 24)] AS reasoning
    FROM
    (
        SELECT
            service,
            environment,
            scope,
            span,
            span.attributes.key AS names,
            span.attributes.value.string_value AS strings,
            span.attributes.value.int_value AS ints,
            span.attributes.value.double_value AS doubles,
            span.attributes.value.bool_value AS bools,
            arrayMap(name -> transform(name, ['gen_ai.operation.name', 'gen_ai.provider.name', 'gen_ai.system', 'gen_ai.request.model', 'gen_ai.response.model', 'gen_ai.response.id', 'server.address', 'openai.response.service_tier', 'gen_ai.openai.response.service_tier', 'openai.request.service_tier', 'gen_ai.openai.request.service_tier', 'pennytrace.processing', 'pennytrace.attempts', 'gen_ai.request.stream', 'gen_ai.response.time_to_first_chunk', 'error.type', 'gen_ai.usage.input_tokens', 'gen_ai.usage.prompt_tokens', 'gen_ai.usage.output_tokens', 'gen_ai.usage.completion_tokens', 'gen_ai.usage.cache_read.input_tokens', 'gen_ai.usage.cache_write.input_tokens', 'gen_ai.usage.cache_creation.input_tokens', 'gen_ai.usage.reasoning.output_tokens', 'gen_ai.usage.audio.input_tokens', 'gen_ai.usage.audio.output_tokens', 'gen_ai.usage.audio.cache_read.input_tokens', 'gen_ai.usage.image.cache_read.input_tokens', 'gen_ai.usage.image.input_tokens', 'gen_ai.usage.image.output_tokens', 'pennytrace.usage.source', 'pennytrace.usage.method', 'pennytrace.cost.reported', 'pennytrace.batch', 'pennytrace.batch.total', 'pennytrace.feature', 'pennytrace.feature.source', 'pennytrace.team', 'pennytrace.customer', 'user.id', 'user.hash', 'session.id', 'gen_ai.conversation.id', 'service.name', 'deployment.environment.name', 'deployment.environment', 'pennytrace.lost.calls', 'pennytrace.lost.reason'], CAST([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48] AS Array(UInt16)), toUInt16(0)), names) AS codes,
            -- Few spans have names of ours that are not in the table: only those pay for what is done with them.
            arrayFilter((place, name, code) -> code = 0 AND startsWith(name, 'pennytrace.'), arrayEnumerate(names), names, codes) AS own
        FROM
        (
            SELECT service, environment, scope_spans.scope.name AS scope, arrayJoin(scope_spans.spans) AS span
            FROM
            (
                SELECT translate(strings[indexOf(codes, 44)], '\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x5c\x7f', '__________________________________') AS service, translate(strings[multiIf(indexOf(codes, 45) != 0, indexOf(codes, 45), indexOf(codes, 46))], '\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x5c\x7f', '__________________________________') AS environment, arrayJoin(all_scope_spans) AS scope_spans
                FROM
                (
                    SELECT
                        resource_span.scope_spans AS all_scope_spans,
                        resource_span.resource.attributes.value.string_value AS strings,
                        arrayMap(name -> transform(name, ['gen_ai.operation.name', 'gen_ai.provider.name', 'gen_ai.system', 'gen_ai.request.model', 'gen_ai.response.model', 'gen_ai.response.id', 'server.address', 'openai.response.service_tier', 'gen_ai.openai.response.service_tier', 'openai.request.service_tier', 'gen_ai.openai.request.service_tier', 'pennytrace.processing', 'pennytrace.attempts', 'gen_ai.request.stream', 'gen_ai.response.time_to_first_chunk', 'error.type', 'gen_ai.usage.input_tokens', 'gen_ai.usage.prompt_tokens', 'gen_ai.usage.output_tokens', 'gen_ai.usage.completion_tokens', 'gen_ai.usage.cache_read.input_tokens', 'gen_ai.usage.cache_write.input_tokens', 'gen_ai.usage.cache_creation.input_tokens', 'gen_ai.usage.reasoning.output_tokens', 'gen_ai.usage.audio.input_tokens', 'gen_ai.usage.audio.output_tokens', 'gen_ai.usage.audio.cache_read.input_tokens', 'gen_ai.usage.image.cache_read.input_tokens', 'gen_ai.usage.image.input_tokens', 'gen_ai.usage.image.output_tokens', 'pennytrace.usage.source', 'pennytrace.usage.method', 'pennytrace.cost.reported', 'pennytrace.batch', 'pennytrace.batch.total', 'pennytrace.feature', 'pennytrace.feature.source', 'pennytrace.team', 'pennytrace.customer', 'user.id', 'user.hash', 'session.id', 'gen_ai.conversation.id', 'service.name', 'deployment.environment.name', 'deployment.environment', 'pennytrace.lost.calls', 'pennytrace.lost.reason'], CAST([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48] AS Array(UInt16)), toUInt16(0)), resource_span.resource.attributes.key) AS codes
                    FROM (SELECT arrayJoin(resource_spans) AS resource_span FROM pennytrace.otel_traces)
                )
            )
        )
        WHERE span.kind != 2 AND length(span.trace_id) = 16 AND length(span.span_id) = 8
    )
)
WHERE operation IN ('chat', 'text_completion', 'generate_content', 'embeddings', 'image_generation', 'video_generation', 'speech', 'transcription', 'translation', 'moderation', 'rerank', 'ocr', 'fine_tuning', 'realtime', 'decision', 'classification') OR lost_calls > 0;

-- Models that no rate card is known for yet: the work list of settle.
CREATE MATERIALIZED VIEW pennytrace.note_unresolved TO pennytrace.unresolved AS
SELECT provider, host, toString(request_model) AS request_model, toString(response_model) AS response_model,
    min(started_at) AS first_at, max(started_at) AS last_at
FROM pennytrace.usage
WHERE lost_calls = 0 AND NOT dictHas('pennytrace.model_rate_card', (toString(provider), toString(host), toString(request_model), toString(response_model)))
GROUP BY provider, host, request_model, response_model;

-- Batches that have single lines: their totals are left out of the view `spend`.
CREATE MATERIALIZED VIEW pennytrace.note_batch_lines TO pennytrace.batch_lines AS
SELECT DISTINCT batch_key FROM pennytrace.usage WHERE batch_key != 0 AND NOT batch_total;

-- Calls that apps could not keep.
CREATE MATERIALIZED VIEW pennytrace.note_losses TO pennytrace.losses AS
SELECT started_at, trace_id, span_id, service, environment, lost_calls AS calls, lost_reason AS reason
FROM pennytrace.usage
WHERE lost_calls > 0;

-- The one implementation of a price: quantity by meter, times the unit price that was in force at the call's own time.
-- A meter without a price makes a call partly priced, and so does what is billed apart from tokens as long as no meter
-- counts it; a call without a rate card is unpriced, with the reason.
-- All arrays here have one element a meter, so that no lambda carries an array along, which would copy it for each.
CREATE MATERIALIZED VIEW pennytrace.price TO pennytrace.calls AS
SELECT
    started_at, trace_id, span_id, parent_span_id, response_key, batch_key, batch_total, duration_us, first_chunk_us, scope,
    operation, provider, host, request_model, response_model, requested_tier, served_tier, processing, streamed, attempts,
    error_type, service, environment, feature, feature_source, team, customer, user, session, tags,
    usage_source, usage_method, usage_fault,
    toUInt64(if(usage_fault = '', call.input_tokens, 0)) AS input_tokens,
    toUInt64(if(usage_fault = '', call.output_tokens, 0)) AS output_tokens,
    details, reported_cost,
    arrayFilter((meter, quantity) -> quantity > 0, CAST(['input', 'cache_read', 'cache_write', 'cache_write_5m', 'cache_write_1h', 'input_audio', 'cache_audio_read', 'input_image', 'cache_image_read', 'output', 'output_reasoning', 'output_audio', 'output_image', 'requests'] AS Array(Enum8('input' = 1, 'cache_read' = 2, 'cache_write' = 3, 'cache_write_5m' = 12, 'cache_write_1h' = 13, 'input_audio' = 4, 'cache_audio_read' = 5, 'input_image' = 6, 'cache_image_read' = 14, 'output' = 7, 'output_reasoning' = 8, 'output_audio' = 9, 'output_image' = 10, 'requests' = 11))), billed) AS meters,
    arrayFilter(quantity -> quantity > 0, billed) AS quantities,
    arrayMap((quantity, price) -> toDecimal128(quantity, 0) * if(price < 0, toDecimal128(0, 18), price),
        arrayFilter(quantity -> quantity > 0, billed), arrayFilter((price, quantity) -> quantity > 0, unit_prices, billed)) AS costs,
    rates.4 AS currency,
    CAST(multiIf(
        reason IN ('', 'failed before it was billed'), 'priced',
        reason LIKE '% meter %' AND arrayExists((price, quantity) -> price >= 0 AND quantity > 0, unit_prices, billed), 'partly_priced',
        'unpriced'
    ) AS Enum8('unpriced' = 0, 'priced' = 1, 'partly_priced' = 2)) AS status,
    multiIf(
        usage_fault != '', toString(usage_fault),
        failed, 'failed before it was billed',
        usage_source = 'missing', 'usage missing',
        model.1 = '', model.3,
        variant != '' AND (model.2 = 0 OR empty(rates.1)),
            if(mode = '', 'no price for service tier', concat('no price for ', mode, ' processing')),
        empty(rates.1), 'no price for its meters at that date',
        arrayExists((price, quantity) -> price < 0 AND quantity > 0, unit_prices, billed), 'a meter has no price',
        unmetered != '', concat('no meter for ', unmetered),
        ''
    ) AS reason,
    model.1 AS rate_card,
    variant,
    rates.5 AS price_valid_from,
    rates.6 AS catalog,
    -- Which row of a span is the call: the one with the better evidence, then the one that settle has priced again, then
    -- the one that came first, so that a replay under a newer price list does not change what a call was charged at.
    -- One digit for the evidence, five for how often it was priced again, thirteen for how long before 2286 it came, in ms.
    toUInt64(multiIf(usage_fault != '', 0, usage_source = 'measured', 3, usage_source = 'estimated', 2, error_type != '', 1, 0))
        * 1000000000000000000 + turn AS version
FROM
(
    WITH
        -- Which window of the day and which band of input size the call falls into, counted from 0.
        greatest(arrayCount(start -> start <= second_of_day, rates.1), 1) - 1 AS window,
        greatest(arrayCount(above -> above < input_tokens, rates.2), 1) - 1 AS band
    SELECT
        *,
        arraySlice(rates.3, (window * length(rates.2) + band) * 14 + 1, 14) AS unit_prices,
        arrayFirst((name, quantity) -> quantity > 0 AND name NOT IN ('cache_write_5m', 'cache_write_30m', 'cache_write_1h', 'cache_write_12h', 'accepted_prediction', 'rejected_prediction', 'tool_prompt', 'text_input', 'text_output', 'audio_input', 'audio_output', 'image_input', 'image_output', 'video_input', 'video_output', 'document_input'), mapKeys(details), mapValues(details)) AS unmetered,
        arrayPushBack(
            if(usage_fault = '', CAST(quantities AS Array(UInt64)), arrayWithConstant(14 - 1, toUInt64(0))),
            toUInt64(unit_prices[14] >= 0 AND NOT failed)) AS billed
    FROM
    (
        SELECT
            *,
            dictGetOrDefault('pennytrace.rate_sets',
                ('windows', 'thresholds', 'unit_prices', 'currency', 'price_valid_from', 'catalog'),
                dictGetOrDefault('pennytrace.rate_set_at', 'rate_set', (model.1, variant), toDateTime(started_at, 'UTC'), toUInt64(0)),
                (CAST([] AS Array(UInt32)), CAST([] AS Array(Int64)), arrayWithConstant(14, toDecimal128(-1, 18)),
                 '', toDateTime(0, 'UTC'), '')) AS rates
        FROM
        (
            SELECT
                *,
                dictGetOrDefault('pennytrace.model_rate_card', ('rate_card', 'tiered', 'reason'),
                    (toString(provider), toString(host), toString(request_model), toString(response_model)),
                    ('', toUInt8(0), 'unresolved')) AS model,
                -- How a call was submitted and the tier that served it; some providers call the first of them a tier.
                if(served_tier = 'batch', 'batch', toString(processing)) AS mode,
                if(served_tier IN ('', 'default', 'auto', 'standard', 'batch'), '', toString(served_tier)) AS tier,
                concat(mode, if(mode != '' AND tier != '', '+', ''), tier) AS variant,
                -- Refused by the provider, so never generated; after a time-out or a lost connection nobody knows.
                error_type != '' AND usage_source = 'missing' AND NOT match(error_type, '(?i)timeout|connection|cancel') AS failed,
                toUInt32(toUnixTimestamp(toDateTime(started_at, 'UTC')) % 86400) AS second_of_day
            FROM pennytrace.usage
            WHERE lost_calls = 0
        )
    )
) AS call;

-- What reports and dashboards read: each call once, whatever was replayed or priced again, its cost NULL when unknown.
-- The total of a batch is left out as soon as one of its lines is stored, in whichever order they came.
CREATE OR REPLACE VIEW pennytrace.spend AS
SELECT
    started_at,
    lower(hex(trace_id)) AS trace_id,
    lower(hex(span_id)) AS span_id,
    duration_us,
    first_chunk_us,
    scope,
    operation,
    provider,
    host,
    if(response_model != '', response_model, request_model) AS model,
    request_model,
    response_model,
    served_tier,
    processing,
    streamed,
    attempts,
    error_type,
    service,
    environment,
    feature,
    feature_source,
    team,
    customer,
    user,
    session,
    tags,
    usage_source,
    usage_method,
    input_tokens,
    output_tokens,
    details,
    meters,
    quantities,
    costs,
    if(status = 'unpriced', NULL, arraySum(costs)) AS cost,
    reported_cost,
    currency,
    status,
    reason,
    rate_card,
    variant,
    price_valid_from,
    catalog,
    batch_key,
    batch_total
FROM pennytrace.calls FINAL
WHERE batch_total = 0 OR batch_key NOT IN (SELECT batch_key FROM pennytrace.batch_lines);

-- What is stored and not charged, and why.
CREATE OR REPLACE VIEW pennytrace.left_out AS
SELECT
    started_at,
    lower(hex(trace_id)) AS trace_id,
    lower(hex(span_id)) AS span_id,
    operation,
    provider,
    if(response_model != '', response_model, request_model) AS model,
    service,
    environment,
    feature,
    input_tokens,
    output_tokens,
    if(status = 'unpriced', NULL, arraySum(costs)) AS cost,
    currency,
    'the total of a batch whose calls are charged one by one' AS left_out_because,
    batch_key
FROM pennytrace.calls FINAL
WHERE batch_total = 1 AND batch_key IN (SELECT batch_key FROM pennytrace.batch_lines);

INSERT INTO pennytrace.view_versions (checksum) VALUES ('808831a773128f462f616104c4e56d83269fefb05194989f3a9fdd941ba470be');
