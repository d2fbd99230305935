-- Sessions are ended, and peers and networks deleted, by operators. Each function writes what is to end into the table of what is
-- pending; the proxies make it true.

CREATE TABLE tailnet_private.tombstones (
    peer_id uuid PRIMARY KEY,
    key_id uuid NOT NULL REFERENCES tailnet_private.keys ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX tombstones_expires_at ON tailnet_private.tombstones (expires_at);
CREATE INDEX tombstones_key_id ON tailnet_private.tombstones (key_id);
COMMENT ON TABLE tailnet_private.tombstones IS 'Peers of shared keys that were deleted. Their resume tokens and the proofs of their sessions are refused';
COMMENT ON COLUMN tailnet_private.tombstones.peer_id IS 'The peer';
COMMENT ON COLUMN tailnet_private.tombstones.key_id IS 'The key that it came with';
COMMENT ON COLUMN tailnet_private.tombstones.expires_at IS 'When its last resume token has expired';
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.tombstones', '');

CREATE FUNCTION tailnet_private.network_of(peer uuid) RETURNS uuid
LANGUAGE plpgsql STABLE AS $$
DECLARE
    found uuid := coalesce(
        (SELECT i.network_id FROM tailnet_private.identities i WHERE i.id = network_of.peer),
        (SELECT p.network_id FROM tailnet_private.peers p WHERE p.id = network_of.peer));
BEGIN
    IF found IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = pg_catalog.format('there is no peer %s', coalesce(network_of.peer::text, 'NULL')),
            HINT = 'tailnet.peers lists those that are or were connected, tailnet.identities those with a token of their own.';
    END IF;
    RETURN found;
END
$$;
COMMENT ON FUNCTION tailnet_private.network_of(uuid) IS 'The network of a peer, with or without an identity. Raises an error if there is no such peer';

CREATE FUNCTION tailnet.disconnect_peer(peer uuid) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tailnet_private.network_of(disconnect_peer.peer);
    INSERT INTO tailnet_private.pending (kind, peer_id, session)
    SELECT 'session', p.id, p.session
    FROM tailnet_private.peers p WHERE p.id = disconnect_peer.peer AND p.coordinator_id IS NOT NULL;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION tailnet.disconnect_peer(uuid) IS 'Ends the session that a peer has now. The peer may connect again, and its tunnels stay. Returns false if it has none';

CREATE FUNCTION tailnet.delete_peer(peer uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    of_network uuid := tailnet_private.network_of(delete_peer.peer);
    test text;
BEGIN
    PERFORM tailnet_private.lock_network(of_network);
    SELECT t.name INTO test FROM tailnet_private.policy_tests t
    WHERE t.network_id = of_network AND delete_peer.peer IN (t.source_id, t.destination_id) LIMIT 1;
    IF test IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'dependent_objects_still_exist',
            MESSAGE = pg_catalog.format('policy test %L names peer %s', test, delete_peer.peer),
            HINT = 'Drop it first: SELECT tailnet.drop_policy_test(network, name).';
    END IF;
    INSERT INTO tailnet_private.tombstones (peer_id, key_id, expires_at)
    SELECT p.id, p.key_id, pg_catalog.clock_timestamp() + '30 days'::interval
    FROM tailnet_private.peers p WHERE p.id = delete_peer.peer AND p.key_id IS NOT NULL
    ON CONFLICT DO NOTHING;
    INSERT INTO tailnet_private.pending (kind, peer_id) VALUES ('peer', delete_peer.peer);
    DELETE FROM tailnet_private.tags t WHERE t.owner_id = delete_peer.peer;
    DELETE FROM tailnet_private.identities i WHERE i.id = delete_peer.peer;
END
$$;
COMMENT ON FUNCTION tailnet.delete_peer(uuid) IS 'Deletes a peer with its token, grants and tags. Its session and its tunnels end, and it cannot connect again. Connection logs stay';

CREATE FUNCTION tailnet.delete_network(network text, force boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    of_network uuid := tailnet_private.locked_network(delete_network.network);
    sessions bigint;
BEGIN
    SELECT pg_catalog.count(*) INTO sessions FROM tailnet_private.peers p
    WHERE p.network_id = of_network AND p.coordinator_id IS NOT NULL;
    IF sessions > 0 AND delete_network.force IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'object_in_use',
            MESSAGE = pg_catalog.format('network %L has %s sessions', delete_network.network, sessions),
            HINT = 'SELECT tailnet.delete_network(network, force => true) ends them.';
    END IF;
    -- In the order of tailnet.enrol, which locks a key and then needs the row of the network.
    PERFORM FROM tailnet_private.keys k WHERE k.network_id = of_network ORDER BY k.id FOR UPDATE;
    -- The name is free at once, and nobody comes in. The rest goes in turns, so that other networks need not wait.
    UPDATE tailnet_private.networks n SET name = 'deleted ' || n.id, deleted_at = pg_catalog.clock_timestamp()
    WHERE n.id = of_network;
    UPDATE tailnet_private.identities i SET revoked_at = pg_catalog.clock_timestamp()
    WHERE i.network_id = of_network AND i.revoked_at IS NULL;
    UPDATE tailnet_private.keys k SET ended_at = pg_catalog.clock_timestamp() WHERE k.network_id = of_network AND k.ended_at IS NULL;
    DELETE FROM tailnet_private.policy_tests t WHERE t.network_id = of_network;
    INSERT INTO tailnet_private.pending (kind, network_id, after_id)
    VALUES ('network_end', of_network, '00000000-0000-0000-0000-000000000000');
END
$$;
COMMENT ON FUNCTION tailnet.delete_network(text, boolean) IS 'Deletes a network with all its peers, keys and policies. Refused while peers are connected, unless forced. Its name is free at once, its sessions and rows go within seconds. Connection logs stay';
