SELECT 1;
SELECT 1 ; -- the end
/* file('x') */ SELECT 1 -- ; DROP TABLE calls
SELECT 'file(1); DROP TABLE calls INTO OUTFILE'
(SELECT 1)
SELECT 1 UNION ALL SELECT 2
WITH 1 AS file_size, x AS (SELECT file_size AS y) SELECT y FROM x
WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x WHERE n < 5) SELECT sum(n) FROM x
SELECT * FROM view(SELECT feature, cost FROM spend)
SELECT arrayMap(toString, [1, 2]), arrayMap((x, y) -> x + y, [1], [2]), arrayFilter(x -> x > 1, [1, 2])
SELECT quantilesTDigest(0.5, 0.9)(id), uniq(id), sumIf(cost, id > 5), argMaxIf(id, cost, 1) FROM calls
SELECT sumMap(map('a', id)), groupArrayArray([id]), maxOrNull(id), countDistinct(id) FROM calls WHERE id < 5
SELECT toStartOfInterval(at, INTERVAL 1 HOUR), dateDiff('day', day, at), formatDateTime(at, '%F') FROM kinds
SELECT * APPLY(toString), * EXCEPT(id) FROM calls LIMIT 1
SELECT id, sum(cost) OVER (ORDER BY id ROWS BETWEEN 6 PRECEDING AND CURRENT ROW) FROM calls LIMIT 3
SELECT a.id FROM calls AS a ANY LEFT JOIN kinds AS b USING (id) WHERE a.id IN (SELECT id FROM kinds) LIMIT 2
SELECT id FROM calls WHERE id IN growing LIMIT 1
SELECT tags['k'], pair.a, costs[1], arraySum(costs), ifNull(maybe, 0) FROM kinds
SELECT feature, sum(cost) FROM calls GROUP BY 1 WITH TOTALS ORDER BY 1 LIMIT 5 SETTINGS max_threads = 1
SELECT number FROM numbers(3) ORDER BY number WITH FILL FROM 0 TO 9 STEP 2
SELECT CASE feature WHEN 'chat' THEN 1 ELSE 2 END FROM calls LIMIT 1
SELECT count() FROM system.tables WHERE database = currentDatabase()
SELECT table_name FROM information_schema.tables WHERE table_schema = 'pennytrace'
SHOW TABLES
SHOW FULL TABLES FROM pennytrace LIKE 'c%'
SHOW COLUMNS FROM calls
SHOW CREATE VIEW spend
SHOW FUNCTIONS
SHOW SETTINGS LIKE 'max_threads'
DESC calls
EXISTS calls
EXPLAIN SELECT * FROM spend
EXPLAIN indexes = 1 SELECT * FROM calls WHERE id = 1
EXPLAIN AST SELECT 1
FROM calls SELECT count()
FROM calls |> WHERE id < 5 |> SELECT id
