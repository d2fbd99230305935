-- What operators have taken away, and the proxies have yet to end. This table is logged, like the facts that its rows are about.
--
-- A function of an operator writes the fact and a row here, and tells nobody. So it holds no lock of NOTIFY while its commit
-- is written to disk. The proxies call tailnet.reap, which ends what the rows name and tells those who must hear of it.

CREATE TABLE tailnet_private.pending (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    peer_id uuid NOT NULL,
    dst_id uuid,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    CONSTRAINT pending_kind_check
        CHECK (kind = 'peer' AND dst_id IS NULL OR kind = 'tunnel' AND dst_id IS NOT NULL)
);
COMMENT ON TABLE tailnet_private.pending IS 'What operators have taken away, and the proxies have yet to end. A row is deleted when all that it names has ended';
COMMENT ON COLUMN tailnet_private.pending.id IS 'The order in which the rows are worked off';
COMMENT ON COLUMN tailnet_private.pending.kind IS 'peer (its session and its tunnels are to end) or tunnel (it is to be closed, if nothing else allows it)';
COMMENT ON COLUMN tailnet_private.pending.peer_id IS 'The peer, or the peer that opened the tunnel';
COMMENT ON COLUMN tailnet_private.pending.dst_id IS 'The peer that the tunnel leads to; NULL: the row is about a peer';
COMMENT ON COLUMN tailnet_private.pending.created_at IS 'When it was taken away, by the clock of the database';
COMMENT ON SEQUENCE tailnet_private.pending_id_seq IS 'The ids of the rows that are pending';
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.pending', '');
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.pending_id_seq', '');

CREATE VIEW tailnet.pending AS
SELECT id, kind, peer_id, dst_id, created_at
FROM tailnet_private.pending;
COMMENT ON VIEW tailnet.pending IS 'What operators have taken away, and the proxies have yet to end';
