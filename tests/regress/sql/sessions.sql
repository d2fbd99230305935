-- Sessions: tokens are checked, sessions are attached, replaced by newer ones, lost, disconnected, and restored.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup

SELECT tailnet.rotate_token(:a1) AS ta, tailnet.rotate_token(:c1) AS tc \gset
SELECT a.ordinal, i.name, a.role, a.session
FROM tailnet.authenticate(ARRAY[sha256(:'tc'), '\x00', NULL, sha256(:'ta'), sha256(:'tc')], '{"","","","",""}') a
JOIN tailnet.identities i USING (peer_id) ORDER BY ordinal;
SELECT * FROM tailnet.authenticate('{}', '{}');
SELECT * FROM tailnet.authenticate(NULL, NULL);

-- When a session is attached, its coordinator is told its view. Unknown peers are left out.
SELECT pg_temp.attach_peers(:'x', ARRAY[:c1, :nobody], '{10,10}');
SELECT pg_temp.told('x');
SELECT name, coordinator, status, node FROM tailnet.peers;
SELECT pg_temp.attach_peers(:'x', '{}', '{}');

-- A batch with two sessions of a peer: the newer one counts.
SELECT pg_temp.attach_peers(:'x', ARRAY[:a1, :a1], '{12,11}');
SELECT session FROM tailnet_private.peers WHERE id = :a1;
SELECT pg_temp.told('x') \g /dev/null

-- A newer session takes over: the older one is told, its later writes have no effect, and partners see no LOST in between.
SELECT tailnet.open_tunnels(:'x', ARRAY[:c1], '{10}', ARRAY[:a1]), tailnet.bind_peers(:'x', ARRAY[:a1], '{12}', ARRAY['{"key":"k"}']);
SELECT pg_temp.told('x') \g /dev/null
SELECT pg_temp.attach_peers(:'y', ARRAY[:a1], '{13}');
SELECT pg_temp.told('x');
SELECT pg_temp.told('y');
SELECT tailnet.bind_peers(:'x', ARRAY[:a1], '{12}', ARRAY['{"key":"late"}']) AS bind,
    tailnet.lose_peers(:'x', ARRAY[:a1], '{12}') AS lose, pg_temp.disconnect_peers(:'x', ARRAY[:a1], '{12}') AS disconnect;
SELECT name, coordinator, status, node FROM tailnet.peers ORDER BY name;
SELECT pg_temp.told('x');

-- An older session that comes after the newer one is told that it is superseded.
SELECT pg_temp.attach_peers(:'x', ARRAY[:a1], '{12}');
SELECT pg_temp.told('x');
SELECT pg_temp.told('y');

-- The same number twice, as after a primary lost its last seconds: the session that is attached stays.
SELECT pg_temp.attach_peers(:'x', ARRAY[:a1], '{13}');
SELECT pg_temp.told('x');

-- A session is lost: partners are told once, the tunnels stay, and the session may still close them.
SELECT tailnet.lose_peers(:'y', ARRAY[:a1, :a1], '{13,13}'), tailnet.lose_peers(:'y', ARRAY[:a1], '{13}') AS again;
SELECT pg_temp.told('x');
SELECT tailnet.bind_peers(:'y', ARRAY[:a1], '{13}', ARRAY['{"key":"dead"}']);
SELECT tailnet.lose_peers(:'x', ARRAY[:c1], '{10}');
SELECT pg_temp.told('x');
SELECT count(*) AS tunnels FROM tailnet.tunnels;
SELECT tailnet.close_tunnels(:'x', ARRAY[:c1], '{10}', ARRAY[:a1]);
SELECT count(*) AS tunnels FROM tailnet.tunnels;

-- A session that ends before it was attached also ends the earlier session.
SELECT pg_temp.attach_peers(:'x', ARRAY[:c1], '{20}');
SELECT tailnet.lose_peers(:'x', ARRAY[:c1], '{21}');
SELECT coordinator_id, session FROM tailnet_private.peers WHERE id = :c1;
SELECT pg_temp.told('x');

-- A session is disconnected: its binding and the tunnels that the peer opened are deleted, tunnels to the peer stay.
SELECT pg_temp.attach_peers(:'x', ARRAY[:c1, :b1], '{30,31}'), pg_temp.attach_peers(:'y', ARRAY[:a1], '{32}'),
    tailnet.bind_peers(:'x', ARRAY[:c1, :b1], '{30,31}', ARRAY['{"key":"c"}', '{"key":"b"}']),
    tailnet.bind_peers(:'y', ARRAY[:a1], '{32}', ARRAY['{"key":"a"}']);
SELECT tailnet.open_tunnels(:'x', ARRAY[:c1, :b1, :b1], '{30,31,31}', ARRAY[:a1, :a1, :c1]);
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null
SELECT pg_temp.disconnect_peers(:'x', ARRAY[:c1], '{30}'), pg_temp.disconnect_peers(:'x', ARRAY[:c1], '{30}') AS again;
SELECT pg_temp.told('x');
SELECT pg_temp.told('y');
SELECT src_name, dst_name FROM tailnet.tunnels ORDER BY 1, 2;
SELECT name FROM tailnet.peers ORDER BY 1;

-- A goodbye that comes after the session was lost counts, unless the peer has a newer session.
SELECT pg_temp.attach_peers(:'x', ARRAY[:c1, :c2], '{36,36}'), tailnet.bind_peers(:'x', ARRAY[:c1], '{36}', ARRAY['{"key":"c"}']),
    tailnet.open_tunnels(:'x', ARRAY[:c1], '{36}', ARRAY[:a1]);
SELECT tailnet.lose_peers(:'x', ARRAY[:c1, :c2], '{36,36}');
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null
SELECT pg_temp.attach_peers(:'x', ARRAY[:c2], '{37}');
SELECT pg_temp.disconnect_peers(:'x', ARRAY[:c1, :c1, :c2], '{35,36,36}');
SELECT pg_temp.told('y');
SELECT src_name, dst_name FROM tailnet.tunnels ORDER BY 1, 2;
SELECT name, coordinator, status FROM tailnet.peers ORDER BY 1;
SELECT pg_temp.told('x') \g /dev/null

-- A session that may have a tunnel to one peer only closes those to others, which an older session opened. Tunnels of other
-- peers stay.
SELECT tailnet.open_tunnels(:'x', ARRAY[:b1, :b1], '{31,31}', ARRAY[:c1, :a1]);
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null
SELECT tailnet.attach_peers(:'x', ARRAY[:c2, :b1], '{38,38}', pg_temp.proofs(ARRAY[:c2, :b1], '{38,38}'), ARRAY[NULL, :a1]::uuid[]);
SELECT pg_temp.told('x');
SELECT pg_temp.told('y');
SELECT src_name, dst_name FROM tailnet.tunnels ORDER BY 1, 2;
-- So does one that is restored.
SELECT tailnet.open_tunnels(:'x', ARRAY[:b1], '{38}', ARRAY[:c1]);
SELECT tailnet.restore_peers(:'x', ARRAY[:b1], '{39}', pg_temp.proofs(ARRAY[:b1], '{39}'), '{NULL}', ARRAY[:b1], ARRAY[:a1],
    ARRAY[:a1]);
SELECT src_name, dst_name FROM tailnet.tunnels ORDER BY 1, 2;
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null

-- Sessions, nodes and tunnels are restored into empty tables. Tunnels that are no longer allowed are left out silently.
TRUNCATE tailnet_private.peers, tailnet_private.tunnels;
SELECT pg_temp.restore_peers(:'x', ARRAY[:b1, :c1], '{41,40}', ARRAY['{"key":"b"}', NULL],
    ARRAY[:b1, :c1, :c1, :a2], ARRAY[:c1, :a1, :a2, :a1]);
SELECT pg_temp.told('x');
SELECT src_name, dst_name FROM tailnet.tunnels ORDER BY 1, 2;
SELECT name, coordinator, status, node FROM tailnet.peers ORDER BY 1;
-- Restoring a second time changes nothing.
SELECT pg_temp.restore_peers(:'x', ARRAY[:b1], '{41}', ARRAY['{"key":"b"}'], ARRAY[:b1], ARRAY[:c1]);
SELECT pg_temp.told('x');

-- After a crash an older session cannot be restored, because a newer one was attached before the crash.
SELECT pg_temp.attach_peers(:'y', ARRAY[:b1], '{50}');
SELECT pg_temp.told('x') \g /dev/null
TRUNCATE tailnet_private.peers, tailnet_private.tunnels;
SELECT pg_temp.restore_peers(:'x', ARRAY[:b1], '{31}', ARRAY['{"key":"old"}'], ARRAY[:b1], ARRAY[:c1]);
SELECT pg_temp.told('x');
SELECT name FROM tailnet.peers;

-- A crash may also have lost the number of the newest session. The goodbye of that session still ends an earlier session
-- that was restored instead, and no earlier session can be restored afterwards.
UPDATE tailnet_private.identities SET session = 31 WHERE id IN (:b1, :a1);
SELECT pg_temp.restore_peers(:'x', ARRAY[:b1], '{31}', ARRAY['{"key":"old"}'], ARRAY[:b1], ARRAY[:c1]);
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null
SELECT pg_temp.disconnect_peers(:'y', ARRAY[:b1, :b1, :a1], '{49,50,51}');
SELECT pg_temp.told('x');
SELECT name FROM tailnet.peers;
SELECT src_name, dst_name FROM tailnet.tunnels;
SELECT pg_temp.restore_peers(:'x', ARRAY[:b1, :a1], '{31,32}', '{NULL,NULL}', '{}', '{}');
SELECT pg_temp.told('x');
SELECT name FROM tailnet.peers;

-- A session number counts only with the proof that the extension gave with it: not with none, another one, that of another
-- peer or another number, one of a secret that was forgotten.
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null
SELECT (pg_temp.proofs(ARRAY[:c2], '{9223372036854775807}'))[1] AS highest, (pg_temp.proofs(ARRAY[:c1], '{60}'))[1] AS of_c1,
    (pg_temp.proofs(ARRAY[:c2], '{61}'))[1] AS of_61 \gset
SELECT tailnet.attach_peers(:'x', ARRAY[:c2, :c2, :c2, :c2, :nobody], '{60,60,60,9223372036854775807,60}',
    ARRAY['', :'of_c1', :'of_61', :'of_61', :'of_61']);
SELECT pg_temp.told('x');
SELECT session FROM tailnet_private.identities WHERE id = :c2;
SELECT tailnet.restore_peers(:'x', ARRAY[:c2], '{60}', ARRAY[:'of_c1'], '{NULL}', '{}', '{}');
SELECT pg_temp.told('x');
SELECT pg_temp.attach_peers(:'x', ARRAY[:c2], '{60}');
SELECT tailnet.disconnect_peers(:'x', ARRAY[:c2], '{9223372036854775807}', ARRAY[:'of_61']);
SELECT name, coordinator FROM tailnet.peers WHERE peer_id = :c2;
SELECT pg_temp.told('x') \g /dev/null
SELECT tailnet.rotate_secret() > 1 AS rotated;
SELECT tailnet.attach_peers(:'x', ARRAY[:c2], '{61}', ARRAY[:'of_61']);
SELECT tailnet.rotate_secret(true) > 1 AS rotated;
SELECT pg_temp.told('x') \g /dev/null
SELECT tailnet.attach_peers(:'x', ARRAY[:c2], '{61}', ARRAY[:'of_61']);
SELECT pg_temp.told('x');
SELECT tailnet.rotate_secret(NULL);

-- A proved number that the sequence has not given yet moves the sequence on: a failover or a backup has forgotten numbers.
ALTER SEQUENCE tailnet_private.sessions RESTART;
SELECT pg_temp.attach_peers(:'x', ARRAY[:c2], '{7000}');
SELECT nextval('tailnet_private.sessions') > 7000 AS ahead;
