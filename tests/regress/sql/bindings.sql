-- Peers announce nodes.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup
SELECT pg_temp.attach_peers(:'x', ARRAY[:a1, :c1, :b1], '{1,2,3}'), pg_temp.attach_peers(:'y', ARRAY[:a2], '{4}'),
    tailnet.open_tunnels(:'x', ARRAY[:c1, :b1], '{2,3}', ARRAY[:a1, :a2]) \g /dev/null
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null

-- The coordinators of the partners are told each change; other coordinators are not.
SELECT tailnet.bind_peers(:'x', ARRAY[:a1, :b1], '{1,3}', ARRAY['{"key": "a", "x":[1]}', '{"key":"b"}']);
SELECT pg_temp.told('x');
SELECT pg_temp.told('y');
SELECT name, status, node FROM tailnet.peers ORDER BY name;

-- The same node again, with another as_of, order of fields and white space: nothing is written, and nobody is told.
SELECT tailnet.bind_peers(:'x', ARRAY[:a1], '{1}', ARRAY['{"x":[1],"as_of":"2026-01-01T00:00:00Z","key":"a"}']);
SELECT pg_temp.told('x');
SELECT node FROM tailnet.peers WHERE name = 'a1';

-- A batch with two nodes of a session: the last one counts.
SELECT tailnet.bind_peers(:'x', ARRAY[:a1, :a1], '{1,1}', ARRAY['{"key":"first"}', '{"key":"last"}']);
SELECT node FROM tailnet.peers WHERE name = 'a1';
SELECT pg_temp.told('x') \g /dev/null

-- A peer is lost, and comes back with the same node: its partners are told the node again.
SELECT tailnet.lose_peers(:'x', ARRAY[:a1], '{1}');
SELECT pg_temp.attach_peers(:'x', ARRAY[:a1], '{5}'), tailnet.bind_peers(:'x', ARRAY[:a1], '{5}', ARRAY['{"key":"last"}']);
SELECT pg_temp.told('x');

-- A node that is refused: its session is told so, and the other entries of the batch are done.
SELECT tailnet.bind_peers(:'x', ARRAY[:a1, :c1, :b1], '{5,2,3}', ARRAY[
    '{"addresses":["fd7a:115c:a1e0:4000:8000::a2/128"]}', '{"allowed_ips":["10.0.0.1/32"]}', '{"addresses":["10.0.0.0/8"]}']);
SELECT tailnet.bind_peers(:'x', ARRAY[:a1, :c1, :b1], '{5,2,3}', ARRAY['[]', '{"key":1}', '{"Key":"x"}']);
SELECT tailnet.bind_peers(:'x', ARRAY[:a1], '{5}', ARRAY['{"x":' || repeat('[', 10000) || repeat(']', 10000) || '}']);
SELECT tailnet.bind_peers(:'x', ARRAY[:a1], '{5}', ARRAY['{"x":"' || repeat('x', 65536) || '"}']);
SELECT pg_temp.told('x');
SELECT name, node FROM tailnet.peers ORDER BY name;

-- An agent may announce the addresses of its id in both prefixes. Unknown fields are kept as they came.
SELECT tailnet.bind_peers(:'x', ARRAY[:a1], '{5}', ARRAY[
    '{"addresses":["fd7a:115c:a1e0:4000:8000::a1/128"], "allowed_ips":["fd60:627a:a42b:4000:8000::a1/128"], "new":{"b":1.50}}']);
SELECT node FROM tailnet.peers WHERE name = 'a1';

-- Calls for sessions that are not attached here have no effect: another session, an unknown peer, another coordinator.
SELECT tailnet.bind_peers(:'x', ARRAY[:a1, :nobody, :a2], '{6,1,4}', ARRAY['{"key":"no"}', '{"key":"no"}', '{"key":"no"}']);
SELECT name FROM tailnet.peers WHERE node->>'key' = 'no';
SELECT tailnet.bind_peers(:'x', '{}', '{}', '{}');
