-- What operators have taken away is ended in calls of bounded size.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup

-- A call of reap ends at most 500 rows, and closes at most 500 tunnels of peers that are revoked. The next call goes on.
INSERT INTO tailnet_private.identities (id, network_id, role, token_sha256)
SELECT md5(i::text)::uuid, network_id, 'agent', sha256(i::text::bytea)
FROM generate_series(1, 600) i, tailnet_private.identities WHERE id = :b1;
SELECT pg_temp.attach_peers(:'x', ARRAY[:b1, :c1], '{1, 2}'), tailnet.bind_peers(:'x', ARRAY[:b1], '{1}', ARRAY['{"key":"b1"}']) \g /dev/null
INSERT INTO tailnet_private.tunnels (src, dst) SELECT :b1, md5(i::text)::uuid FROM generate_series(1, 600) i;
SELECT tailnet.revoke_peer(:b1);
SELECT pg_temp.told('x') \g /dev/null

-- The session ends first. The peer and its row stay until its last tunnel is closed.
SELECT tailnet.reap(:'y');
SELECT count(*) > 0 AS told
FROM public.dblink('x', 'SELECT 1') AS sync(one int), LATERAL (SELECT FROM public.dblink_get_notify('x') WHERE sync.one = 1) n;
SELECT count(*) FROM tailnet.tunnels;
SELECT name, coordinator, status FROM tailnet.peers WHERE name = 'b1';
SELECT kind FROM tailnet.pending;
SELECT tailnet.reap(:'y');
SELECT count(*) FROM tailnet.tunnels;
SELECT name, coordinator, status FROM tailnet.peers WHERE name = 'b1';
SELECT kind FROM tailnet.pending;
SELECT tailnet.reap(:'y');

-- Between the revocation and the reaping, the session opens no tunnel, and no other peer opens one to it.
SELECT pg_temp.attach_peers(:'y', ARRAY[:a1], '{3}'), tailnet.revoke_peer(:c1);
SELECT pg_temp.told('x') \g /dev/null
SELECT tailnet.open_tunnels(:'x', ARRAY[:c1], '{2}', ARRAY[:a1]);
SELECT pg_temp.told('x');
SELECT tailnet.reap(:'x');
SELECT pg_temp.told('x');

-- Many rows at once, of peers without a session too.
SELECT count(*) FILTER (WHERE tailnet.revoke_peer(md5(i::text)::uuid)) FROM generate_series(1, 600) i;
SELECT tailnet.reap(:'x'), tailnet.reap(:'y') AS rest, tailnet.reap(:'x') AS nothing;

-- What nobody has taken away stays, whatever is pending.
SELECT tailnet.grant_tunnel(:c2, :a1), pg_temp.attach_peers(:'x', ARRAY[:c2], '{4}'),
    tailnet.open_tunnels(:'x', ARRAY[:c2], '{4}', ARRAY[:a1]);
INSERT INTO tailnet_private.pending (kind, peer_id, dst_id) VALUES ('peer', :a1, NULL), ('tunnel', :c2, :a1);
SELECT tailnet.reap(:'x');
SELECT src_name, dst_name FROM tailnet.tunnels;
SELECT name FROM tailnet.peers ORDER BY 1;
