-- Peers are ready for a handshake.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup
SELECT pg_temp.attach_peers(:'x', ARRAY[:a1, :b1], '{1,2}'), pg_temp.attach_peers(:'y', ARRAY[:c1, :a2], '{3,4}'),
    tailnet.open_tunnels(:'y', ARRAY[:c1], '{3}', ARRAY[:a1]), tailnet.open_tunnels(:'x', ARRAY[:b1], '{2}', ARRAY[:a1]) \g /dev/null
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null

-- The other end of the tunnel is told, whichever end opened it, and whichever coordinator holds it.
SELECT tailnet.ready_for_handshake(:'x', ARRAY[:a1, :a1, :b1], '{1,1,2}', ARRAY[:c1, :b1, :a1]);
SELECT pg_temp.told('x');
SELECT pg_temp.told('y');

-- Without a tunnel the request is refused, and the refusal has the other peer. The other entries are done.
SELECT tailnet.ready_for_handshake(:'x', ARRAY[:a1, :a1, :a1], '{1,1,1}', ARRAY[:a2, :c1, :nobody]);
SELECT pg_temp.told('x');
SELECT pg_temp.told('y');

-- A client may not send it, so its session must end.
SELECT tailnet.ready_for_handshake(:'y', ARRAY[:c1], '{3}', ARRAY[:a1]);
SELECT pg_temp.told('y');

-- A partner without a session is not told. Requests of a session that has ended have no effect.
SELECT tailnet.lose_peers(:'y', ARRAY[:c1], '{3}');
SELECT tailnet.ready_for_handshake(:'x', ARRAY[:a1], '{1}', ARRAY[:c1]);
SELECT tailnet.lose_peers(:'x', ARRAY[:a1], '{1}');
SELECT tailnet.ready_for_handshake(:'x', ARRAY[:a1], '{1}', ARRAY[:b1]);
SELECT pg_temp.told('x');
