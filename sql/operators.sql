-- The functions of operators. Two more, revoke_peer and revoke_tunnel, are written in Rust, because they take the lock of the
-- network.

CREATE FUNCTION tailnet.create_network(name text) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    made uuid;
BEGIN
    IF create_network.name IS NULL OR create_network.name = '' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a network needs a name';
    END IF;
    INSERT INTO tailnet_private.networks AS n (name) VALUES (create_network.name)
    ON CONFLICT ON CONSTRAINT networks_name_key DO NOTHING
    RETURNING n.id INTO made;
    IF made IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation',
            MESSAGE = pg_catalog.format('network %L exists already', create_network.name);
    END IF;
    RETURN made;
END
$$;
COMMENT ON FUNCTION tailnet.create_network(text) IS 'Makes a network and returns its id';

CREATE FUNCTION tailnet_private.network_id(network text) RETURNS uuid
LANGUAGE plpgsql STABLE AS $$
DECLARE
    found uuid := (SELECT n.id FROM tailnet_private.networks n WHERE n.name = network_id.network AND n.deleted_at IS NULL);
BEGIN
    IF found IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = pg_catalog.format('there is no network %L', network_id.network),
            HINT = 'SELECT tailnet.create_network(name) makes one.';
    END IF;
    RETURN found;
END
$$;
COMMENT ON FUNCTION tailnet_private.network_id(text) IS 'The id of a network. Raises an error if there is none of this name';

CREATE FUNCTION tailnet_private.lock_network(network uuid) RETURNS void
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'lock_network_wrapper';
COMMENT ON FUNCTION tailnet_private.lock_network(uuid) IS 'Waits for the turn of a network, until the transaction ends';

CREATE FUNCTION tailnet_private.locked_network(network text) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    found uuid := tailnet_private.network_id(locked_network.network);
BEGIN
    PERFORM tailnet_private.lock_network(found);
    -- It may have been deleted while this waited.
    IF NOT EXISTS (SELECT FROM tailnet_private.networks n WHERE n.id = found AND n.deleted_at IS NULL) THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = pg_catalog.format('network %L was just deleted', locked_network.network);
    END IF;
    RETURN found;
END
$$;
COMMENT ON FUNCTION tailnet_private.locked_network(text) IS 'The id of a network, after it waited for the turn of it. Raises an error if there is none of this name';

CREATE FUNCTION tailnet.set_agent_timeouts(network text, connect_timeout interval, inactive_timeout interval) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF connect_timeout > '0' IS NOT TRUE OR inactive_timeout > '0' IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a timeout is NULL or not above zero, expected an interval';
    END IF;
    UPDATE tailnet_private.networks n
    SET agent_connect_timeout = connect_timeout, agent_inactive_timeout = inactive_timeout
    WHERE n.id = tailnet_private.network_id(set_agent_timeouts.network);
END
$$;
COMMENT ON FUNCTION tailnet.set_agent_timeouts(text, interval, interval) IS 'Sets after how long the agents of a network have status timeout (not connected yet) and disconnected (not heard)';

CREATE FUNCTION tailnet_private.new_token() RETURNS text
LANGUAGE sql VOLATILE AS $$
    -- Two random uuids have 244 bits from the system's strong generator. The last four characters are the beginning of the
    -- SHA-256 of the rest: a proxy refuses a mistyped token without a query. All is in the URL-safe base64 alphabet.
    SELECT t.body || pg_catalog.translate(pg_catalog.encode(
               pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to(t.body, 'UTF8')), 1, 3), 'base64'), '+/', '-_')
    FROM (
        SELECT 'tnk_' || pg_catalog.rtrim(pg_catalog.translate(pg_catalog.encode(
            pg_catalog.uuid_send(pg_catalog.gen_random_uuid()) || pg_catalog.uuid_send(pg_catalog.gen_random_uuid()),
            'base64'), '+/', '-_'), '=') AS body
    ) t
$$;
COMMENT ON FUNCTION tailnet_private.new_token() IS 'Makes a token: a prefix, 244 random bits, and a checksum. Only its SHA-256 is stored';

CREATE FUNCTION tailnet_private.token_sha256(token text) RETURNS bytea
LANGUAGE sql IMMUTABLE AS $$
    SELECT pg_catalog.sha256(pg_catalog.convert_to(token_sha256.token, 'UTF8'))
$$;
COMMENT ON FUNCTION tailnet_private.token_sha256(text) IS 'The hash of a token, which is all that is stored of it';

CREATE FUNCTION tailnet.create_peer(
    network text, role text, name text DEFAULT NULL, id uuid DEFAULT pg_catalog.gen_random_uuid(),
    known_token text DEFAULT NULL, OUT peer_id uuid, OUT token text)
LANGUAGE plpgsql AS $$
DECLARE
    network_id uuid := tailnet_private.network_id(create_peer.network);
BEGIN
    -- It cannot be deleted before this transaction ends. If it is being deleted, this waits, and then it is not found.
    PERFORM FROM tailnet_private.networks n WHERE n.id = network_id AND n.deleted_at IS NULL FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = pg_catalog.format('network %L was just deleted', create_peer.network);
    END IF;
    IF create_peer.role IS NULL OR create_peer.role NOT IN ('agent', 'client', 'hub') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = pg_catalog.format('unknown role %L, expected agent, client or hub', create_peer.role);
    END IF;
    IF create_peer.name = '' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the name of a peer is empty, expected a name or NULL';
    END IF;
    IF create_peer.id IS NULL OR create_peer.id = '00000000-0000-0000-0000-000000000000' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the id of a peer is NULL or the nil uuid, expected another uuid';
    END IF;
    IF create_peer.known_token !~ '^[A-Za-z0-9_-]+$' OR create_peer.known_token ~ '^tn[kr]_'
       OR pg_catalog.length(create_peer.known_token) NOT BETWEEN 22 AND 256 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'known_token is not 22 to 256 letters, digits, "-" and "_", or begins like a token that the extension makes',
            HINT = 'It must have at least 122 random bits, as a random uuid has.';
    END IF;
    IF EXISTS (SELECT FROM tailnet_private.identities i WHERE i.token_sha256 = tailnet_private.token_sha256(create_peer.known_token)) THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = 'known_token is the token of another peer';
    END IF;
    -- What is left of another peer would go on as this one.
    IF EXISTS (SELECT FROM tailnet_private.peers p WHERE p.id = create_peer.id)
       AND NOT EXISTS (SELECT FROM tailnet_private.identities i WHERE i.id = create_peer.id) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_in_use',
            MESSAGE = pg_catalog.format('peer %s came with a shared key, or was just deleted and its session has not ended yet', create_peer.id),
            HINT = 'A peer that was deleted is gone when tailnet.peers does not show it any more.';
    END IF;
    token := coalesce(create_peer.known_token, tailnet_private.new_token());
    INSERT INTO tailnet_private.identities AS i (id, network_id, role, name, token_sha256)
    VALUES (create_peer.id, network_id, create_peer.role, create_peer.name, tailnet_private.token_sha256(token))
    ON CONFLICT ON CONSTRAINT identities_pkey DO NOTHING
    RETURNING i.id INTO peer_id;
    IF peer_id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation',
            MESSAGE = pg_catalog.format('peer %s exists already', create_peer.id);
    END IF;
END
$$;
COMMENT ON FUNCTION tailnet.create_peer(text, text, text, uuid, text) IS 'Makes an identity in a network, with role agent, client or hub. known_token: a token that the peer has already, such as a random uuid; NULL: a new one is made. The token is never shown again';

CREATE FUNCTION tailnet_private.expect_role(peer uuid, expected text) RETURNS uuid
LANGUAGE plpgsql STABLE AS $$
DECLARE
    found record;
BEGIN
    SELECT i.network_id, i.role INTO found FROM tailnet_private.identities i WHERE i.id = expect_role.peer;
    IF found IS NULL AND (SELECT p.key_id FROM tailnet_private.peers p WHERE p.id = expect_role.peer) IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'wrong_object_type',
            MESSAGE = pg_catalog.format('peer %s came with a shared key, expected a peer with an identity', expect_role.peer),
            HINT = 'Its key says what it may do: it has no grants of its own.';
    END IF;
    IF found IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = pg_catalog.format('there is no peer %s', coalesce(expect_role.peer::text, 'NULL')),
            HINT = 'SELECT * FROM tailnet.create_peer(network, role, name) makes one.';
    END IF;
    IF found.role <> expect_role.expected THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = pg_catalog.format('peer %s has role %s, expected %s', expect_role.peer, found.role, expect_role.expected);
    END IF;
    RETURN found.network_id;
END
$$;
COMMENT ON FUNCTION tailnet_private.expect_role(uuid, text) IS 'Returns the network of a peer. Raises an error if there is no such peer, or if it has another role';

CREATE FUNCTION tailnet.grant_tunnel(client uuid, agent uuid) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF tailnet_private.expect_role(client, 'client') <> tailnet_private.expect_role(agent, 'agent') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = pg_catalog.format('client %s and agent %s are in different networks', client, agent),
            HINT = 'Tunnels never cross networks.';
    END IF;
    INSERT INTO tailnet_private.grants (client_id, agent_id) VALUES (client, agent) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM tailnet_private.note_policy_check(tailnet_private.expect_role(client, 'client'));
    RETURN true;
END
$$;
COMMENT ON FUNCTION tailnet.grant_tunnel(uuid, uuid) IS 'Allows a client to open tunnels to an agent. Returns false if it was allowed already';

CREATE FUNCTION tailnet.rotate_token(peer uuid) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    token text := tailnet_private.new_token();
BEGIN
    UPDATE tailnet_private.identities i SET token_sha256 = tailnet_private.token_sha256(token)
    WHERE i.id = rotate_token.peer AND i.revoked_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = pg_catalog.format('there is no peer %s with a good token', coalesce(rotate_token.peer::text, 'NULL')),
            HINT = 'A revoked peer stays revoked: make a new one with tailnet.create_peer.';
    END IF;
    RETURN token;
END
$$;
COMMENT ON FUNCTION tailnet.rotate_token(uuid) IS 'Makes a new token for a peer; it is never shown again. The old token is refused from now on. A live session goes on';
