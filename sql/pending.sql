-- What operators have taken away, and the proxies have yet to end. This table is logged, like the facts that its rows are about.
--
-- A function of an operator writes the fact and a row here, and tells nobody. So it holds no lock of NOTIFY while its commit
-- is written to disk. The proxies call tailnet.reap, which ends what the rows name and tells those who must hear of it.

CREATE TABLE tailnet_private.pending (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN (
        'peer', 'tunnel', 'outbound', 'inbound', 'key', 'token', 'key_tunnels', 'key_outbound', 'policy', 'network',
        'derp_map', 'session', 'network_end')),
    network_id uuid,
    peer_id uuid,
    dst_id uuid,
    key_id uuid,
    token_number integer,
    session bigint,
    tag text COLLATE "C",
    after_tag text COLLATE "C",
    after_id uuid,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    CHECK ((peer_id IS NOT NULL) = (kind IN ('peer', 'session', 'tunnel', 'outbound', 'inbound'))),
    CHECK ((dst_id IS NOT NULL) = (kind = 'tunnel')),
    CHECK ((key_id IS NOT NULL) = (kind IN ('key', 'token', 'key_tunnels', 'key_outbound'))),
    CHECK ((token_number IS NOT NULL) = (kind = 'token')),
    CHECK ((session IS NOT NULL) = (kind = 'session')),
    CHECK (kind = 'derp_map' OR (network_id IS NOT NULL) = (kind IN ('policy', 'network', 'network_end'))),
    CHECK ((tag IS NOT NULL) = (kind = 'policy') AND (after_tag IS NOT NULL) = (kind = 'policy')),
    CHECK ((after_id IS NULL) = (kind IN ('peer', 'session', 'tunnel', 'key', 'token', 'derp_map')))
);
COMMENT ON TABLE tailnet_private.pending IS 'What operators have taken away, and the proxies have yet to end. A row is deleted when all that it names has ended';
COMMENT ON COLUMN tailnet_private.pending.id IS 'The order in which the rows are worked off';
COMMENT ON COLUMN tailnet_private.pending.kind IS 'What is to end: peer (its session and its tunnels), session (of a peer), network_end (all of a network that is deleted), key (its peers), token (the peers of a key that came with it). Which tunnels are to be judged, and closed if nothing allows them: tunnel, outbound and inbound (of a peer), key_tunnels and key_outbound (of the peers of a key), policy (those of clients with its tag), network (those of its clients). derp_map: the proxies are to be told that it has changed';
COMMENT ON COLUMN tailnet_private.pending.network_id IS 'The network of a policy or of a DERP map, or the network; NULL: the row is about none, or about the DERP map of all networks';
COMMENT ON COLUMN tailnet_private.pending.peer_id IS 'The peer, or the peer that opened the tunnel; NULL: the row is about neither';
COMMENT ON COLUMN tailnet_private.pending.dst_id IS 'The peer that the tunnel leads to; NULL: the row is not about a tunnel';
COMMENT ON COLUMN tailnet_private.pending.key_id IS 'The key; NULL: the row is not about a key or token';
COMMENT ON COLUMN tailnet_private.pending.token_number IS 'The token of the key; NULL: the row is not about a token';
COMMENT ON COLUMN tailnet_private.pending.session IS 'The session of the peer; NULL: the row is not about a session';
COMMENT ON COLUMN tailnet_private.pending.tag IS 'The source tag of the policy; NULL: the row is not about a policy';
COMMENT ON COLUMN tailnet_private.pending.after_tag IS 'How far a policy has come: the clients after this tag and after_id are left; NULL: the row is not about a policy';
COMMENT ON COLUMN tailnet_private.pending.after_id IS 'How far it has come: the peers after this one are left; NULL: it is worked off at once';
COMMENT ON COLUMN tailnet_private.pending.created_at IS 'When it was taken away, by the clock of the database';
COMMENT ON SEQUENCE tailnet_private.pending_id_seq IS 'The ids of the rows that are pending';
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.pending', '');
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.pending_id_seq', '');

CREATE VIEW tailnet.pending AS
SELECT id, kind, network_id, peer_id, dst_id, key_id, token_number, session, tag, after_tag, after_id, created_at
FROM tailnet_private.pending;
COMMENT ON VIEW tailnet.pending IS 'What operators have taken away, and the proxies have yet to end';
