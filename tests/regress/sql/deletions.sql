-- Operators end sessions, and delete peers and networks.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup

SELECT tailnet.disconnect_peer(:nobody);
SELECT tailnet.disconnect_peer(NULL);
SELECT tailnet.delete_peer(:nobody);
SELECT tailnet.delete_peer(NULL);
SELECT tailnet.delete_network('nowhere');
SELECT tailnet.delete_network(NULL);

-- A session is ended; the peer keeps its tunnels, and may come back. One that came back meanwhile is left alone.
SELECT pg_temp.attach_peers(:'x', ARRAY[:b1, :c1], '{1,2}'), tailnet.bind_peers(:'x', ARRAY[:b1], '{1}', ARRAY['{"key":"b"}']),
    pg_temp.attach_peers(:'y', ARRAY[:a1], '{3}') \g /dev/null
SELECT tailnet.open_tunnels(:'x', ARRAY[:b1], '{1}', ARRAY[:a1]);
SELECT tailnet.disconnect_peer(:b1), tailnet.disconnect_peer(:c1), tailnet.disconnect_peer(:a2) AS absent;
SELECT kind, count(*) FROM tailnet.pending GROUP BY 1;
SELECT pg_temp.attach_peers(:'y', ARRAY[:c1], '{4}');
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null
SELECT tailnet.reap(:'y'), tailnet.reap(:'y') AS rest;
SELECT pg_temp.told('x') AS x;
SELECT pg_temp.told('y') AS y;
SELECT name, coordinator, status FROM tailnet.peers ORDER BY 1;
SELECT src_name, dst_name FROM tailnet.tunnels;
SELECT pg_temp.attach_peers(:'x', ARRAY[:b1], '{5}');

-- A peer is deleted, with its grants and tags. A policy test that names it comes first.
SELECT tailnet.set_tags(:b1, '{ci}');
SELECT tailnet.create_policy_test('n1', 'kept', (:b1)::text, (:a1)::text, true);
SELECT tailnet.delete_peer(:b1);
SELECT tailnet.drop_policy_test('n1', 'kept');
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null
SELECT tailnet.delete_peer(:b1);
SELECT pg_temp.told('x') AS before_the_commit_is_reaped;
-- What is left of it must not go on as another peer with the same id.
SELECT tailnet.create_peer('n1', 'agent', 'another', :b1);
SELECT tailnet.reap(:'y'), tailnet.reap(:'y') AS rest;
SELECT pg_temp.told('x') AS x;
SELECT pg_temp.told('y') AS y;
SELECT count(*) FROM tailnet.identities WHERE peer_id = :b1;
SELECT count(*) FROM tailnet.tags;
SELECT pg_temp.attach_peers(:'x', ARRAY[:b1], '{6}');
SELECT pg_temp.told('x') AS x;
SELECT tailnet.delete_peer(:b1);

-- So is a peer of a key. Neither its resume token nor the proof of its session is good any more.
SELECT token AS t FROM tailnet.create_key('n1', 'hub', 'fleet', 'shared') \gset
SELECT peer_id AS p, session AS s, proof, resume FROM tailnet.authenticate(ARRAY[sha256(:'t')], '{""}') \gset
SELECT tailnet.attach_peers(:'x', ARRAY[:'p']::uuid[], ARRAY[:s], ARRAY[:'proof']);
SELECT tailnet.delete_peer(:'p');
SELECT refused FROM tailnet.authenticate(ARRAY[sha256(:'t')], ARRAY[:'resume']);
SELECT tailnet.reap(:'x'), tailnet.reap(:'x') AS rest;
SELECT peers FROM tailnet.keys;
SELECT pg_temp.told('x') \g /dev/null
SELECT tailnet.attach_peers(:'x', ARRAY[:'p']::uuid[], ARRAY[:s], ARRAY[:'proof']),
    tailnet.restore_peers(:'x', ARRAY[:'p']::uuid[], ARRAY[:s], ARRAY[:'proof'], '{NULL}', '{}', '{}');
SELECT event->'ended'->>'why' AS why FROM pg_temp.told('x') t, CAST(t AS json) event;
SELECT refused FROM tailnet.authenticate(ARRAY[sha256(:'t')], '{""}');
SELECT count(*) FROM tailnet_private.tombstones;
UPDATE tailnet_private.tombstones SET expires_at = now();
SELECT tailnet.reap(:'x'), (SELECT count(*) FROM tailnet_private.tombstones) AS before;
SELECT count(*) FROM tailnet_private.tombstones;

-- A network goes with all that it has: refused while it has sessions.
SELECT tailnet.set_derp_map('n1', '{"Regions":{"1":{"RegionID":1,"Nodes":[{"Name":"a","RegionID":1,"HostName":"h"}]}}}');
SELECT tailnet.reap(:'x');
SELECT tailnet.create_policy('n1', 'p', 'ci', 'ci'), tailnet.set_tags(:c1, '{ci}'), tailnet.create_policy_test('n1', 't', 'ci', 'ci', true);
SELECT tailnet.delete_network('n1');
SELECT tailnet.delete_network('n1', force => true);
SELECT tailnet.create_network('n1') IS NOT NULL AS free;
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null
CREATE TEMP TABLE reaped (rows integer);
DO $$ BEGIN FOR i IN 1..50 LOOP INSERT INTO reaped SELECT tailnet.reap((SELECT registration FROM tailnet_private.coordinators ORDER BY 1 LIMIT 1)); END LOOP; END $$;
SELECT y FROM pg_temp.told('y') y ORDER BY y;
SELECT kind, count(*) FROM tailnet.pending GROUP BY 1;
SELECT count(*) FROM tailnet.identities WHERE network = 'n1' OR network LIKE 'deleted%';
SELECT name, deleted_at FROM tailnet_private.networks ORDER BY 1;
SELECT (SELECT count(*) FROM tailnet.keys) AS keys, (SELECT count(*) FROM tailnet.tags) AS tags, (SELECT count(*) FROM tailnet.policies) AS policies,
    (SELECT count(*) FROM tailnet.policy_tests) AS tests, (SELECT count(*) FROM tailnet.derp_maps) AS maps;
