-- Spans of every dialect to calls: names to fields by the rows of sql/dialects/attributes.csv, totals to disjoint meters.
-- Few layers and few repeated aliases: ClickHouse expands an alias wherever it is used and plans every layer anew at each
-- INSERT, and that may cost more than the rows.
CREATE MATERIALIZED VIEW $database.normalise TO $database.usage AS
WITH
    -- A total that is smaller than its cached part was reported without it: the cached part is added.
    raw_input + if(cache_read + cache_write > raw_input, cache_read + cache_write, 0) AS total_input,
    [total_input - cache_read - cache_write - (audio_in - cache_audio) - image_in,
     cache_read - cache_audio, cache_write, audio_in - cache_audio, cache_audio, image_in,
     raw_output - reasoning - audio_out - image_out, reasoning, audio_out, image_out] AS meter_quantities
SELECT
    started_at, trace_id, span_id, parent_span_id, response_key, duration_us, first_chunk_us, scope, operation, provider,
    host, request_model, response_model, requested_tier, served_tier, streamed, error_type, service, environment, feature,
    feature_source, team, customer, user, session, tags,
    transform(
        if(has_usage_source, raw_usage_source, if(has_usage, 'measured', 'missing')),
        ['measured', 'estimated'],
        [CAST('measured' AS Enum8('missing' = 0, 'measured' = 1, 'estimated' = 2)), 'estimated'],
        'missing'
    ) AS usage_source,
    multiIf(
        least(raw_input, raw_output, cache_read, cache_write, audio_in, audio_out, cache_audio, image_in, image_out, reasoning) < 0, 'negative usage',
        greatest(raw_input, raw_output, cache_read, cache_write, audio_in, audio_out, cache_audio, image_in, image_out, reasoning) > 1000000000000, 'absurd usage',
        arrayMin(meter_quantities) < 0, 'usage details exceed their total',
        ''
    ) AS usage_fault,
    if(usage_fault = '', toUInt64(total_input), 0) AS input_tokens,
    if(usage_fault = '', toUInt64(raw_output), 0) AS output_tokens,
    arrayMap(quantity -> if(usage_fault = '', toUInt64(quantity), 0), meter_quantities) AS quantities,
    toUInt32(1) AS version
FROM
(
    SELECT
        -- A clock before 2015 or after 2100 is broken: such a call is kept, at the edge.
        fromUnixTimestamp64Nano(toInt64(least(greatest(span.start_time_unix_nano, 1420070400000000000), 4102444800000000000)), 'UTC') AS started_at,
        toFixedString(span.trace_id, 16) AS trace_id,
        toFixedString(span.span_id, 8) AS span_id,
        toFixedString(span.parent_span_id, 8) AS parent_span_id,
        toUInt32(least(if(span.end_time_unix_nano > span.start_time_unix_nano, intDiv(span.end_time_unix_nano - span.start_time_unix_nano, 1000), 0), 4294967295)) AS duration_us,
        toUInt32(least(greatest(ifNotFinite($double_time_to_first_chunk, 0), 0) * 1e6, 4294967295)) AS first_chunk_us,
        scope,
        $string_operation AS operation,
        $name_provider AS provider,
        $name_host AS host,
        $name_request_model AS request_model,
        $name_response_model AS response_model,
        if(empty($string_response_id), 0, cityHash64($string_response_id)) AS response_key,
        $name_requested_tier AS requested_tier,
        $name_served_tier AS served_tier,
        $bool_streamed AS streamed,
        $name_error_type AS error_type,
        service,
        environment,
        $name_feature AS feature,
        $name_feature_source AS feature_source,
        $name_team AS team,
        $name_customer AS customer,
        $name_user AS user,
        $name_session AS session,
        CAST(mapFromArrays(
            arrayMap(name -> toLowCardinality(substring(name, 16)), arrayFilter(name -> startsWith(name, 'pennytrace.tag.'), names)),
            arrayFilter((value, name) -> startsWith(name, 'pennytrace.tag.'), strings, names)
        ) AS Map(LowCardinality(String), String)) AS tags,
        $has_usage_source AS has_usage_source,
        $string_usage_source AS raw_usage_source,
        $has_input_tokens OR $has_output_tokens AS has_usage,
        $int_input_tokens AS raw_input,
        $int_output_tokens AS raw_output,
        $int_cache_read_tokens AS cache_read,
        $int_cache_write_tokens AS cache_write,
        $int_input_audio_tokens AS audio_in,
        $int_output_audio_tokens AS audio_out,
        $int_cache_audio_read_tokens AS cache_audio,
        $int_input_image_tokens AS image_in,
        $int_output_image_tokens AS image_out,
        $int_reasoning_tokens AS reasoning
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
            arrayMap(name -> transform(name, $attribute_names, $attribute_codes, toUInt16(0)), names) AS codes
        FROM
        (
            SELECT service, environment, scope_spans.scope.name AS scope, arrayJoin(scope_spans.spans) AS span
            FROM
            (
                SELECT $name_service AS service, $name_environment AS environment, arrayJoin(all_scope_spans) AS scope_spans
                FROM
                (
                    SELECT
                        resource_span.scope_spans AS all_scope_spans,
                        resource_span.resource.attributes.value.string_value AS strings,
                        arrayMap(name -> transform(name, $attribute_names, $attribute_codes, toUInt16(0)), resource_span.resource.attributes.key) AS codes
                    FROM (SELECT arrayJoin(resource_spans) AS resource_span FROM $database.otel_traces)
                )
            )
        )
        WHERE span.kind != 2 AND length(span.trace_id) = 16 AND length(span.span_id) = 8
    )
)
WHERE operation IN $inference_operations;
