-- Spans of every dialect to calls: names to fields and what a dialect counts apart into its totals, by the tables of
-- sql/dialects; totals to disjoint meters.
-- Few layers and few repeated aliases: ClickHouse expands an alias wherever it is used and plans every layer anew at each
-- INSERT, and that may cost more than the rows.
CREATE MATERIALIZED VIEW $database.normalise TO $database.usage AS
WITH
    -- A total that is smaller than its cached part was reported without it: the cached part is added.
    raw_input + if(cache_read + cache_write > raw_input, cache_read + cache_write, 0) AS total_input,
    toInt64(details['cache_write_5m']) + told_cache_write_5m AS cache_write_5m,
    toInt64(details['cache_write_1h']) + told_cache_write_1h AS cache_write_1h,
    toInt64(details['video_input']) AS video_in,
    toInt64(details['video_cache_read']) AS cache_video,
    toInt64(details['video_output']) AS video_out,
    [total_input - cache_read - cache_write - (audio_in - cache_audio) - (image_in - cache_image) - (video_in - cache_video),
     cache_read - cache_audio - cache_image - cache_video, cache_write - cache_write_5m - cache_write_1h, cache_write_5m, cache_write_1h,
     audio_in - cache_audio, cache_audio, image_in - cache_image, cache_image,
     raw_output - reasoning - audio_out - image_out - video_out, reasoning, audio_out, image_out,
     video_in - cache_video, cache_video, video_out] AS meter_quantities
SELECT
    started_at, trace_id, span_id, parent_span_id, response_key, batch_key, batch_total, duration_us, first_chunk_us, scope, dialect,
    operation, provider, host, request_model, response_model, requested_tier, served_tier, processing, streamed, attempts,
    image_size, image_quality, gpu_pool, gpu_model, gpu_source, gpu_count, gpu_method, gpu_confidence, gpu_preemptions,
    error_type, service, environment, feature, feature_source, team, customer, user, session, tags,
    transform(
        if(has_usage_source, raw_usage_source, if(has_counts AND NOT $zero_is_unknown OR raw_input + raw_output > 0 OR notEmpty(details), 'measured', 'missing')),
        ['measured', 'estimated'],
        [CAST('measured' AS Enum8('missing' = 0, 'measured' = 1, 'estimated' = 2)), 'estimated'],
        'missing'
    ) AS usage_source,
    usage_method,
    multiIf(
        least(raw_input, raw_output, cache_read, cache_write, audio_in, audio_out, cache_audio, cache_image, image_in, image_out, reasoning) < 0, 'negative usage',
        greatest(raw_input, raw_output, cache_read, cache_write, audio_in, audio_out, cache_audio, cache_image, image_in, image_out, reasoning) >= 1000000000000
            OR arrayExists(quantity -> quantity < 0 OR quantity >= 1000000000000, mapValues(details)), 'absurd usage',
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
    -- What a dialect counts beside its totals, or tells in a text, comes to where all others have it.
    SELECT
        *,
        if(empty(response_id), 0, cityHash64(response_id)) AS response_key,
        multiIf(told_provider != '', told_provider, provider_system != '', provider_system,
            $maker_is_provider, $provider_by_model, extract(qualified_model, '^[^/]+')) AS provider,
        if(position(told_host, '/') != 0, domain(told_host), told_host) AS host,
        multiIf(stamped_team != '', stamped_team, told_team != '', told_team, team_id) AS team,
        if(told_cache_read != 0, told_cache_read, $text_cache_read) AS cache_read,
        if(told_cache_write != 0, told_cache_write, $text_cache_write) AS cache_write,
        if(told_reasoning != 0, told_reasoning, $text_reasoning) AS reasoning,
        if(told_audio_in != 0, told_audio_in, $text_audio_in) AS audio_in,
        if(told_audio_out != 0, told_audio_out, $text_audio_out) AS audio_out,
        if(anthropic_5m != 0, anthropic_5m, $text_cache_write_5m) AS told_cache_write_5m,
        if(anthropic_1h != 0, anthropic_1h, $text_cache_write_1h) AS told_cache_write_1h,
        multiIf(
            has_uncached, told_uncached + cache_read + cache_write,
            $cache_beside_input, told_input + cache_read + cache_write,
            told_input != 0, told_input,
            $text_input) AS raw_input,
        multiIf(
            $reasoning_beside_output, told_output + reasoning,
            $output_by_total, greatest(told_output, told_total - told_input),
            told_output != 0, told_output,
            $text_output) AS raw_output,
        multiIf(
            notEmpty(cost_string), toDecimal128OrNull(cost_string, 18),
            cost_double != 0, toDecimal128OrNull(toString(cost_double), 18),
            notEmpty(cost_text), toDecimal128OrNull(JSONExtractRaw(cost_text, 'total'), 18),
            NULL) AS reported_cost
    FROM
(
    SELECT
        -- A clock before 2015 or after 2100 is broken: such a call is kept, at the edge.
        fromUnixTimestamp64Nano(toInt64(least(greatest(span.start_time_unix_nano, 1420070400000000000), 4102444800000000000)), 'UTC') AS started_at,
        toFixedString(span.trace_id, 16) AS trace_id,
        toFixedString(span.span_id, 8) AS span_id,
        toFixedString(span.parent_span_id, 8) AS parent_span_id,
        if(span.end_time_unix_nano > span.start_time_unix_nano, intDiv(span.end_time_unix_nano - span.start_time_unix_nano, 1000), 0) AS duration_us,
        toUInt32(least(greatest(ifNotFinite($double_time_to_first_chunk, 0), 0) * 1e6, 4294967295)) AS first_chunk_us,
        scope,
        if(scope_dialect != '', scope_dialect, $dialect_by_attribute) AS dialect,
        transform($string_operation, $operations_as_told, $operations, '') AS operation,
        $name_provider AS told_provider,
        $name_provider_system AS provider_system,
        $name_qualified_model AS qualified_model,
        $name_host AS told_host,
        $name_request_model AS request_model,
        $name_response_model AS response_model,
        -- OpenInference has no attribute for it: it stands in the answer, of which only its hash is kept.
        if(dialect = 'openinference', JSONExtractString($string_answer, 'id'), $string_response_id) AS response_id,
        if(empty($string_batch), 0, cityHash64($string_batch)) AS batch_key,
        $bool_batch_total AS batch_total,
        $name_requested_tier AS requested_tier,
        $name_served_tier AS served_tier,
        $name_processing AS processing,
        $bool_streamed AS streamed,
        toUInt8(least(greatest($int_attempts, 1), 255)) AS attempts,
        $name_image_size AS image_size,
        $name_image_quality AS image_quality,
        $name_gpu_pool AS gpu_pool,
        $name_gpu_model AS gpu_model,
        $name_gpu_source AS gpu_source,
        toUInt16(least(greatest($int_gpu_count, 0), 65535)) AS gpu_count,
        $name_gpu_method AS gpu_method,
        $name_gpu_confidence AS gpu_confidence,
        toUInt32(least(greatest($int_gpu_preemptions, 0), 4294967295)) AS gpu_preemptions,
        $name_error_type AS error_type,
        service,
        environment,
        $name_feature AS feature,
        $name_feature_source AS feature_source,
        stamped_team,
        $name_team AS told_team,
        $name_team_id AS team_id,
        $name_customer AS customer,
        $name_user AS user,
        $name_session AS session,
        CAST(mapFromArrays(
            arrayMap(place -> toLowCardinality($tag_name), arrayFilter(place -> startsWith(names[place], 'pennytrace.tag.'), own)),
            arrayMap(place -> $tag_value, arrayFilter(place -> startsWith(names[place], 'pennytrace.tag.'), own))
        ) AS Map(LowCardinality(String), String)) AS tags,
        CAST(mapFromArrays(
            arrayMap(place -> toLowCardinality($detail_name), arrayFilter(place -> startsWith(names[place], 'pennytrace.usage.'), own)),
            arrayMap(place -> if(doubles[place] = 0, toDecimal128(ints[place], 9),
                toDecimal128(toString(least(greatest(ifNotFinite(doubles[place], 1e15), -1e15), 1e15)), 9)), arrayFilter(place -> startsWith(names[place], 'pennytrace.usage.'), own))
        ) AS Map(LowCardinality(String), Decimal(38, 9))) AS details,
        $string_reported_cost AS cost_string,
        $double_reported_cost AS cost_double,
        $string_cost_text AS cost_text,
        $name_usage_method AS usage_method,
        toUInt64(greatest($int_lost_calls, 0)) AS lost_calls,
        $name_lost_reason AS lost_reason,
        $has_usage_source AS has_usage_source,
        $string_usage_source AS raw_usage_source,
        $has_input_tokens OR $has_output_tokens AS has_counts,
        $int_input_tokens AS told_input,
        $int_output_tokens AS told_output,
        $int_total_tokens AS told_total,
        $has_uncached_tokens AS has_uncached,
        $int_uncached_tokens AS told_uncached,
        $int_cache_read_tokens AS told_cache_read,
        $int_cache_write_tokens AS told_cache_write,
        $int_cache_write_5m_tokens AS anthropic_5m,
        $int_cache_write_1h_tokens AS anthropic_1h,
        $int_input_audio_tokens AS told_audio_in,
        $int_output_audio_tokens AS told_audio_out,
        $int_cache_audio_read_tokens AS cache_audio,
        $int_cache_image_read_tokens AS cache_image,
        $int_input_image_tokens AS image_in,
        $int_output_image_tokens AS image_out,
        $int_reasoning_tokens AS told_reasoning,
        -- JSON, or the Python that means the same: numbers by their names, and those of objects in it.
        if(empty($string_usage_text), CAST([] AS Array(Int64)), arrayMap(json -> arrayMap(
            (flat, nested) -> arrayMap(
                sums -> arrayFirst(sum -> sum != 0, arrayMap(paths -> arraySum(arrayMap(path -> flat[path.1] + nested[path.1][path.2], paths)), sums)),
                $usage_paths),
            [JSONExtract(json, 'Map(String, Int64)')], [JSONExtract(json, 'Map(String, Map(String, Int64))')])[1],
            [replaceAll(replaceAll($string_usage_text, char(39), char(34)), 'None', 'null')])[1]) AS text
    FROM
    (
        SELECT
            service,
            environment,
            stamped_team,
            scope,
            scope_dialect,
            span,
            span.attributes.key AS names,
            span.attributes.value.string_value AS strings,
            span.attributes.value.int_value AS ints,
            span.attributes.value.double_value AS doubles,
            span.attributes.value.bool_value AS bools,
            arrayMap(name -> transform(name, $attribute_names, $attribute_codes, toUInt16(0)), names) AS codes,
            -- Few spans have names of ours that are not in the table: only those pay for what is done with them.
            arrayFilter((place, name, code) -> code = 0 AND startsWith(name, 'pennytrace.'), arrayEnumerate(names), names, codes) AS own
        FROM
        (
            SELECT service, environment, stamped_team, $scope AS scope, $dialect_by_scope AS scope_dialect, arrayJoin(scope_spans.spans) AS span
            FROM
            (
                SELECT
                    $name_service AS service, if(empty(stamp.environment), $name_environment, stamp.environment) AS environment,
                    stamp.team AS stamped_team, arrayJoin(all_scope_spans) AS scope_spans
                FROM
                (
                    SELECT
                        stamp,
                        resource_span.scope_spans AS all_scope_spans,
                        resource_span.resource.attributes.value.string_value AS strings,
                        arrayMap(name -> transform(name, $attribute_names, $attribute_codes, toUInt16(0)), resource_span.resource.attributes.key) AS codes
                    FROM (SELECT arrayJoin(resource_spans) AS resource_span, stamp FROM $database.otel_traces)
                )
            )
        )
        WHERE (span.kind != 2 OR scope_dialect IN $dialects_on_servers) AND length(span.trace_id) = 16 AND length(span.span_id) = 8
    )
)
)
WHERE operation != '' AND NOT ($told_by_another_span AND raw_input + raw_output = 0 AND response_key = 0 AND error_type = ''
    AND (response_model != '' OR operation = 'embeddings')) OR lost_calls > 0;
