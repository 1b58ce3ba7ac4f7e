-- Spans that tell of a call which another span tells of too: stored, not charged, and why. See settle/repeats.sql.
CREATE TABLE IF NOT EXISTS $database.repeats
(
    started_at           DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    trace_id             FixedString(16)      CODEC(NONE),
    span_id              FixedString(8)       CODEC(NONE),
    counted_at_trace_id  FixedString(16)      CODEC(NONE),   -- the span that the call is charged at
    counted_at_span_id   FixedString(8)       CODEC(NONE),
    reason               LowCardinality(String),
    noted_at             DateTime64(3, 'UTC')
)
ENGINE = $replacing_merge_tree(noted_at)
PARTITION BY toYYYYMM(started_at)
ORDER BY (started_at, trace_id, span_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Up to when all that came has been searched for repeats: the newest row. What an older store holds is left as it is.
CREATE TABLE IF NOT EXISTS $database.repeat_searches
(
    searched_until  DateTime64(3, 'UTC')
)
ENGINE = $replacing_merge_tree(searched_until)
ORDER BY ();
INSERT INTO $database.repeat_searches SELECT now64(3) - INTERVAL 1 SECOND;

-- What came since a moment: the last 13 digits of a version are that of its arrival in milliseconds, counted backwards.
ALTER TABLE $database.calls ADD INDEX IF NOT EXISTS came (version % 10000000000000) TYPE minmax GRANULARITY 1;
