-- When agents were connected (behaviours B60, B61, B65 and B66).
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup

-- An agent connects, is heard, disconnects, and connects again. Values that are not known are NULL.
\set x1 '\'00000000-0000-4000-8000-000000000001\'::uuid'
\set y1 '\'00000000-0000-4000-8000-000000000002\'::uuid'
CREATE FUNCTION pg_temp.shown(agent uuid) RETURNS TABLE (first time, last time, gone time, coordinator text) LANGUAGE sql AS $$
    SELECT (first_connected_at AT TIME ZONE 'UTC')::time, (last_connected_at AT TIME ZONE 'UTC')::time,
           (disconnected_at AT TIME ZONE 'UTC')::time, right(coordinator_id::text, 2)
    FROM tailnet.agent_connections WHERE agent_id = agent
$$;
SET ROLE tailnet_writer;
SELECT * FROM tailnet.update_agent_connections(ARRAY[:a1], '{2026-01-01 10:00Z}', '{2026-01-01 10:00Z}', '{NULL}', ARRAY[:x1]);
RESET ROLE;
SELECT * FROM pg_temp.shown(:a1);
SELECT * FROM tailnet.update_agent_connections(ARRAY[:a1], '{NULL}', '{2026-01-01 10:00:15Z}', '{NULL}', ARRAY[:x1]);
SELECT * FROM tailnet.update_agent_connections(ARRAY[:a1], '{NULL}', '{NULL}', '{2026-01-01 10:00:20Z}', '{NULL}');
SELECT * FROM pg_temp.shown(:a1);

-- An older liveness changes nothing, and one that is reported late does not clear the disconnect.
SELECT * FROM tailnet.update_agent_connections(ARRAY[:a1], '{NULL}', '{2026-01-01 10:00:14Z}', '{NULL}', ARRAY[:y1]);
SELECT * FROM tailnet.update_agent_connections(ARRAY[:a1], '{NULL}', '{2026-01-01 10:00:18Z}', '{NULL}', ARRAY[:x1]);
SELECT * FROM pg_temp.shown(:a1);
SELECT * FROM tailnet.update_agent_connections(ARRAY[:a1], '{2026-01-01 10:01Z}', '{2026-01-01 10:01Z}', '{NULL}', ARRAY[:y1]);
SELECT * FROM pg_temp.shown(:a1);

-- One call with several entries of an agent, with a peer that is no agent, and with an unknown peer.
SELECT u FROM tailnet.update_agent_connections(ARRAY[:a2, :a1, :a2, :c1, :nobody],
    '{2026-01-01 11:00Z,NULL,2026-01-01 10:30Z,2026-01-01 11:00Z,2026-01-01 11:00Z}',
    '{2026-01-01 11:00Z,2026-01-01 09:00Z,2026-01-01 10:30Z,2026-01-01 11:00Z,2026-01-01 11:00Z}',
    '{NULL,NULL,2026-01-01 10:40Z,NULL,NULL}', ARRAY[:x1, :x1, :y1, NULL, NULL]) u;
SELECT * FROM pg_temp.shown(:a2);
SELECT count(*) FROM tailnet.agent_connections;
SELECT * FROM tailnet.update_agent_connections('{}', '{}', '{}', '{}', '{}');

-- The status of agents, and the timeouts that decide it. A reader sees the timeouts of each network.
SELECT tailnet.set_agent_timeouts('n1', '2 min', '45 s');
SELECT tailnet.create_peer('n1', 'agent', name) FROM unnest('{a3,a4,a5,a6}'::text[]) name \g /dev/null
UPDATE tailnet_private.identities SET created_at = now() - interval '121 s' WHERE name = 'a3';
SELECT count(*) FROM (
    SELECT tailnet.update_agent_connections(ARRAY[peer_id], ARRAY[last], ARRAY[last], ARRAY[gone], ARRAY[NULL]::uuid[])
    FROM (VALUES ('a4', now() - interval '40 s', now() - interval '50 s'), ('a5', now() - interval '46 s', NULL),
                 ('a6', now(), now())) v(name, last, gone)
    JOIN tailnet.identities USING (name)) u;
SELECT name, status FROM tailnet.agents WHERE network = 'n1' ORDER BY name;
SELECT tailnet.set_agent_timeouts('n1', '1 day', '1 day');
SELECT name, status FROM tailnet.agents WHERE name IN ('a3', 'a5') ORDER BY name;
SET ROLE tailnet_reader;
SELECT name, agent_connect_timeout, agent_inactive_timeout FROM tailnet.networks ORDER BY name;
RESET ROLE;
SELECT tailnet.set_agent_timeouts('nowhere', '1 day', '1 day');
SELECT tailnet.set_agent_timeouts('n1', '0', '1 day');
SELECT tailnet.set_agent_timeouts('n1', '1 day', NULL);

-- Calls that are refused.
SELECT tailnet.update_agent_connections(ARRAY[:a1], '{NULL}', '{NULL}', '{NULL,NULL}', '{NULL}');
SELECT tailnet.update_agent_connections(ARRAY[:a1], '{NULL}', NULL, '{NULL}', '{NULL}');
SELECT tailnet.update_agent_connections(NULL, NULL, NULL, NULL, NULL);
SELECT tailnet.update_agent_connections(ARRAY[:a1], '{NULL}', '{infinity}', '{NULL}', '{NULL}');

-- A database session that made its plans while the table was empty still finds rows by their key when the table has grown.
SELECT count(tailnet.create_peer('n1', 'agent', 'many ' || n)) FROM generate_series(1, 1000) n;
TRUNCATE tailnet_private.agent_connections;
VACUUM (ANALYZE) tailnet_private.agent_connections;
BEGIN;
SELECT count(*) FROM (
    SELECT tailnet.update_agent_connections(ids, times, times, array_fill(NULL::timestamptz, ARRAY[100]), array_fill(NULL::uuid, ARRAY[100]))
    FROM (SELECT array_agg(agent_id) AS ids, array_fill(now(), ARRAY[100]) AS times FROM tailnet.agents
          WHERE name LIKE 'many %' GROUP BY ltrim(name, 'many ')::integer % 10) batch) written;
-- The UPDATE reads each row once. If each call read the whole table, it would be 5,500 rows.
SELECT pg_stat_get_xact_tuples_returned('tailnet_private.agent_connections_pkey'::regclass) < 2000 AS by_key;
ROLLBACK;
