-- DERP maps: what a client could not use is refused, versions rise, and a network without a map has that of all networks.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup
\set good '{"Regions": {"1": {"RegionID": 1, "Nodes": [{"Name": "1a", "RegionID": 1, "HostName": "derp.example.com"}]}}}'

-- What each network has, with versions counted from here.
CREATE VIEW found AS
SELECT n.name, m.version - (SELECT last_value FROM tailnet_private.derp_map_versions) AS version,
       m.map::jsonb -> 'Regions' -> '1' ->> 'RegionCode' AS code, m.map IS NULL AS none
FROM tailnet_private.networks n
CROSS JOIN LATERAL tailnet.derp_maps_of(ARRAY[n.id]) m
WHERE n.name IN ('n1', 'n2') ORDER BY n.name;
SELECT name, none FROM found;

SELECT tailnet.set_derp_map('nowhere', :'good');
SELECT tailnet.set_derp_map('n1', '{}');
SELECT tailnet.set_derp_map('n1', '{"Regions": {}}');
SELECT tailnet.set_derp_map('n1', '{"Regions": {"1": {"RegionID": 2}}}');
SELECT tailnet.set_derp_map('n1', '{"Regions": {"1": {"RegionID": 1, "Nodes": [{"Name": "a", "RegionID": 1, "HostName": "x", "STUNOnly": true}]}}}');
SELECT tailnet.set_derp_map('n1', '{"Regions": {"1": {"RegionID": 1, "Nodes": [{"Name": "a", "RegionID": 1, "HostName": "x", "DERPPort": 70000}]}}}');
SELECT count(*) FROM tailnet.derp_maps;
SELECT count(*) FROM tailnet.pending WHERE kind = 'derp_map';

-- The map of all networks, then one of its own, which hides a change of the other.
SELECT tailnet.set_derp_map(NULL, jsonb_set(:'good', '{Regions,1,RegionCode}', '"all"')) > 0 AS made;
SELECT * FROM found;
SELECT tailnet.set_derp_map('n1', jsonb_set(:'good', '{Regions,1,RegionCode}', '"own"')) > 0 AS made;
SELECT tailnet.set_derp_map(NULL, jsonb_set(:'good', '{Regions,1,RegionCode}', '"new"')) > 0 AS made;
SELECT * FROM found;
-- It is taken away: the version still rises.
SELECT tailnet.set_derp_map('n1', NULL) > 0 AS made;
SELECT * FROM found;
SELECT tailnet.set_derp_map(NULL, NULL) > 0 AS made;
SELECT * FROM found;

SELECT network, map, changed_by = session_user AS by_me, changed_at <= clock_timestamp() AS now FROM tailnet.derp_maps ORDER BY network;
SELECT kind, network_id IS NULL AS all_networks FROM tailnet.pending WHERE kind = 'derp_map' ORDER BY id;
SELECT * FROM tailnet.derp_maps_of(NULL);
SELECT * FROM tailnet.derp_maps_of('{}');

-- Who may dial whom, before there is a session.
SELECT peer_id AS client, sha256(convert_to(token, 'UTF8')) AS client_token FROM tailnet.create_peer('n1', 'client') \gset
SELECT sha256(convert_to(token, 'UTF8')) AS hub_token FROM tailnet.create_peer('n1', 'hub') \gset
SELECT key_id AS key, sha256(convert_to(token, 'UTF8')) AS key_token FROM tailnet.create_key('n1', 'client', 'k', 'shared') \gset
PREPARE dials(bytea, bytea, bytea, uuid) AS
SELECT tailnet.judge_dials(ARRAY[$1, $2, $3, '\x00'], ARRAY[$4, $4, $4, $4]) AS client_hub_key_unknown;
EXECUTE dials(:'client_token', :'hub_token', :'key_token', :a1);
SELECT tailnet.grant_tunnel(:'client', :a1);
EXECUTE dials(:'client_token', :'hub_token', :'key_token', :a1);
SELECT tailnet.set_clients_reach_all_agents('n1', true);
EXECUTE dials(:'client_token', :'hub_token', :'key_token', :a1);
EXECUTE dials(:'client_token', :'hub_token', :'key_token', :d1);
EXECUTE dials(:'client_token', :'hub_token', :'key_token', :c1);
EXECUTE dials(:'client_token', :'hub_token', :'key_token', gen_random_uuid());
SELECT tailnet.revoke_key(:'key');
EXECUTE dials(:'client_token', :'hub_token', :'key_token', :a1);
SELECT tailnet.revoke_peer(:a1);
EXECUTE dials(:'client_token', :'hub_token', :'key_token', :a1);
SELECT tailnet.judge_dials('{}', '{}');
SELECT tailnet.judge_dials(NULL, '{}');
DROP VIEW found;
