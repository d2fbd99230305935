-- After a crash: until everyone had the time to come back and to restore, absence means nothing.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup

-- The grace runs from the first registration after the tables were emptied.
SELECT tailnet.heartbeat_coordinator(:'x', true);
SELECT pg_temp.told('x');

-- Whoever came back may still be restoring.
UPDATE tailnet_private.restoration SET began_at = began_at - interval '7 s';
SELECT tailnet.heartbeat_coordinator(:'x', true);
SELECT pg_temp.told('x');
SELECT name, restored FROM tailnet.coordinators ORDER BY name;

-- Then each is told with its own beat, once a registration; restored is said once.
SELECT tailnet.heartbeat_coordinator(:'y', true), tailnet.heartbeat_coordinator(:'x', false);
SELECT pg_temp.told('x');
SELECT pg_temp.told('y');
SELECT tailnet.heartbeat_coordinator(:'y', false), tailnet.heartbeat_coordinator(:'x', true);
SELECT pg_temp.told('x');
SELECT pg_temp.told('y');
SELECT name, restored FROM tailnet.coordinators ORDER BY name;

-- A new registration starts over; one that is silent holds nobody up.
SELECT pg_temp.coordinator('x', '00000000-0000-4000-8000-000000000001') AS x2,
       pg_temp.coordinator('y', '00000000-0000-4000-8000-000000000002') AS y2 \gset
UPDATE tailnet_private.coordinators SET heartbeat_at = heartbeat_at - interval '7 s' WHERE name = 'x';
SELECT tailnet.heartbeat_coordinator(:'y2', NULL);
SELECT pg_temp.told('y');
SELECT tailnet.heartbeat_coordinator(:'y2', true);
SELECT pg_temp.told('y');
