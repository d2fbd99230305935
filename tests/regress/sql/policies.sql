-- Tags and policies: which clients reach which agents and clients.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup

-- Tags
SELECT tailnet.set_tags(:a1, '{prod,owner=ann,prod}'), tailnet.set_tags(:a1, '{owner=ann,prod}') AS again;
SELECT tailnet.set_tags(:c2, '{dev,owner=bob}'), tailnet.set_tags(:a2, '{owner=bob}');
SELECT i.name, t.tag, t.network, t.kind FROM tailnet.tags t JOIN tailnet.identities i ON i.peer_id = t.owner_id ORDER BY 1, 2;
SELECT tailnet.set_tags(:a1, '{Prod}');
SELECT tailnet.set_tags(:a1, '{"owner="}');
SELECT tailnet.set_tags(:a1, '{owner=*}');
SELECT tailnet.set_tags(:a1, '{NULL}');
SELECT tailnet.set_tags(:a1, NULL);
SELECT tailnet.set_tags(NULL, '{prod}');
SELECT tailnet.set_tags(:nobody, '{prod}');
SELECT tailnet.set_tags(:a1, array_agg('t' || i)) FROM generate_series(1, 17) i;

-- Policies
SELECT tailnet.explain_tunnel(:c2, :a1), tailnet.explain_tunnel(:c1, :a1) AS granted;
SELECT tailnet.create_policy('n1', 'developers', 'dev', 'prod');
SELECT tailnet.create_policy('n1', 'owners', 'owner=*', 'owner=*');
SELECT * FROM (SELECT network, name, source_tag, destination_tag FROM tailnet.policies) p ORDER BY name;
SELECT tailnet.create_policy('n1', 'developers', 'a', 'b');
SELECT tailnet.create_policy('n1', 'the same', 'dev', 'prod');
SELECT tailnet.create_policy('n1', '', 'a', 'b');
SELECT tailnet.create_policy('n1', 'x', 'owner=*', 'team=*');
SELECT tailnet.create_policy('n1', 'x', 'owner=*', 'owner=ann');
SELECT tailnet.create_policy('n1', 'x', '*', '*');
SELECT tailnet.create_policy('n1', 'x', NULL, 'b');
SELECT tailnet.create_policy('nowhere', 'x', 'a', 'b');

-- Which rule allows what. No policy gives a role more than it may do, and none reaches into another network.
SELECT tailnet.set_tags(:c1, '{owner=bob}'), tailnet.set_tags(:b1, '{prod}'), tailnet.set_tags(:d1, '{prod,owner=bob}') \g /dev/null
SELECT s AS source, d AS destination, tailnet.explain_tunnel(si.peer_id, di.peer_id)
FROM (VALUES ('c2', 'a1'), ('c2', 'a2'), ('c1', 'a2'), ('c1', 'a1'), ('c2', 'c1'), ('c1', 'c2'), ('c2', 'b1'), ('c2', 'd1'),
             ('a1', 'c2'), ('b1', 'c2'), ('b1', 'd1'), ('c2', 'c2')) v(s, d)
JOIN tailnet.identities si ON si.name = s JOIN tailnet.identities di ON di.name = d ORDER BY 1, 2;
SELECT tailnet.explain_tunnel(:nobody, :a1), tailnet.explain_tunnel(:c1, :nobody);
SELECT tailnet.explain_tunnel(NULL, :a1);
SELECT tailnet.explain_tunnel(:c1, NULL);

-- Requests are judged alike, for peers with an identity and for those of a key, which have the tags of the key.
SELECT pg_temp.attach_peers(:'x', ARRAY[:c1, :c2], '{1,2}'), pg_temp.attach_peers(:'y', ARRAY[:a1, :a2], '{3,4}') \g /dev/null
SELECT key_id AS k, token AS t FROM tailnet.create_key('n1', 'client', 'runner', 'shared') \gset
SELECT tailnet.set_tags(:'k', '{dev}');
SELECT peer_id AS p, session AS s, proof FROM tailnet.authenticate(ARRAY[sha256(:'t')], '{""}') \gset
SELECT tailnet.attach_peers(:'x', ARRAY[:'p']::uuid[], ARRAY[:s]::bigint[], ARRAY[:'proof']) \g /dev/null
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null
SELECT tailnet.open_tunnels(:'x', ARRAY[:c2, :c2, :c2, :c1, :'p', :'p']::uuid[], ARRAY[2, 2, 2, 1, :s, :s]::bigint[],
    ARRAY[:a1, :a2, :b1, :c2, :a1, :a2]::uuid[]);
SELECT src_name, dst_name FROM tailnet.tunnels ORDER BY 1, 2;
SELECT event->'refused'->'why' AS refused FROM pg_temp.told('x') t, CAST(t AS json) event WHERE event->'refused' IS NOT NULL;
SELECT tailnet.explain_tunnel(:'p', :a1), tailnet.explain_tunnel(:'p', :a2), tailnet.explain_tunnel(:c1, :'p') AS to_p;

-- What a policy alone allowed is closed when the policy goes. What another rule allows stays.
SELECT tailnet.grant_tunnel(:c2, :a1);
SELECT tailnet.drop_policy('n1', 'developers'), tailnet.drop_policy('n1', 'developers') AS again;
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null
SELECT kind, tag FROM tailnet.pending;
CREATE FUNCTION pg_temp.reap() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    calls integer := 0;
BEGIN
    WHILE tailnet.reap((SELECT registration FROM tailnet_private.coordinators WHERE name = 'x')) > 0 LOOP
        calls := calls + 1;
    END LOOP;
    RETURN calls;
END
$$;
SELECT pg_temp.reap() > 0 AS reaped;
SELECT src_name, dst_name FROM tailnet.tunnels ORDER BY 1, 2;
SELECT replace(pg_temp.told('x'), :'p', 'p') AS x;
SELECT count(*) FROM tailnet.pending;

-- So it is with tags, and with the network.
SELECT tailnet.set_tags(:a2, '{}'), pg_temp.reap() > 0 AS reaped;
SELECT src_name, dst_name FROM tailnet.tunnels ORDER BY 1, 2;
SELECT tailnet.set_clients_reach_all_agents('n1', true), tailnet.set_clients_reach_all_agents('n1', true) AS again;
SELECT tailnet.open_tunnels(:'x', ARRAY[:c1, :c2, :'p']::uuid[], ARRAY[1, 2, :s]::bigint[], ARRAY[:a2, :a2, :a2]::uuid[]);
SELECT tailnet.explain_tunnel(:c2, :a2), tailnet.explain_tunnel(:c2, :c1);
SELECT tailnet.set_clients_reach_all_agents('n1', false), pg_temp.reap() > 0 AS reaped;
SELECT src_name, dst_name FROM tailnet.tunnels ORDER BY 1, 2;
SELECT tailnet.set_clients_reach_all_agents('n1', NULL);
SELECT tailnet.set_clients_reach_all_agents('nowhere', true);
SELECT tailnet.create_policy('n1', 'runners', 'dev', 'ci'), tailnet.set_tags(:a2, '{ci}');
SELECT tailnet.open_tunnels(:'x', ARRAY[:'p']::uuid[], ARRAY[:s]::bigint[], ARRAY[:a2]::uuid[]);
SELECT tailnet.set_tags(:'k', '{}'), pg_temp.reap() > 0 AS reaped;
SELECT src_name, dst_name FROM tailnet.tunnels ORDER BY 1, 2;
SELECT count(*) FROM tailnet.pending;

-- A change that breaks a test of policies fails when it commits, with the name of the test, and nothing has changed.
SELECT tailnet.set_tags(:a1, '{prod,owner=ann}'), tailnet.set_tags(:c1, '{dev,owner=bob}') \g /dev/null
SELECT tailnet.create_policy('n1', 'developers', 'dev', 'prod');
SELECT tailnet.create_policy_test('n1', 'developers reach prod', 'dev', 'prod', true);
SELECT tailnet.create_policy_test('n1', 'guests do not', 'guest', 'prod', false);
SELECT tailnet.create_policy_test('n1', 'c1 reaches a1', (:c1)::text, (:a1)::text, true);
SELECT * FROM tailnet.policy_tests ORDER BY name;
SELECT tailnet.create_policy_test('n1', 'guests do not', 'guest', 'prod', false);
SELECT tailnet.create_policy_test('n1', 'wrong from the beginning', 'guest', 'prod', true);
SELECT tailnet.create_policy_test('n1', 'x', 'Guest', 'prod', false);
SELECT tailnet.create_policy_test('n1', 'x', NULL, 'prod', false);
SELECT tailnet.create_policy_test('n1', 'x', 'guest', 'prod', NULL);
SELECT tailnet.create_policy_test('n1', '', 'guest', 'prod', false);
SELECT tailnet.create_policy_test('n1', 'x', 'guest', '00000000-0000-4000-8000-0000000000d1', false);
SELECT tailnet.drop_policy('n1', 'developers');
SELECT tailnet.create_policy('n1', 'guests', 'guest', 'prod');
SELECT tailnet.set_clients_reach_all_agents('n1', true);
SELECT name FROM tailnet.policies ORDER BY name;
SELECT count(*) FROM tailnet.pending;
-- In one transaction what breaks a test for a moment may be made good.
BEGIN;
SELECT tailnet.drop_policy('n1', 'developers'), tailnet.create_policy('n1', 'engineers', 'dev', 'prod');
COMMIT;
SELECT name FROM tailnet.policies ORDER BY name;
-- An end that is a peer has its role: a hub reaches all, an agent nobody, and no client reaches a hub.
SELECT tailnet.create_policy_test('n1', 'hub', (:b1)::text, 'anything', true), tailnet.create_policy_test('n1', 'agent', (:a1)::text, 'prod', false),
    tailnet.create_policy_test('n1', 'to hub', 'dev', (:b1)::text, false);
SELECT tailnet.create_policy_test('n1', 'hub again', (:b1)::text, 'anything', false);
-- With peers, a test knows tags and grants.
SELECT tailnet.set_tags(:c1, '{owner=bob}');
SELECT tailnet.revoke_tunnel(:c1, :a1), tailnet.set_tags(:c1, '{dev}');
BEGIN;
SELECT tailnet.set_tags(:c1, '{}'), tailnet.grant_tunnel(:c1, :a1);
COMMIT;
SELECT tailnet.revoke_tunnel(:c1, :a1);
SELECT tailnet.drop_policy_test('n1', 'c1 reaches a1'), tailnet.drop_policy_test('n1', 'c1 reaches a1') AS again;
SELECT tailnet.revoke_tunnel(:c1, :a1);
