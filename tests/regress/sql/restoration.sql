-- After a crash: until everyone had the time to come back and to restore, absence means nothing.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup

-- Whoever has just registered, or was late, knows nothing of others.
SELECT tailnet.heartbeat_coordinator(:'x', true), tailnet.heartbeat_coordinator(:'y', false);
SELECT pg_temp.told('x');
SELECT count(*) FROM tailnet_private.restoration;

-- Whoever came back may still be restoring.
UPDATE tailnet_private.coordinators SET on_time_since = on_time_since - interval '7 s';
SELECT tailnet.heartbeat_coordinator(:'x', true);
SELECT pg_temp.told('x');
SELECT name, restored FROM tailnet.coordinators ORDER BY name;

-- Then the restoration ends, and each is told with its own beat, once a registration; restored is said once.
SELECT tailnet.heartbeat_coordinator(:'y', true), tailnet.heartbeat_coordinator(:'x', false);
SELECT pg_temp.told('x');
SELECT pg_temp.told('y');
SELECT count(*) FROM tailnet_private.restoration;
SELECT tailnet.heartbeat_coordinator(:'y', false), tailnet.heartbeat_coordinator(:'x', true);
SELECT pg_temp.told('x');
SELECT pg_temp.told('y');
SELECT name, restored FROM tailnet.coordinators ORDER BY name;

-- A later registration finds the tables whole.
SELECT pg_temp.coordinator('x', '00000000-0000-4000-8000-000000000001') AS x \gset
SELECT tailnet.heartbeat_coordinator(:'x', false);
SELECT pg_temp.told('x');

-- After the next crash: who is silent is expired first, and then holds nobody up.
TRUNCATE tailnet_private.restoration, tailnet_private.coordinators;
SELECT pg_temp.coordinator('x', '00000000-0000-4000-8000-000000000001') AS x,
       pg_temp.coordinator('y', '00000000-0000-4000-8000-000000000002') AS y \gset
UPDATE tailnet_private.coordinators SET on_time_since = on_time_since - interval '7 s',
    heartbeat_at = heartbeat_at - CASE WHEN name = 'x' THEN interval '7 s' ELSE '0 s' END;
SELECT tailnet.heartbeat_coordinator(:'y', NULL) AS expired;
SELECT pg_temp.told('y');
SELECT tailnet.heartbeat_coordinator(:'y', true);
SELECT pg_temp.told('y');
