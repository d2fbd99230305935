-- The batch lookups of tunnel partners.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup
SELECT pg_temp.attach_peers(:'x', ARRAY[:a1, :c1, :b1], '{1,2,3}'),
    tailnet.bind_peers(:'x', ARRAY[:a1, :b1], '{1,3}', ARRAY['{"key":"a1"}', '{"key":"b1"}']),
    tailnet.open_tunnels(:'x', ARRAY[:c1, :b1, :b1, :b1], '{2,3,3,3}', ARRAY[:a1, :a1, :c1, :a2]),
    tailnet.lose_peers(:'x', ARRAY[:b1], '{3}') \g /dev/null

SET ROLE tailnet_reader;
SELECT p.name AS peer, o.name AS tunnel_peer
FROM tailnet.tunnel_peer_ids(ARRAY[:a1, :b1, :b1, :nobody, NULL]) t
JOIN tailnet.identities p ON p.peer_id = t.peer_id JOIN tailnet.identities o ON o.peer_id = t.tunnel_peer_id ORDER BY 1, 2;
SELECT p.name AS peer, o.name AS tunnel_peer, t.status, t.node, t.updated_at IS NOT NULL AS dated
FROM tailnet.tunnel_peer_bindings(ARRAY[:a1, :c1, :a2, :a2]) t
JOIN tailnet.identities p ON p.peer_id = t.peer_id JOIN tailnet.identities o ON o.peer_id = t.tunnel_peer_id ORDER BY 1, 2;
SELECT * FROM tailnet.tunnel_peer_ids('{}');
SELECT * FROM tailnet.tunnel_peer_bindings('{}');
SELECT * FROM tailnet.tunnel_peer_ids(NULL);
SELECT * FROM tailnet.tunnel_peer_bindings(NULL);
RESET ROLE;
