-- The two usual queries of the connection log use an index. Neither reads the whole table.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup
-- 50,000 connections of 100 agents over a year, in the order of time. The log keeps agents that no longer exist, so any id
-- may be an agent.
INSERT INTO tailnet_private.connection_logs (network_id, connection_id, agent_id, agent_name, type, user_agent, connect_time)
SELECT (SELECT id FROM tailnet_private.networks WHERE name = 'n1'), md5('connection ' || n)::uuid,
       md5('agent ' || n * 7919 % 100)::uuid, 'main', 'ssh', 'OpenSSH_9.6p1 Ubuntu-3ubuntu13.5',
       timestamptz '2025-01-01 00:00Z' + n * interval '10 min'
FROM generate_series(1, 50000) n;
SELECT brin_summarize_new_values('tailnet_private.connection_logs_started') > 0 AS summarized;
ANALYZE tailnet_private.connection_logs, tailnet_private.networks;

SET ROLE tailnet_reader;
-- The last 100 connections of an agent
EXPLAIN (COSTS OFF) SELECT * FROM tailnet.connection_logs
WHERE agent_id = md5('agent 7')::uuid ORDER BY started_at DESC LIMIT 100;
-- The connections of a day
EXPLAIN (COSTS OFF) SELECT * FROM tailnet.connection_logs
WHERE started_at >= '2025-06-01 00:00Z' AND started_at < '2025-06-02 00:00Z' ORDER BY started_at;
-- ... and their results are right.
SELECT count(*) FROM tailnet.connection_logs
WHERE started_at >= '2025-06-01 00:00Z' AND started_at < '2025-06-02 00:00Z';
SELECT count(*), max(started_at) - min(started_at) AS span FROM (
    SELECT started_at FROM tailnet.connection_logs
    WHERE agent_id = md5('agent 7')::uuid ORDER BY started_at DESC LIMIT 100) last;
RESET ROLE;

-- Deleting old connections uses an index too.
EXPLAIN (COSTS OFF) DELETE FROM tailnet_private.connection_logs WHERE started_at < '2025-02-01 00:00Z';
SELECT tailnet.drop_connection_logs('2025-02-01 00:00Z') AS dropped;
TRUNCATE tailnet_private.connection_logs;
