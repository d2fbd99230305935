-- Enrolment keys: a machine trades the token for a peer and a token of its own.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup

-- What cannot be made, and why
SELECT tailnet.create_key('n1', 'agent', 'k', 'enrolment', max_peers => 1);
SELECT tailnet.create_key('n1', 'agent', 'k', 'enrolment', max_uses => 0);
SELECT tailnet.create_key('n1', 'client', 'k', 'shared', max_uses => 1);
SELECT tailnet.create_key('n1', 'client', 'k', max_uses => 1);
SELECT tailnet.create_key('n1', 'boss', 'k', 'enrolment');
SELECT tailnet.create_key('n1', 'agent', 'k', 'enrolment', tags => '{Ci}');
SELECT tailnet.create_key('n1', 'agent', 'k', 'enrolment', tags => NULL);
SELECT count(*) FROM tailnet.keys;

-- A machine gets a peer with the tags of the key; the same machine gets the same peer with another token, and no second use.
SELECT key_id AS k, token AS t FROM tailnet.create_key('n1', 'agent', 'fleet', 'enrolment', tags => '{ci,owner=ann}', max_uses => 2) \gset
SELECT name, kind, role, uses, max_uses, time_to_live FROM tailnet.keys;
SELECT ordinal, refused, role, peer_id AS p1, token AS t1 FROM tailnet.enrol(ARRAY[sha256(:'t')], ARRAY[:a1]) \gset
SELECT :'ordinal' AS ordinal, :'role' AS role, :'t1' LIKE 'tnk\_%' AS token;
SELECT name, role, network, revoked_at, expires_at FROM tailnet.identities WHERE peer_id = :'p1';
SELECT array_agg(tag ORDER BY tag) FROM tailnet.tags WHERE owner_id = :'p1';
SELECT peer_id = :'p1' AS same, token AS t2, token <> :'t1' AS fresh FROM tailnet.enrol(ARRAY[sha256(:'t')], ARRAY[:a1]) \gset
SELECT :'same' AS same, :'fresh' AS fresh;
SELECT ordinal, refused, role FROM tailnet.authenticate(ARRAY[sha256(:'t1'), sha256(:'t2'), sha256(:'t')], '{"","",""}');
SELECT key, network, machine = :a1 AS machine, peer_id = :'p1' AS peer FROM tailnet.enrolments;

-- One call for many: the second use, one too many, the first machine again, a token that nobody knows, and one of another kind
SELECT token AS s FROM tailnet.create_key('n1', 'client', 'others', 'shared') \gset
SELECT ordinal, refused, role, peer_id = :'p1' AS first
FROM tailnet.enrol(ARRAY[sha256(:'t'), sha256(:'t'), sha256(:'t'), sha256('x'), sha256(:'s')], ARRAY[:a2, :c1, :a1, :a1, :a1]);
SELECT uses, last_used_at IS NOT NULL AS used FROM tailnet.keys WHERE key_id = :'k';

-- A peer that was revoked is not given again, and neither is one after ten minutes.
UPDATE tailnet_private.keys SET max_uses = 4 WHERE id = :'k';
SELECT tailnet.revoke_peer(:'p1');
SELECT refused, peer_id <> :'p1' AS other FROM tailnet.enrol(ARRAY[sha256(:'t')], ARRAY[:a1]);
UPDATE tailnet_private.enrolments SET enrolled_at = enrolled_at - '10 min'::interval;
SELECT refused FROM tailnet.enrol(ARRAY[sha256(:'t')], ARRAY[:a2]);
SELECT refused FROM tailnet.enrol(ARRAY[sha256(:'t')], ARRAY[:a1]);
SELECT uses FROM tailnet.keys WHERE key_id = :'k';
SELECT count(*) FROM tailnet.identities WHERE name = 'fleet';

-- Its token is replaced as that of any key. When the key ends, its peers stay.
SELECT tailnet.rotate_token(:'k', '1 h') AS newer \gset
SELECT ordinal, refused FROM tailnet.enrol(ARRAY[sha256(:'t'), sha256(:'newer')], ARRAY[:c1, :c1]);
UPDATE tailnet_private.tokens SET expires_at = now() WHERE expires_at IS NOT NULL;
SELECT ordinal, refused FROM tailnet.enrol(ARRAY[sha256(:'t'), sha256(:'newer')], ARRAY[:c1, :c1]);
SELECT tailnet.revoke_key(:'k');
SELECT refused FROM tailnet.enrol(ARRAY[sha256(:'newer')], ARRAY[:c1]);
SELECT count(*) FROM tailnet.identities WHERE name = 'fleet' AND revoked_at IS NULL;

-- Wrong arrays
SELECT tailnet.enrol(ARRAY[sha256('x')], '{}');
SELECT tailnet.enrol(ARRAY[sha256('x')], '{NULL}');
SELECT tailnet.enrol(NULL, '{}');
