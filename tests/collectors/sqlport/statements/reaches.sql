SELECT file('{secret}')
SELECT FILE('{secret}')
SELECT `file`('{secret}')
SELECT "file"('{secret}')
SELECT file /* x */ ('{secret}')
SELECT arrayMap(file, ['{secret}'])
SELECT arrayMap(`file`, ['{secret}'])
SELECT arrayMap(FILE, ['{secret}'])
SELECT arrayMap({{f:Identifier}}, ['{secret}'])
SELECT arrayMap(x -> file(x), ['{secret}'])
SELECT arrayFold((a, x) -> file(x), ['{secret}'], '')
SELECT * APPLY(file) FROM (SELECT '{secret}' AS x)
SELECT * APPLY file FROM (SELECT '{secret}' AS x)
SELECT * APPLY(x -> file(x)) FROM (SELECT '{secret}' AS x)
SELECT COLUMNS('x') APPLY(file) FROM (SELECT '{secret}' AS x)
SELECT * REPLACE(file('{secret}') AS x) FROM (SELECT 1 AS x)
SELECT file({{path:String}})
WITH file('{secret}') AS x SELECT x
WITH x AS (SELECT file('{secret}') AS y) SELECT y FROM x
WITH file AS f SELECT arrayMap(f, ['{secret}'])
WITH RECURSIVE x AS (SELECT file('{secret}') AS y UNION ALL SELECT y FROM x WHERE 0) SELECT y FROM x
SELECT 1 UNION ALL SELECT length(file('{secret}'))
SELECT 1 FROM calls WHERE file('{secret}') != '' LIMIT 1
SELECT 1 FROM calls PREWHERE file('{secret}') != '' LIMIT 1
SELECT 1 FROM calls GROUP BY file('{secret}')
SELECT 1 FROM calls ORDER BY file('{secret}') LIMIT 1
SELECT 1 FROM calls LIMIT 1 BY file('{secret}')
SELECT 1 FROM calls LIMIT length(file('{secret}'))
SELECT 1 FROM calls HAVING file('{secret}') != ''
SELECT 1 FROM calls QUALIFY file('{secret}') != ''
SELECT sum(1) OVER (PARTITION BY file('{secret}'))
SELECT sum(1) OVER w FROM calls WINDOW w AS (ORDER BY file('{secret}'))
SELECT id FROM calls ORDER BY id WITH FILL TO length(file('{secret}')) LIMIT 1
SELECT id, 1 AS b FROM calls ORDER BY id WITH FILL INTERPOLATE (b AS length(file('{secret}'))) LIMIT 1
SELECT 1 FROM calls AS a JOIN calls AS b ON a.id = b.id AND file('{secret}') != '' LIMIT 1
SELECT x FROM calls ARRAY JOIN [file('{secret}')] AS x LIMIT 1
SELECT sumIf(1, file('{secret}') != '')
SELECT count() FILTER (WHERE file('{secret}') != '')
SELECT quantile(length(file('{secret}')))(1)
SELECT CASE WHEN file('{secret}') != '' THEN 1 END
SELECT transform(1, [1], [file('{secret}')])
SELECT (SELECT (SELECT (SELECT file('{secret}'))))
SELECT EXISTS(SELECT file('{secret}'))
SELECT 1 IN (SELECT length(file('{secret}')))
SELECT * FROM view(SELECT file('{secret}'))
SELECT * FROM values('x String', file('{secret}'))
SELECT * FROM numbers(length(file('{secret}')))
SELECT * FROM generateSeries(1, length(file('{secret}')))
SELECT count() FROM calls SETTINGS additional_table_filters = {{'calls': 'file(\'{secret}\') != \'\''}}
SELECT (SELECT 1 FROM calls SETTINGS additional_table_filters = {{'calls': 'id = file(\'{secret}\')'}})
SELECT 1 FROM calls SETTINGS additional_table_filters = {{'calls': 'id IN (SELECT 1 FROM private.notes)'}}
SELECT 1 SETTINGS additional_result_filter = 'file(\'{secret}\') != \'\''
EXPLAIN SELECT file('{secret}')
EXPLAIN SYNTAX SELECT file('{secret}')
EXPLAIN QUERY TREE SELECT file('{secret}')
EXPLAIN PIPELINE SELECT file('{secret}')
EXPLAIN TABLE OVERRIDE mysql('127.0.0.1', 'a', 'b', 'c', 'd') PARTITION BY 1
EXPLAIN CURRENT TRANSACTION
SELECT * FROM (EXPLAIN SELECT file('{secret}'))
SELECT * FROM viewExplain('EXPLAIN', '', (SELECT file('{secret}')))
SHOW TABLES WHERE name = file('{secret}')
SHOW COLUMNS FROM calls WHERE field = file('{secret}')
SHOW INDEXES FROM calls WHERE key_name = file('{secret}')
file('{secret}')
FROM calls |> WHERE file('{secret}') != '' |> SELECT id
SELECT * FROM file('{secret}')
SELECT * FROM file('{secret}', 'LineAsString')
SELECT * FROM FILE('{secret}', 'LineAsString', 'x String')
SELECT * FROM `file`('{secret}', 'LineAsString')
SELECT * FROM {{f:Identifier}}('{secret}', 'LineAsString')
SELECT * FROM fileCluster('default', '{secret}')
SELECT * FROM '{secret}'
SELECT * FROM `{secret}`
SELECT * FROM default.`{secret}`
SELECT * FROM `default`."{secret}"
SELECT * FROM default.{{t:Identifier}}
SELECT * FROM {{d:Identifier}}.{{t:Identifier}}
SELECT * FROM {{dotted:Identifier}}
SELECT 'x' IN default.`{secret}`
SELECT 'x' IN `{secret}`
SELECT 'x' IN file('{secret}')
SELECT 'x' IN (SELECT * FROM default.`{secret}`)
SELECT 'x' NOT IN private.notes
SELECT 'x' GLOBAL IN private.notes
SELECT * FROM filesystem('{secret}')
SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 'x String')
SELECT * FROM url('file://{secret}', 'LineAsString', 'x String')
SELECT * FROM urlCluster('default', 'file://{secret}')
SELECT * FROM s3('http://127.0.0.1:1/a', 'CSV')
SELECT * FROM gcs('http://127.0.0.1:1/a', 'CSV')
SELECT * FROM azureBlobStorage('http://127.0.0.1:1/a')
SELECT * FROM hdfs('hdfs://127.0.0.1:1/a', 'CSV')
SELECT * FROM iceberg('http://127.0.0.1:1/a')
SELECT * FROM icebergLocal('{secret}')
SELECT * FROM deltaLakeLocal('{secret}')
SELECT * FROM paimonLocal('{secret}')
SELECT * FROM executable('id', 'TSV', 'x String')
SELECT * FROM remote('127.0.0.1:1', system.one)
SELECT * FROM remote('127.0.0.1', private, notes)
SELECT * FROM remoteSecure('127.0.0.1:1', system.one)
SELECT * FROM cluster('default', system.one)
SELECT * FROM clusterAllReplicas('default', private.notes)
SELECT * FROM merge('private', '.*')
SELECT * FROM merge('.*', 'notes')
SELECT * FROM loop(private.notes) LIMIT 1
SELECT * FROM loop('private', 'notes') LIMIT 1
SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')
SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')
SELECT * FROM mongodb('127.0.0.1:1', 'a', 'b', 'c', 'd', 'x String')
SELECT * FROM redis('127.0.0.1:1', 'k', 'k String, v String')
SELECT * FROM sqlite('{secret}', 'x')
SELECT * FROM odbc('DSN=x', 'a', 'b')
SELECT * FROM jdbc('x', 'a', 'b')
SELECT * FROM input('x String')
SELECT * FROM python('os')
SELECT * FROM Python(os)
SELECT * FROM eval('SELECT note FROM private.notes') SETTINGS allow_experimental_eval_table_function = 1
SELECT * FROM dictionary('private.notes')
SELECT * FROM mergeTreeIndex('private', 'notes')
SELECT * FROM mergeTreeProjection('private', 'notes', 'x')
SELECT * FROM fuzzQuery('SELECT 1')
SELECT * FROM viewIfPermitted(SELECT 1 ELSE null('x UInt8'))
SELECT joinGet('private.notes', 'note', 1)
SELECT hasColumnInTable('private', 'notes', 'note')
SELECT getServerSetting('path')
SELECT getMacro('x')
SELECT serverUUID()
SELECT sleep(3)
SELECT sleepEachRow(1) FROM numbers(3)
SELECT addressToLine(1)
SELECT filesystemAvailable()
SELECT showCertificate()
SELECT evalMLMethod(1, 2)
SELECT regionToName(1)
SELECT aiGenerate('x')
SELECT AIGenerate('x')
SELECT formatRow('Template', 1)
SELECT formatQueryFromJSON('x')
SELECT * FROM private.notes
SELECT * FROM `private`.`notes`
SELECT * FROM "private"."notes"
SELECT * FROM private . notes
SELECT p.note FROM private.notes AS p
SELECT * FROM calls, private.notes
SELECT * FROM calls JOIN private.notes ON 1
SELECT (SELECT note FROM private.notes)
WITH x AS (SELECT * FROM private.notes) SELECT * FROM x
SELECT * FROM calls UNION ALL SELECT * FROM private.notes
SELECT * FROM view(SELECT * FROM private.notes)
DESCRIBE TABLE private.notes
DESCRIBE private.notes
DESCRIBE TABLE file('{secret}', 'LineAsString')
DESCRIBE TABLE `{secret}`
DESCRIBE TABLE default.`{secret}`
DESCRIBE (SELECT * FROM private.notes)
EXISTS TABLE private.notes
EXISTS DATABASE private
SHOW CREATE TABLE private.notes
SHOW CREATE DATABASE private
SHOW TABLES FROM private
SHOW COLUMNS FROM notes FROM private
SHOW INDEXES FROM notes FROM private
SHOW CREATE USER default
SHOW GRANTS
SHOW ACCESS
SHOW USERS
SHOW PROCESSLIST
SHOW CLUSTERS
SHOW FILESYSTEM CACHES
SHOW MERGES
SHOW PRIVILEGES
SELECT * FROM system.processes
SELECT * FROM SYSTEM.processes
SELECT * FROM system.`processes`
SELECT * FROM system.query_log
SELECT * FROM system.users
SELECT * FROM system.named_collections
SELECT * FROM system.parts
SELECT * FROM system.server_settings
SELECT * FROM system.grants
SELECT * FROM system.stack_trace
SELECT * FROM system.disks
SELECT * FROM system.user_directories
SELECT * FROM system.user_query_log
SELECT * FROM system.schema_inference_cache
SELECT dummy IN system.processes FROM system.one
WITH system.processes AS p SELECT 1 IN p
SELECT * FROM calls STREAM
SELECT * FROM calls FORMAT Template SETTINGS format_template_row = '{secret}'
SELECT 1 FORMAT Template SETTINGS format_template_resultset = '{secret}'
SELECT 1 AS x FORMAT CapnProto SETTINGS format_schema = '{secret}:x'
SELECT 1 FORMAT MySQLWire
SELECT 1 SETTINGS readonly = 0
SELECT 1 SETTINGS allow_ddl = 1, readonly = 2
SELECT 1 SETTINGS max_memory_usage = 0
SELECT 1 SETTINGS param_path = '{secret}'
SELECT 1 SETTINGS max_threads = DEFAULT
SELECT 1 SETTINGS dialect = 'kusto'
SELECT 1 SETTINGS use_query_cache = 1
SELECT * FROM (SELECT 1 SETTINGS max_memory_usage = 0)
