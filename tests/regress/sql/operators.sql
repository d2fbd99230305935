-- The functions of operators, and which calls they refuse.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup

-- Networks
SELECT tailnet.create_network('n3') IS NOT NULL AS made;
SELECT tailnet.create_network('n3');
SELECT tailnet.create_network('');
SELECT tailnet.create_network(NULL);

-- Peers. The token is shown once, and only its hash is stored.
SELECT peer_id = '00000000-0000-4000-8000-000000000011' AS same_id, token ~ '^tnk_[A-Za-z0-9_-]{47}$' AS well_formed, token
FROM tailnet.create_peer('n3', 'agent', 'made', '00000000-0000-4000-8000-000000000011') \gset
SELECT :'same_id' AS same_id, :'well_formed' AS well_formed;
SELECT role, name, token_sha256 = sha256(convert_to(:'token', 'UTF8')) AS hashed
FROM tailnet_private.identities WHERE id = '00000000-0000-4000-8000-000000000011';
SELECT count(DISTINCT p.token) FROM generate_series(1, 50) g, LATERAL tailnet.create_peer('n3', 'client', 'c' || g) p;
SELECT tailnet.create_peer('nowhere', 'agent');
SELECT tailnet.create_peer(NULL, 'agent');
SELECT tailnet.create_peer('n3', 'router');
SELECT tailnet.create_peer('n3', NULL);
SELECT tailnet.create_peer('n3', 'agent', '');
SELECT tailnet.create_peer('n3', 'agent', 'x', NULL);
SELECT tailnet.create_peer('n3', 'agent', 'x', '00000000-0000-0000-0000-000000000000');
SELECT tailnet.create_peer('n3', 'agent', 'x', '00000000-0000-4000-8000-000000000011');
SELECT right(:'token', 4) = translate(encode(substr(sha256(convert_to(left(:'token', -4), 'UTF8')), 1, 3), 'base64'), '+/', '-_') AS checksum;

-- A token that the peer has already
SELECT token FROM tailnet.create_peer('n3', 'agent', 'moved', '00000000-0000-4000-8000-000000000012', '5fe3cbd5-7d4a-4f6e-8a2c-3f2b7a1d9c0e');
SELECT ordinal, peer_id FROM tailnet.authenticate(ARRAY[sha256('5fe3cbd5-7d4a-4f6e-8a2c-3f2b7a1d9c0e')], '{""}');
SELECT tailnet.create_peer('n3', 'agent', 'twice', known_token => '5fe3cbd5-7d4a-4f6e-8a2c-3f2b7a1d9c0e');
SELECT tailnet.create_peer('n3', 'agent', 'short', known_token => 'secret');
SELECT tailnet.create_peer('n3', 'agent', 'prefix', known_token => 'tnk_5fe3cbd5-7d4a-4f6e-8a2c-3f2b7a1d9c0e');

-- Grants
SELECT tailnet.grant_tunnel(:c2, :a2), tailnet.grant_tunnel(:c2, :a2) AS again;
SELECT tailnet.grant_tunnel(:c2, :d1);
SELECT tailnet.grant_tunnel(:a1, :a2);
SELECT tailnet.grant_tunnel(:c2, :b1);
SELECT tailnet.grant_tunnel(:c2, :nobody);
SELECT tailnet.grant_tunnel(NULL, :a1);
SELECT tailnet.revoke_tunnel(:c2, :a2), tailnet.revoke_tunnel(:c2, :a2) AS again;
SELECT tailnet.revoke_tunnel(:c2, :nobody);
SELECT tailnet.revoke_tunnel(:c2, NULL);

-- When a grant is taken back, nobody is told and no tunnel opens by it any more. When it is reaped, its tunnel is closed and both
-- ends are told; but not in a network where clients need no grants.
SELECT pg_temp.attach_peers(:'x', ARRAY[:c1], '{1}'), pg_temp.attach_peers(:'y', ARRAY[:a1], '{2}') \g /dev/null
SELECT tailnet.open_tunnels(:'x', ARRAY[:c1], '{1}', ARRAY[:a1]);
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null
SELECT tailnet.revoke_tunnel(:c1, :a1);
SELECT pg_temp.told('x') AS x, pg_temp.told('y') AS y;
SELECT kind, peer_id, dst_id FROM tailnet.pending;
SELECT tailnet.open_tunnels(:'x', ARRAY[:c1], '{1}', ARRAY[:a1]);
SELECT pg_temp.told('x') AS x;
SELECT tailnet.reap(:'y'), tailnet.reap(:'x') AS again;
SELECT pg_temp.told('x') AS x, pg_temp.told('y') AS y;
SELECT count(*) FROM tailnet.tunnels;
SELECT count(*) FROM tailnet.pending;
UPDATE tailnet_private.networks SET clients_reach_all_agents = true WHERE name = 'n1';
SELECT tailnet.grant_tunnel(:c1, :a1), tailnet.open_tunnels(:'x', ARRAY[:c1], '{1}', ARRAY[:a1]), tailnet.revoke_tunnel(:c1, :a1);
SELECT tailnet.reap(:'x');
SELECT src_name, dst_name FROM tailnet.tunnels;

-- Tokens
SELECT tailnet.rotate_token('00000000-0000-4000-8000-000000000011') AS rotated \gset
SELECT :'rotated' <> :'token' AS differs;
SELECT ordinal, session > 2 AS newer FROM tailnet.authenticate(ARRAY[sha256(:'token'), sha256(:'rotated')], '{"",""}');
SELECT tailnet.rotate_token(:nobody);
SELECT tailnet.rotate_token(NULL);

-- Revocation: the token is refused, and nobody is told. When it is reaped, the live session ends, and partners see the peer
-- disconnected.
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null
SELECT tailnet.revoke_peer(:a1), tailnet.revoke_peer(:a1) AS again;
SELECT pg_temp.told('x') AS x, pg_temp.told('y') AS y;
SELECT tailnet.reap(:'x'), tailnet.reap(:'x') AS again;
SELECT pg_temp.told('x') AS x;
SELECT pg_temp.told('y') AS y;
SELECT count(*) FROM tailnet.tunnels;
SELECT name FROM tailnet.peers;
SELECT name, revoked_at IS NOT NULL AS revoked FROM tailnet.identities WHERE peer_id = :a1;
SELECT tailnet.rotate_token(:a1);
SELECT pg_temp.attach_peers(:'y', ARRAY[:a1], '{9}');
SELECT pg_temp.told('y');
SELECT tailnet.revoke_peer('00000000-0000-4000-8000-000000000011');
SELECT ordinal, refused, session FROM tailnet.authenticate(ARRAY[sha256(:'rotated')], '{""}');
SELECT tailnet.revoke_peer(:nobody);
SELECT tailnet.revoke_peer(NULL);

-- A proxy whose registration is not current reaps nothing.
SELECT tailnet.reap(gen_random_uuid());
SELECT tailnet.reap(NULL);
