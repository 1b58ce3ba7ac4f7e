-- What processes that hold GPUs say of them, as they say it every few seconds: one row a data point. One that lies in
-- several hours has a row in each, so that what is asked of an hour is read from that hour alone.
CREATE TABLE IF NOT EXISTS $database.gpu_points
(
    metric       LowCardinality(String),
    hour         DateTime('UTC')        CODEC(Delta, ZSTD(1)),   -- that the row belongs to
    gpu          LowCardinality(String),                         -- uuid of the GPU or of its slice; 'cpu:HOST' for a CPU
    instance     LowCardinality(String),                         -- service.instance.id: the process
    time         DateTime64(9, 'UTC')   CODEC(Delta, ZSTD(1)),   -- of the reading; the end of an interval
    start        DateTime64(9, 'UTC')   CODEC(Delta, ZSTD(1)),   -- of an interval; `time` where it is a reading
    value        Float64                CODEC(ZSTD(1)),          -- of an interval: its part in this hour
    gpu_model    LowCardinality(String),
    vendor       LowCardinality(String),
    parent       LowCardinality(String),                         -- uuid of the GPU that a slice is of
    gpu_pool     LowCardinality(String),
    node         LowCardinality(String),                         -- host.name
    service      LowCardinality(String),
    environment  LowCardinality(String)
)
ENGINE = $replacing_merge_tree
PARTITION BY toYYYYMM(hour)
ORDER BY (metric, hour, gpu, instance, time, start)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
