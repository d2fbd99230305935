-- Tunnels are opened and closed, and who may do that.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup
SELECT pg_temp.attach_peers(:'x', ARRAY[:a1, :c1, :b1], '{1,2,3}'), pg_temp.attach_peers(:'y', ARRAY[:a2, :e1], '{4,5}'),
    tailnet.bind_peers(:'x', ARRAY[:b1, :c1], '{3,2}', ARRAY['{"key":"b"}', '{"key":"c"}']),
    tailnet.bind_peers(:'y', ARRAY[:a2], '{4}', ARRAY['{"key":"a2"}']) \g /dev/null
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null

-- The coordinators of both ends are told, each with the binding of the other end. All tunnels of a peer are one event.
SELECT tailnet.open_tunnels(:'x', ARRAY[:b1, :b1, :c1], '{3,3,2}', ARRAY[:a2, :c1, :a1]);
SELECT pg_temp.told('x');
SELECT pg_temp.told('y');
-- The same tunnels again, and the same tunnel twice in a batch: nothing changes.
SELECT tailnet.open_tunnels(:'x', ARRAY[:b1, :b1], '{3,3}', ARRAY[:a2, :a2]);
SELECT pg_temp.told('x');
SELECT src_name, dst_name FROM tailnet.tunnels ORDER BY 1, 2;

-- Roles and grants decide which tunnels are allowed. A peer of another network is treated like one that does not exist.
SELECT tailnet.open_tunnels(:'x', ARRAY[:a1, :c1, :c1, :c1, :c1, :b1, :b1], '{1,2,2,2,2,3,3}', ARRAY[:c1, :a2, :b1, :d1, :nobody, :d1, :b1]);
SELECT pg_temp.told('x');
UPDATE tailnet_private.networks SET clients_reach_all_agents = true WHERE name = 'n1';
SELECT tailnet.open_tunnels(:'x', ARRAY[:c1, :c1], '{2,2}', ARRAY[:a2, :d1]);
SELECT pg_temp.told('x');
SELECT pg_temp.told('y') \g /dev/null

-- A tunnel may lead to an agent that is not connected; it waits for the agent.
SELECT pg_temp.attach_peers(:'y', ARRAY[:c2], '{6}'), tailnet.lose_peers(:'x', ARRAY[:a1], '{1}');
SELECT pg_temp.disconnect_peers(:'y', ARRAY[:a2], '{4}');
SELECT tailnet.open_tunnels(:'y', ARRAY[:c2], '{6}', ARRAY[:a2]);
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null

-- Calls for sessions that are not attached open and close nothing.
SELECT tailnet.open_tunnels(:'x', ARRAY[:b1, :nobody, :e1], '{2,3,5}', ARRAY[:c2, :c2, :d1]);
SELECT tailnet.close_tunnels(:'x', ARRAY[:b1, :c2], '{2,6}', ARRAY[:a2, :a2]);

-- A session closes only the tunnels that its peer opened. Both ends are told.
SELECT tailnet.close_tunnels(:'x', ARRAY[:b1, :b1, :c1], '{3,3,2}', ARRAY[:a2, :c1, :b1]), tailnet.close_tunnels(:'x', ARRAY[:b1], '{3}', ARRAY[:c1]) AS again;
SELECT pg_temp.told('x');
SELECT pg_temp.told('y');
SELECT src_name, dst_name FROM tailnet.tunnels ORDER BY 1, 2;
