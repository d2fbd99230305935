-- All specs start with this: functions with short names for what the specs need often. A spec cannot contain braces, so the
-- functions make arrays and JSON.

CREATE FUNCTION id(name text) RETURNS uuid LANGUAGE sql IMMUTABLE
    AS $$ SELECT ('00000000-0000-4000-8000-0000000000' || name)::uuid $$;
CREATE FUNCTION ids(VARIADIC names text[]) RETURNS uuid[] LANGUAGE sql IMMUTABLE
    AS $$ SELECT array_agg(id(n)) FROM unnest(names) n $$;
CREATE FUNCTION node(key text) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$ SELECT json_build_object('key', key)::text $$;

-- Connections of agent a1, numbered in the order of the keys of their rows.
CREATE FUNCTION nth(n integer) RETURNS uuid LANGUAGE sql AS $$
    SELECT connection FROM generate_series(1, 9) i, md5(i::text) m, CAST(m AS uuid) connection
    ORDER BY tailnet_private.connection_key(connection, NULL, 'a1') OFFSET n - 1 LIMIT 1
$$;
CREATE FUNCTION began(n integer) RETURNS json LANGUAGE sql AS $$
    SELECT json_build_object('agent_id', id('a1'), 'connection_id', nth(n), 'type', 'ssh', 'connect_time', timestamptz '2026-01-01')
$$;
CREATE FUNCTION ended(n integer) RETURNS json LANGUAGE sql AS $$
    SELECT json_build_object('agent_id', id('a1'), 'connection_id', nth(n), 'type', 'ssh', 'disconnect_time', timestamptz '2026-01-02')
$$;

-- The coordinators have fixed registrations, so that the expected output can contain the names of their channels.
CREATE FUNCTION reg(coordinator text) RETURNS uuid LANGUAGE sql IMMUTABLE
    AS $$ SELECT id('f' || translate(coordinator, 'xyz', '123')) $$;
CREATE FUNCTION hear(coordinator text) RETURNS void LANGUAGE plpgsql
    AS $$ BEGIN EXECUTE 'LISTEN tailnet_' || replace(reg(coordinator)::text, '-', ''); END $$;

-- The proofs that the extension would give with these session numbers, and calls with them.
CREATE FUNCTION proofs(peers uuid[], sessions bigint[]) RETURNS text[] LANGUAGE sql AS $$
    SELECT array_agg(tailnet_private.prove_session(
        k.secret, k.number, i.network_id, q.peer, '00000000-0000-0000-0000-000000000000', 0, q.session) ORDER BY q.ord)
    FROM unnest(peers, sessions) WITH ORDINALITY q(peer, session, ord)
    JOIN tailnet_private.identities i ON i.id = q.peer
    CROSS JOIN (SELECT * FROM tailnet_private.secrets ORDER BY number DESC LIMIT 1) k
$$;
CREATE FUNCTION attach_peers(registration uuid, peers uuid[], sessions bigint[]) RETURNS integer
LANGUAGE sql AS 'SELECT tailnet.attach_peers($1, $2, $3, proofs($2, $3))';
CREATE FUNCTION disconnect_peers(registration uuid, peers uuid[], sessions bigint[]) RETURNS integer
LANGUAGE sql AS 'SELECT tailnet.disconnect_peers($1, $2, $3, proofs($2, $3))';

-- Network n1 with agents a1 and a2 and hub b1, network n2 with agent d1; coordinators x, y and z.
CREATE PROCEDURE start() LANGUAGE sql AS $$
    INSERT INTO tailnet_private.networks (id, name) VALUES (id('01'), 'n1'), (id('02'), 'n2');
    SELECT tailnet.create_peer('n1', 'agent', 'a1', id('a1')), tailnet.create_peer('n1', 'agent', 'a2', id('a2')),
           tailnet.create_peer('n1', 'hub', 'b1', id('b1')), tailnet.create_peer('n2', 'agent', 'd1', id('d1'));
    INSERT INTO tailnet_private.secrets (secret) SELECT sha256('test') WHERE NOT EXISTS (SELECT FROM tailnet_private.secrets);
    INSERT INTO tailnet_private.coordinators (id, name, registration, registered_at, heartbeat_at, on_time_since, protocol)
    SELECT id('e' || translate(name, 'xyz', '123')), name, reg(name), clock_timestamp(), clock_timestamp(), clock_timestamp(), 1
    FROM unnest('{x,y,z}'::text[]) name;
$$;
CREATE PROCEDURE stop() LANGUAGE sql AS $$
    TRUNCATE tailnet_private.networks, tailnet_private.identities, tailnet_private.grants, tailnet_private.pending, tailnet_private.enrolments, tailnet_private.tombstones, tailnet_private.keys,
        tailnet_private.tokens, tailnet_private.key_peers, tailnet_private.tags, tailnet_private.policies, tailnet_private.policy_tests, tailnet_private.derp_maps, tailnet_private.coordinators,
        tailnet_private.restoration, tailnet_private.peers, tailnet_private.tunnels, tailnet_private.agent_connections, tailnet_private.agent_states, tailnet_private.agent_info, tailnet_private.connection_logs;
$$;

-- Waits until a query returns a row, at most 30 s.
CREATE PROCEDURE wait_for(query text) LANGUAGE plpgsql AS $$
DECLARE
    found boolean;
BEGIN
    FOR i IN 1..3000 LOOP
        EXECUTE 'SELECT EXISTS (' || query || ')' INTO found;
        IF found THEN RETURN; END IF;
        COMMIT;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RAISE EXCEPTION 'still no row after 30 s: %', query;
END
$$;
