-- What each role may do, and that every object has a comment.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup

-- The role of proxies may call its functions, and may not use tables or views.
SELECT pg_temp.proofs(ARRAY[:a1], '{1}') AS proofs \gset
SET ROLE tailnet_proxy;
SELECT tailnet.attach_peers(:'x', ARRAY[:a1], '{1}', :'proofs');
SELECT tailnet_private.prove_session('', 1, :a1, :a1, :a1, 1, 1);
SELECT * FROM tailnet_private.secrets;
SELECT tailnet.rotate_secret();
SELECT * FROM tailnet.peers;
SELECT * FROM tailnet_private.peers;
SELECT * FROM tailnet_private.identities;
INSERT INTO tailnet_private.tunnels VALUES (:a1, :c1);
UPDATE tailnet_private.peers SET session = 9;
DELETE FROM tailnet_private.tunnels;
SELECT nextval('tailnet_private.sessions');
SELECT tailnet.create_network('mine');
SELECT tailnet.rotate_token(:a1);
SELECT tailnet.revoke_peer(:a1);
SELECT tailnet_private.new_token();
RESET ROLE;

-- The role of readers may read the views, and no secret.
SET ROLE tailnet_reader;
SELECT name, coordinator FROM tailnet.peers;
SELECT count(*) FROM tailnet.identities;
SELECT registration FROM tailnet.coordinators;
SELECT * FROM tailnet_private.coordinators;
SELECT tailnet.attach_peers(:'x', ARRAY[:a1], '{2}', '{p}');
SELECT * FROM tailnet_private.secrets;
SELECT tailnet.authenticate('{}', '{}');
DELETE FROM tailnet.networks;
RESET ROLE;

-- Every function runs with pinned settings, and PUBLIC may call none.
SELECT p.oid::regprocedure AS not_pinned FROM pg_proc p
WHERE p.pronamespace IN ('tailnet'::regnamespace, 'tailnet_private'::regnamespace)
  AND p.proname NOT IN ('connection_key', 'prove_session', 'resume_secret', 'resume_token', 'resumed_peer') -- they are written in C, and use only their arguments
  AND NOT (p.prosecdef AND 'search_path=pg_catalog, pg_temp' = ANY (coalesce(p.proconfig, '{}')));
SELECT p.oid::regprocedure AS open_to_all FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
WHERE p.pronamespace IN ('tailnet'::regnamespace, 'tailnet_private'::regnamespace) AND a.grantee = 0;

-- Every object has a comment.
SELECT c.oid::regclass AS relation, a.attname AS without_comment
FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind <> 'S'
WHERE c.relnamespace IN ('tailnet'::regnamespace, 'tailnet_private'::regnamespace) AND c.relkind IN ('r', 'v', 'S')
  AND (obj_description(c.oid, 'pg_class') IS NULL OR a.attnum IS NOT NULL AND col_description(c.oid, a.attnum) IS NULL);
SELECT p.oid::regprocedure AS without_comment FROM pg_proc p
WHERE p.pronamespace IN ('tailnet'::regnamespace, 'tailnet_private'::regnamespace) AND obj_description(p.oid, 'pg_proc') IS NULL;
