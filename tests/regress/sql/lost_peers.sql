-- Peers that stay lost are removed with the tunnels that they opened. Peers that were lost lately and tunnels of live peers
-- stay.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup

SELECT pg_temp.attach_peers(:'x', ARRAY[:a1, :a2, :b1], '{1,2,3}'), pg_temp.attach_peers(:'y', ARRAY[:c1, :e1], '{4,5}'),
    tailnet.bind_peers(:'x', ARRAY[:a1, :b1], '{1,3}', ARRAY['{"key":"a"}', '{"key":"b"}']),
    tailnet.bind_peers(:'y', ARRAY[:c1], '{4}', ARRAY['{"key":"c"}']),
    tailnet.open_tunnels(:'x', ARRAY[:b1, :b1], '{3,3}', ARRAY[:a1, :c1]),
    tailnet.open_tunnels(:'y', ARRAY[:c1], '{4}', ARRAY[:a1]);
SELECT tailnet.lose_peers(:'x', ARRAY[:a1, :a2, :b1], '{1,2,3}');
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null
SELECT name, lost_at IS NOT NULL AS lost FROM tailnet_private.peers JOIN tailnet.identities ON peer_id = id ORDER BY name;

-- All tunnels are old. Two peers were lost more than a day ago, the third one less than a day ago.
UPDATE tailnet_private.tunnels SET created_at = created_at - interval '2 days';
UPDATE tailnet_private.peers SET updated_at = updated_at - interval '2 days';
UPDATE tailnet_private.peers SET lost_at = lost_at - CASE WHEN id = :a1 THEN interval '23 h' ELSE interval '25 h' END;
SELECT tailnet.heartbeat_coordinator(:'y', true) AS not_on_time_for_long_enough;
SELECT count(*) FROM tailnet.peers;
UPDATE tailnet_private.coordinators SET on_time_since = on_time_since - interval '7 s' WHERE name = 'y';
SELECT tailnet.heartbeat_coordinator(:'y', true);
SELECT name, coordinator, status FROM tailnet.peers ORDER BY name;
SELECT src_name, dst_name FROM tailnet.tunnels;
SELECT pg_temp.told('y');

-- A peer that comes back is no longer lost. A peer that stays lost is kept for as long as the operator has set.
SELECT pg_temp.attach_peers(:'x', ARRAY[:b1], '{6}');
SELECT lost_at FROM tailnet_private.peers WHERE id = :b1;
SET tailnet.lost_peer_retention = '2d';
UPDATE tailnet_private.peers SET lost_at = lost_at - interval '2 h';
SELECT tailnet.heartbeat_coordinator(:'y', true);
SELECT count(*) FROM tailnet.peers;
RESET tailnet.lost_peer_retention;
SELECT tailnet.heartbeat_coordinator(:'y', true);
SELECT name FROM tailnet.peers ORDER BY name;
SELECT pg_temp.told('y');
SET tailnet.lost_peer_retention = '1s';
