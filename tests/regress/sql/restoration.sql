-- After a crash has emptied the tables, a missing peer may only not be restored yet. The coordinators are told when a missing
-- peer is absent: after all of them had the time to come back and to restore.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup

-- A coordinator that has just registered, or whose heartbeats were late, cannot judge the others.
SELECT tailnet.heartbeat_coordinator(:'x', true), tailnet.heartbeat_coordinator(:'y', false);
SELECT pg_temp.told('x');
SELECT count(*) FROM tailnet_private.restoration;

-- A coordinator that came back may still be restoring its sessions.
UPDATE tailnet_private.coordinators SET on_time_since = on_time_since - interval '7 s';
SELECT tailnet.heartbeat_coordinator(:'x', true);
SELECT pg_temp.told('x');
SELECT name, restored FROM tailnet.coordinators ORDER BY name;

-- When all have restored, the restoration ends. Each coordinator is told at its own heartbeat, once a registration. It needs
-- to say only once that it has restored.
SELECT tailnet.heartbeat_coordinator(:'y', true), tailnet.heartbeat_coordinator(:'x', false);
SELECT pg_temp.told('x');
SELECT pg_temp.told('y');
SELECT count(*) FROM tailnet_private.restoration;
SELECT tailnet.heartbeat_coordinator(:'y', false), tailnet.heartbeat_coordinator(:'x', true);
SELECT pg_temp.told('x');
SELECT pg_temp.told('y');
SELECT name, restored FROM tailnet.coordinators ORDER BY name;

-- A later registration is told at its first heartbeat.
SELECT pg_temp.coordinator('x', '00000000-0000-4000-8000-000000000001') AS x \gset
SELECT tailnet.heartbeat_coordinator(:'x', false);
SELECT pg_temp.told('x');

-- After the next crash, a coordinator that sends no heartbeats is expired, and then nobody waits for it.
TRUNCATE tailnet_private.restoration, tailnet_private.coordinators;
SELECT pg_temp.coordinator('x', '00000000-0000-4000-8000-000000000001') AS x,
       pg_temp.coordinator('y', '00000000-0000-4000-8000-000000000002') AS y \gset
UPDATE tailnet_private.coordinators SET on_time_since = on_time_since - interval '7 s',
    heartbeat_at = heartbeat_at - CASE WHEN name = 'x' THEN interval '7 s' ELSE '0 s' END;
SELECT tailnet.heartbeat_coordinator(:'y', NULL) AS expired;
SELECT pg_temp.told('y');
SELECT tailnet.heartbeat_coordinator(:'y', true);
SELECT pg_temp.told('y');
