-- What operators have taken away, and the proxies have yet to end. This table is logged, like the facts that its rows are about.
--
-- A function of an operator writes the fact and a row here, and tells nobody. So it holds no lock of NOTIFY while its commit
-- is written to disk. The proxies call tailnet.reap, which ends what the rows name and tells those who must hear of it.

CREATE TABLE tailnet_private.pending (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('peer', 'tunnel', 'key', 'token')),
    peer_id uuid CHECK ((peer_id IS NOT NULL) = (kind IN ('peer', 'tunnel'))),
    dst_id uuid CHECK ((dst_id IS NOT NULL) = (kind = 'tunnel')),
    key_id uuid CHECK ((key_id IS NOT NULL) = (kind IN ('key', 'token'))),
    token_number integer CHECK ((token_number IS NOT NULL) = (kind = 'token')),
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE tailnet_private.pending IS 'What operators have taken away, and the proxies have yet to end. A row is deleted when all that it names has ended';
COMMENT ON COLUMN tailnet_private.pending.id IS 'The order in which the rows are worked off';
COMMENT ON COLUMN tailnet_private.pending.kind IS 'peer (its session and its tunnels are to end), tunnel (it is to be closed, if nothing else allows it), key (its peers are to end) or token (the peers of a key that came with it are to end)';
COMMENT ON COLUMN tailnet_private.pending.peer_id IS 'The peer, or the peer that opened the tunnel; NULL: the row is about a key';
COMMENT ON COLUMN tailnet_private.pending.dst_id IS 'The peer that the tunnel leads to; NULL: the row is not about a tunnel';
COMMENT ON COLUMN tailnet_private.pending.key_id IS 'The key; NULL: the row is not about a key or token';
COMMENT ON COLUMN tailnet_private.pending.token_number IS 'The token of the key; NULL: the row is not about a token';
COMMENT ON COLUMN tailnet_private.pending.created_at IS 'When it was taken away, by the clock of the database';
COMMENT ON SEQUENCE tailnet_private.pending_id_seq IS 'The ids of the rows that are pending';
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.pending', '');
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.pending_id_seq', '');

CREATE VIEW tailnet.pending AS
SELECT id, kind, peer_id, dst_id, key_id, token_number, created_at
FROM tailnet_private.pending;
COMMENT ON VIEW tailnet.pending IS 'What operators have taken away, and the proxies have yet to end';
