-- A call before it is priced: what `normalise` makes of a span, and what settle feeds back to have it priced again.
-- A report of lost calls passes through as well, for which `normalise` would otherwise have to be run twice.
CREATE TABLE IF NOT EXISTS $database.usage
(
    started_at DateTime64(9, 'UTC'), trace_id FixedString(16), span_id FixedString(8), parent_span_id FixedString(8),
    response_key UInt64, batch_key UInt64, batch_total UInt8, duration_us UInt64, first_chunk_us UInt32, scope LowCardinality(String),
    dialect LowCardinality(String),
    operation LowCardinality(String), provider LowCardinality(String), host LowCardinality(String),
    request_model LowCardinality(String), response_model LowCardinality(String),
    requested_tier LowCardinality(String), served_tier LowCardinality(String), processing LowCardinality(String),
    streamed UInt8, attempts UInt8, image_size LowCardinality(String), image_quality LowCardinality(String),
    gpu_pool LowCardinality(String), gpu_model LowCardinality(String), gpu_source LowCardinality(String), gpu_count UInt16,
    gpu_method LowCardinality(String), gpu_confidence LowCardinality(String), gpu_preemptions UInt32,
    left_out LowCardinality(String),
    error_type LowCardinality(String), service LowCardinality(String), environment LowCardinality(String),
    feature LowCardinality(String), feature_source LowCardinality(String), team LowCardinality(String),
    customer LowCardinality(String), user String, session String, tags Map(LowCardinality(String), String),
    usage_source Enum8('missing' = 0, 'measured' = 1, 'estimated' = 2), usage_method LowCardinality(String),
    usage_fault LowCardinality(String), input_tokens Int64, output_tokens Int64,
    details Map(LowCardinality(String), Decimal(38, 9)), reported_cost Nullable(Decimal(38, 18)),
    quantities Array(Int64),   -- one for each token meter, in their order; like the totals, whatever it is if there is a fault
    turn UInt64,  -- see `version` in price/priced.sql
    lost_calls UInt64, lost_reason LowCardinality(String)
)
ENGINE = Null;

-- Raw OTLP, as ClickHouse's own Protobuf reader reads it; nothing of it is kept but what the view below takes.
CREATE TABLE IF NOT EXISTS $database.otel_traces
(
    resource_spans Array(Tuple(
        resource Tuple(attributes $key_values),
        scope_spans Array(Tuple(
            scope Tuple(name String, version String),
            spans Array(Tuple(
                trace_id String, span_id String, parent_span_id String, kind Int32,
                start_time_unix_nano UInt64, end_time_unix_nano UInt64,
                attributes $key_values
            ))
        ))
    )),
    stamp Tuple(team String, environment String)  -- of the sender's token: goes before what the spans say; '' does not
)
ENGINE = Null;

-- The same of metrics, in a table of its own: a load without metrics, which is nearly every one, does not pay for their view.
CREATE TABLE IF NOT EXISTS $database.otel_metrics
(
    metrics Tuple(
        resource_metrics Array(Tuple(
            resource Tuple(attributes $key_values),
            scope_metrics Array(Tuple(
                metrics Array(Tuple(
                    name String,
                    gauge Tuple(data_points Array(Tuple(
                        start_time_unix_nano UInt64, time_unix_nano UInt64, as_double Float64, as_int Int64,
                        attributes $key_values
                    ))),
                    sum Tuple(data_points Array(Tuple(
                        start_time_unix_nano UInt64, time_unix_nano UInt64, as_double Float64, as_int Int64,
                        attributes $key_values
                    )))
                ))
            ))
        ))
    ),
    stamp Tuple(team String, environment String)
)
ENGINE = Null;
