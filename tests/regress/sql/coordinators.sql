-- Coordinators register, send heartbeats, are expired, and close.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup

SELECT name, peers, heartbeat_at = registered_at AS fresh FROM tailnet.coordinators ORDER BY name;
SELECT tailnet.register_coordinator(NULL, 'x', 1);
SELECT tailnet.register_coordinator('00000000-0000-4000-8000-000000000001', NULL, 1);
SELECT tailnet.register_coordinator('00000000-0000-4000-8000-000000000001', 'x', NULL);
SELECT tailnet.register_coordinator('00000000-0000-4000-8000-000000000001', 'x', 0);
SELECT tailnet.register_coordinator('00000000-0000-4000-8000-000000000001', 'x', 1000);

-- A new registration ends the earlier one. The peers stay.
SELECT pg_temp.attach_peers(:'x', ARRAY[:a1, :c1], '{1,2}'), tailnet.bind_peers(:'x', ARRAY[:a1], '{1}', ARRAY['{"key":"k"}']);
SELECT pg_temp.coordinator('x', '00000000-0000-4000-8000-000000000001') AS x2 \gset
SELECT tailnet.heartbeat_coordinator(:'x', true);
SELECT tailnet.heartbeat_coordinator(:'x2', true);
SELECT tailnet.bind_peers(:'x', ARRAY[:a1], '{1}', ARRAY['{"key":"old"}']);
SELECT name, coordinator, status, node FROM tailnet.peers ORDER BY name;
SELECT tailnet.heartbeat_coordinator(NULL, true);
SELECT tailnet.heartbeat_coordinator(:nobody, true);

-- A coordinator that sends heartbeats is not expired. A coordinator whose own heartbeats were late expires nobody.
SELECT tailnet.open_tunnels(:'x2', ARRAY[:c1], '{2}', ARRAY[:a1]), pg_temp.attach_peers(:'y', ARRAY[:b1], '{3}'),
    tailnet.open_tunnels(:'y', ARRAY[:b1], '{3}', ARRAY[:a1]);
SELECT tailnet.heartbeat_coordinator(:'y', true);
UPDATE tailnet_private.coordinators SET heartbeat_at = heartbeat_at - interval '10 s', on_time_since = on_time_since - interval '20 s';
SELECT tailnet.heartbeat_coordinator(:'y', true) AS late_itself;
SELECT tailnet.heartbeat_coordinator(:'y', true) AS on_time_too_short;
SELECT pg_temp.told('y') \g /dev/null

-- A coordinator that was on time expires the one that sent no heartbeat, once. The peers of the expired one are lost, and
-- its calls are refused.
UPDATE tailnet_private.coordinators SET on_time_since = on_time_since - interval '7 s' WHERE name = 'y';
SELECT tailnet.heartbeat_coordinator(:'y', true) AS expired, tailnet.heartbeat_coordinator(:'y', true) AS again;
SELECT pg_temp.told('y');
SELECT name, coordinator, status FROM tailnet.peers ORDER BY name;
SELECT name FROM tailnet.coordinators;
SELECT tailnet.lose_peers(:'x2', ARRAY[:a1], '{1}');

-- The expired coordinator registers again under the same id, and restores its peer.
SELECT pg_temp.coordinator('x', '00000000-0000-4000-8000-000000000001') AS x3 \gset
SELECT pg_temp.restore_peers(:'x3', ARRAY[:a1], '{1}', ARRAY['{"key":"k"}'], '{}', '{}');
SELECT pg_temp.told('y');
SELECT name, coordinator, status FROM tailnet.peers WHERE name = 'a1';

-- A coordinator closes: all its peers are lost in one call.
SELECT tailnet.close_coordinator(:'x3');
SELECT pg_temp.told('y');
SELECT name FROM tailnet.coordinators;
SELECT tailnet.close_coordinator(:'x3');
SELECT tailnet.close_coordinator(NULL);
