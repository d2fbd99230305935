-- Finds the peers of tokens. It holds no lock, so it may return rows.

CREATE FUNCTION tailnet.authenticate(token_hashes bytea[])
RETURNS TABLE (ordinal integer, peer_id uuid, role text, session bigint, proof text)
LANGUAGE sql VOLATILE STRICT ROWS 500 AS $$
    SELECT a.ord::integer, a.id, a.role, a.session,
           tailnet_private.prove_session(k.secret, k.number, a.network_id, a.id, a.session)
    FROM (
        SELECT q.ord, i.id, i.role, i.network_id, pg_catalog.nextval('tailnet_private.sessions') AS session
        FROM unnest(token_hashes) WITH ORDINALITY q(hash, ord)
        JOIN tailnet_private.identities i ON i.token_sha256 = q.hash
        WHERE i.revoked_at IS NULL
    ) a
    CROSS JOIN (SELECT s.number, s.secret FROM tailnet_private.secrets s ORDER BY s.number DESC LIMIT 1) k
$$;
COMMENT ON FUNCTION tailnet.authenticate(bytea[]) IS 'For each SHA-256 of a valid token: its place in the array, the peer, the number of the session that it may open now, and the proof of that number';
