-- Finds the peers of tokens. It holds no lock, so it may return rows.

CREATE FUNCTION tailnet.authenticate(token_hashes bytea[])
RETURNS TABLE (ordinal integer, peer_id uuid, role text, session bigint)
LANGUAGE sql VOLATILE STRICT ROWS 500 AS $$
    SELECT q.ord::integer, i.id, i.role, pg_catalog.nextval('tailnet_private.sessions')
    FROM unnest(token_hashes) WITH ORDINALITY q(hash, ord)
    JOIN tailnet_private.identities i ON i.token_sha256 = q.hash
    WHERE i.revoked_at IS NULL
$$;
COMMENT ON FUNCTION tailnet.authenticate(bytea[]) IS 'For each SHA-256 of a valid token: its place in the array, the peer, and the number of the session that it may open now';
