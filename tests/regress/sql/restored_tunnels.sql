-- After a crash: tunnels to peers of shared keys, which the tables know only when they are restored.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup

-- A hub and a client of one key each, and a client that may reach nobody
SELECT token AS th FROM tailnet.create_key('n1', 'hub', 'hubs', 'shared') \gset
SELECT token AS tc FROM tailnet.create_key('n1', 'client', 'clients', 'shared') \gset
SELECT peer_id AS h, session AS hs, proof AS hp FROM tailnet.authenticate(ARRAY[sha256(:'th')], '{""}') \gset
SELECT peer_id AS e, session AS es, proof AS ep FROM tailnet.authenticate(ARRAY[sha256(:'tc')], '{""}') \gset
SELECT peer_id AS f, session AS fs, proof AS fp FROM tailnet.authenticate(ARRAY[sha256(:'tc')], '{""}') \gset
CREATE FUNCTION pg_temp.named(text) RETURNS text LANGUAGE sql AS 'SELECT replace(replace($1, current_setting(''x.h''), ''h''), current_setting(''x.e''), ''e'')';
SET x.h = :'h';
SET x.e = :'e';

-- The tunnel of the hub is restored before the other end is: it is kept, and the other end finds it in its view.
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null
SELECT tailnet.restore_peers(:'x', ARRAY[:'h']::uuid[], ARRAY[:hs], ARRAY[:'hp'], '{NULL}', ARRAY[:'h']::uuid[], ARRAY[:'e']::uuid[]);
SELECT count(*) FROM tailnet.tunnels;
SELECT pg_temp.named(pg_temp.told('x')) AS x;
SELECT tailnet.restore_peers(:'y', ARRAY[:'e']::uuid[], ARRAY[:es], ARRAY[:'ep'], ARRAY['{"key":"e"}'], '{}', '{}');
SELECT pg_temp.named(pg_temp.told('x')) AS x;
SELECT pg_temp.named(pg_temp.told('y')) AS y;
SELECT count(*) FROM tailnet.tunnels;

-- The other order ends in the same.
TRUNCATE tailnet_private.peers, tailnet_private.tunnels, tailnet_private.key_peers;
SELECT tailnet.restore_peers(:'y', ARRAY[:'e']::uuid[], ARRAY[:es], ARRAY[:'ep'], ARRAY['{"key":"e"}'], '{}', '{}');
SELECT tailnet.restore_peers(:'x', ARRAY[:'h']::uuid[], ARRAY[:hs], ARRAY[:'hp'], '{NULL}', ARRAY[:'h']::uuid[], ARRAY[:'e']::uuid[]);
SELECT count(*) FROM tailnet.tunnels;

-- A tunnel that nothing allows is closed when its other end is restored, before that end announces itself.
TRUNCATE tailnet_private.peers, tailnet_private.tunnels, tailnet_private.key_peers;
SELECT tailnet.restore_peers(:'x', ARRAY[:'f']::uuid[], ARRAY[:fs], ARRAY[:'fp'], '{NULL}', ARRAY[:'f']::uuid[], ARRAY[:'e']::uuid[]);
SELECT count(*) FROM tailnet.tunnels;
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null
SELECT tailnet.restore_peers(:'y', ARRAY[:'e']::uuid[], ARRAY[:es], ARRAY[:'ep'], ARRAY['{"key":"e"}'], '{}', '{}');
SELECT replace(pg_temp.named(pg_temp.told('x')), :'f', 'f') AS x;
SELECT count(*) FROM tailnet.tunnels;

-- Nobody else is waited for: not by an agent, and not when the restoration is over.
TRUNCATE tailnet_private.peers, tailnet_private.tunnels, tailnet_private.key_peers;
SELECT pg_temp.restore_peers(:'x', ARRAY[:a1], '{1}', '{NULL}', ARRAY[:a1], ARRAY[:'e']::uuid[]);
SELECT count(*) FROM tailnet.tunnels;
INSERT INTO tailnet_private.restoration (ended_at) VALUES (now());
SELECT tailnet.restore_peers(:'x', ARRAY[:'h']::uuid[], ARRAY[:hs], ARRAY[:'hp'], '{NULL}', ARRAY[:'h']::uuid[], ARRAY[:'e']::uuid[]);
SELECT count(*) FROM tailnet.tunnels;
