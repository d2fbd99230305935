-- Shared keys: each connection with the token is a peer of its own.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup

-- What cannot be made, and why
SELECT tailnet.create_key('n1', 'client', 'k', 'other');
SELECT tailnet.create_key('n1', 'client', 'k', NULL);
SELECT tailnet.create_key('nowhere', 'client', 'k', 'shared');
SELECT tailnet.create_key('n1', 'agent', 'k', 'shared');
SELECT tailnet.create_key('n1', NULL, 'k', 'shared');
SELECT tailnet.create_key('n1', 'client', '', 'shared');
SELECT tailnet.create_key('n1', 'client', 'k', 'shared', expires_at => '2020-01-01 00:00:00+00');
SELECT tailnet.create_key('n1', 'client', 'k', 'shared', time_to_live => '0');
SELECT tailnet.create_key('n1', 'client', 'k', 'shared', time_to_live => NULL);
SELECT tailnet.create_key('n1', 'client', 'k', 'shared', max_peers => 0);
SELECT tailnet.create_key('n1', 'client', 'k', 'peer', max_peers => 1);
SELECT count(*) FROM tailnet.keys;

-- A key of kind peer is a peer.
SELECT (tailnet.create_key('n1', 'client', 'one')).key_id AS one \gset
SELECT name, role, network, expires_at FROM tailnet.identities WHERE peer_id = :'one';

-- Every check of the token is another peer, with a session and a resume token of its own.
SELECT key_id AS k, token AS t FROM tailnet.create_key('n1', 'hub', 'fleet', 'shared', max_peers => 2) \gset
SELECT name, kind, role, network, peers, max_peers, time_to_live, tokens, last_used_at FROM tailnet.keys;
CREATE TEMP TABLE checked AS
SELECT * FROM tailnet.authenticate(ARRAY[sha256(:'t'), sha256(:'t'), sha256(:'t')], '{"","",""}');
SELECT ordinal, refused, role, resume LIKE 'tnr\_%' AS resume, count(*) OVER (PARTITION BY peer_id) AS same,
    session - min(session) OVER () AS session
FROM checked ORDER BY ordinal;
SELECT last_used_at IS NOT NULL AS used FROM tailnet.keys;

-- Attached, they are peers without an identity. One more than the key may have is refused.
SELECT array_agg(peer_id ORDER BY ordinal) AS peers, array_agg(session ORDER BY ordinal) AS sessions,
    array_agg(proof ORDER BY ordinal) AS proofs FROM checked \gset
SELECT pg_temp.told('x') \g /dev/null
SELECT tailnet.attach_peers(:'x', :'peers', :'sessions', :'proofs');
SELECT event->'ended'->>'why' AS why, count(*) FROM pg_temp.told('x') t, CAST(t AS json) event GROUP BY 1 ORDER BY 1;
SELECT name, role, network, coordinator, key_id = :'k' AS of_key, expires_at FROM tailnet.peers;
SELECT peers FROM tailnet.keys;
SELECT refused FROM tailnet.authenticate(ARRAY[sha256(:'t')], '{""}');
SELECT tailnet.attach_peers(:'x', :'peers', :'sessions', :'proofs') AS again;
SELECT peers FROM tailnet.keys;

-- They do what their role may do, and have no grants.
SELECT p.id AS p1, p.session AS s1 FROM tailnet_private.peers p JOIN checked c ON c.peer_id = p.id ORDER BY c.ordinal LIMIT 1 \gset
SELECT p.id AS p2, p.session AS s2 FROM tailnet_private.peers p JOIN checked c ON c.peer_id = p.id WHERE p.id <> :'p1' \gset
SELECT tailnet.open_tunnels(:'x', ARRAY[:'p1', :'p1', :'p1', :'p1']::uuid[], ARRAY[:s1, :s1, :s1, :s1], ARRAY[:a1, :'p2', :d1, :'p1']::uuid[]);
SELECT src_name, dst_name FROM tailnet.tunnels ORDER BY dst_name;
\set VERBOSITY sqlstate
SELECT tailnet.grant_tunnel(:'p1', :a1);
\set VERBOSITY default

-- A proof of another key, or of another token, proves nothing.
SELECT key_id AS k2, token AS t2 FROM tailnet.create_key('n2', 'hub', 'other', 'shared') \gset
SELECT pg_temp.told('x') \g /dev/null
SELECT tailnet.attach_peers(:'x', ARRAY[:'p1']::uuid[], ARRAY[a.session], ARRAY[a.proof]) FROM tailnet.authenticate(ARRAY[sha256(:'t2')], '{""}') a;
SELECT event->'ended'->>'why' AS why FROM pg_temp.told('x') t, CAST(t AS json) event;

-- A peer that comes with its resume token is the same peer, whether it is there or not. Other resume tokens make no peer.
SELECT c.resume AS r1 FROM checked c WHERE c.peer_id = :'p1' \gset
SELECT tailnet.lose_peers(:'x', ARRAY[:'p1']::uuid[], ARRAY[:s1]);
SELECT forget_at > now() + '9 min'::interval AS kept FROM tailnet_private.peers WHERE id = :'p1';
SELECT refused, peer_id = :'p1' AS same FROM tailnet.authenticate(ARRAY[sha256(:'t')], ARRAY[:'r1']);
SELECT refused FROM tailnet.authenticate(array_fill(sha256(:'t'), '{3}'), ARRAY['tnr_', 'x', overlay(:'r1' placing 'zz' from 20)]);
SELECT refused FROM tailnet.authenticate(ARRAY[sha256(:'t2')], ARRAY[:'r1']);
SELECT tailnet.attach_peers(:'y', ARRAY[a.peer_id], ARRAY[a.session], ARRAY[a.proof]), a.session AS s1
FROM tailnet.authenticate(ARRAY[sha256(:'t')], ARRAY[:'r1']) a \gset
SELECT name, coordinator, status FROM tailnet.peers WHERE peer_id = :'p1';
SELECT forget_at FROM tailnet_private.peers WHERE id = :'p1';
SELECT dst_name FROM tailnet.tunnels WHERE src_id = :'p1' ORDER BY 1;
SELECT peers FROM tailnet.keys WHERE key_id = :'k';

-- One that stays away for its time to live is forgotten, with its tunnels.
SELECT tailnet.lose_peers(:'y', ARRAY[:'p1']::uuid[], ARRAY[:s1]), tailnet.reap(:'y');
UPDATE tailnet_private.peers SET forget_at = now() - '1 s'::interval WHERE id = :'p1';
SELECT pg_temp.told('x') \g /dev/null
SELECT tailnet.reap(:'y'), tailnet.reap(:'y') AS again;
SELECT replace(replace(pg_temp.told('x'), :'p1', 'p1'), :'p2', 'p2') AS x;
SELECT count(*) FROM tailnet.tunnels;
SELECT peers FROM tailnet.keys WHERE key_id = :'k';

-- Two tokens are good while one replaces the other. Then the sessions of the older one end.
SELECT tailnet.rotate_token(:'k', '1 hour') AS newer \gset
SELECT ordinal, refused FROM tailnet.authenticate(ARRAY[sha256(:'t'), sha256(:'newer')], '{"",""}');
SELECT tokens FROM tailnet.keys WHERE key_id = :'k';
SELECT tailnet.attach_peers(:'y', ARRAY[a.peer_id], ARRAY[a.session], ARRAY[a.proof]) FROM tailnet.authenticate(ARRAY[sha256(:'newer')], '{""}') a;
UPDATE tailnet_private.tokens SET expires_at = now() WHERE expires_at IS NOT NULL;
SELECT ordinal, refused FROM tailnet.authenticate(ARRAY[sha256(:'t'), sha256(:'newer')], '{"",""}');
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null
SELECT tailnet.reap(:'y') AS tokens, tailnet.reap(:'y') AS peers, tailnet.reap(:'y') AS row, tailnet.reap(:'y') AS rest;
SELECT event->'ended'->>'id' = :'p2' AS of_p2, event->'ended'->>'why' AS why FROM pg_temp.told('x') t, CAST(t AS json) event;
SELECT pg_temp.told('y') AS y;
SELECT coordinator FROM tailnet.peers;
SELECT tailnet.rotate_token(:'k', '-1 s');
SELECT tailnet.rotate_token(:'k', NULL);
SELECT tailnet.rotate_token(:nobody, '1 s');
SELECT tailnet.rotate_token(NULL, '1 s');

-- A key that is revoked ends all its peers, and nothing comes with it any more.
SELECT tailnet.revoke_key(:'k'), tailnet.revoke_key(:'k') AS again;
SELECT refused FROM tailnet.authenticate(ARRAY[sha256(:'newer')], '{""}');
SELECT pg_temp.told('y') \g /dev/null
SELECT tailnet.reap(:'x') AS peers, tailnet.reap(:'x') AS row, tailnet.reap(:'x') AS rest;
SELECT event->'ended'->>'why' AS why FROM pg_temp.told('y') t, CAST(t AS json) event;
SELECT count(*) FROM tailnet.peers;
SELECT tailnet.attach_peers(:'x', :'peers', :'sessions', :'proofs');
SELECT event->'ended'->>'why' AS why FROM pg_temp.told('x') t, CAST(t AS json) event;
\set VERBOSITY sqlstate
SELECT tailnet.rotate_token(:'k', '1 s');
\set VERBOSITY default
SELECT tailnet.revoke_key(:nobody);
SELECT tailnet.revoke_key(NULL);

-- A key expires by the clock of the database, and so does a peer.
SELECT key_id AS k3, token AS t3 FROM tailnet.create_key('n1', 'client', 'short', 'shared', now() + '1 hour') \gset
SELECT key_id AS p3, token AS t4 FROM tailnet.create_key('n1', 'client', 'short', expires_at => now() + '1 hour') \gset
SELECT tailnet.attach_peers(:'x', array_agg(a.peer_id), array_agg(a.session), array_agg(a.proof))
FROM tailnet.authenticate(ARRAY[sha256(:'t3'), sha256(:'t4')], '{"",""}') a;
UPDATE tailnet_private.keys SET expires_at = now() WHERE id = :'k3';
UPDATE tailnet_private.identities SET expires_at = now() WHERE id = :'p3';
SELECT refused FROM tailnet.authenticate(ARRAY[sha256(:'t3'), sha256(:'t4')], '{"",""}');
SELECT pg_temp.told('x') \g /dev/null
SELECT tailnet.reap(:'x') AS expired, tailnet.reap(:'x') AS first, tailnet.reap(:'x') AS second, tailnet.reap(:'x') AS third, tailnet.reap(:'x') AS rest;
SELECT event->'ended'->>'why' AS why FROM pg_temp.told('x') t, CAST(t AS json) event;
SELECT count(*) FROM tailnet.peers;

-- After a crash the proxies restore more peers than the key may have: they were there before.
SELECT key_id AS k5, token AS t5 FROM tailnet.create_key('n1', 'hub', 'full', 'shared', max_peers => 1) \gset
SELECT array_agg(peer_id) AS peers, array_agg(session) AS sessions, array_agg(proof) AS proofs
FROM tailnet.authenticate(array_fill(sha256(:'t5'), '{2}'), '{"",""}') \gset
SELECT tailnet.restore_peers(:'x', :'peers', :'sessions', :'proofs', '{NULL,NULL}', '{}', '{}');
SELECT peers, max_peers FROM tailnet.keys WHERE key_id = :'k5';
SELECT tailnet.disconnect_peers(:'x', :'peers', :'sessions', :'proofs');
SELECT peers, max_peers FROM tailnet.keys WHERE key_id = :'k5';
