-- Opening and closing tunnels, and who may.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup
SELECT tailnet.attach_peers(:'x', ARRAY[:a1, :c1, :b1], '{1,2,3}'), tailnet.attach_peers(:'y', ARRAY[:a2, :e1], '{4,5}'),
    tailnet.bind_peers(:'x', ARRAY[:b1, :c1], '{3,2}', ARRAY['{"key":"b"}', '{"key":"c"}']),
    tailnet.bind_peers(:'y', ARRAY[:a2], '{4}', ARRAY['{"key":"a2"}']) \g /dev/null
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null

-- Both ends' coordinators are told, each with the other side's binding; one event for all tunnels of a peer.
SELECT tailnet.open_tunnels(:'x', ARRAY[:b1, :b1, :c1], '{3,3,2}', ARRAY[:a2, :c1, :a1]);
SELECT pg_temp.told('x');
SELECT pg_temp.told('y');
-- Again, and twice in a batch: nothing new.
SELECT tailnet.open_tunnels(:'x', ARRAY[:b1, :b1], '{3,3}', ARRAY[:a2, :a2]);
SELECT pg_temp.told('x');
SELECT src_name, dst_name FROM tailnet.tunnels ORDER BY 1, 2;

-- Roles and grants. A peer of another network looks like one that does not exist.
SELECT tailnet.open_tunnels(:'x', ARRAY[:a1, :c1, :c1, :c1, :c1, :b1, :b1], '{1,2,2,2,2,3,3}', ARRAY[:c1, :a2, :b1, :d1, :nobody, :d1, :b1]);
SELECT pg_temp.told('x');
UPDATE tailnet_private.networks SET clients_reach_all_agents = true WHERE name = 'n1';
SELECT tailnet.open_tunnels(:'x', ARRAY[:c1, :c1], '{2,2}', ARRAY[:a2, :d1]);
SELECT pg_temp.told('x');
SELECT pg_temp.told('y') \g /dev/null

-- An agent that never connected may be waited for.
SELECT tailnet.attach_peers(:'y', ARRAY[:c2], '{6}'), tailnet.lose_peers(:'x', ARRAY[:a1], '{1}');
SELECT tailnet.disconnect_peers(:'y', ARRAY[:a2], '{4}');
SELECT tailnet.open_tunnels(:'y', ARRAY[:c2], '{6}', ARRAY[:a2]);
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null

-- Sessions that are not attached open and close nothing.
SELECT tailnet.open_tunnels(:'x', ARRAY[:b1, :nobody, :e1], '{2,3,5}', ARRAY[:c2, :c2, :d1]);
SELECT tailnet.close_tunnels(:'x', ARRAY[:b1, :c2], '{2,6}', ARRAY[:a2, :a2]);

-- Closing: only what the session opened; both ends are told.
SELECT tailnet.close_tunnels(:'x', ARRAY[:b1, :b1, :c1], '{3,3,2}', ARRAY[:a2, :c1, :b1]), tailnet.close_tunnels(:'x', ARRAY[:b1], '{3}', ARRAY[:c1]) AS again;
SELECT pg_temp.told('x');
SELECT pg_temp.told('y');
SELECT src_name, dst_name FROM tailnet.tunnels ORDER BY 1, 2;
