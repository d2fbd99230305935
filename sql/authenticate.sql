-- Finds the peers of tokens. It holds no lock, so it may return rows.

CREATE FUNCTION tailnet_private.resume_secret(resume text) RETURNS integer
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'resume_secret_wrapper';
COMMENT ON FUNCTION tailnet_private.resume_secret(text) IS 'The number of the secret that made a resume token; NULL: it is malformed or expired';
REVOKE ALL ON FUNCTION tailnet_private.resume_secret(text) FROM PUBLIC;

CREATE FUNCTION tailnet_private.resumed_peer(secret bytea, resume text, network uuid, key uuid) RETURNS uuid
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'resumed_peer_wrapper';
COMMENT ON FUNCTION tailnet_private.resumed_peer(bytea, text, uuid, uuid) IS 'The peer of a resume token; NULL: it is forged, or of another key or network';
REVOKE ALL ON FUNCTION tailnet_private.resumed_peer(bytea, text, uuid, uuid) FROM PUBLIC;

CREATE FUNCTION tailnet_private.resume_token(secret bytea, number integer, network uuid, key uuid, peer uuid) RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'resume_token_wrapper';
COMMENT ON FUNCTION tailnet_private.resume_token(bytea, integer, uuid, uuid, uuid) IS 'A resume token for a peer of a key: with it the next connection is the same peer';
REVOKE ALL ON FUNCTION tailnet_private.resume_token(bytea, integer, uuid, uuid, uuid) FROM PUBLIC;

CREATE FUNCTION tailnet.authenticate(token_hashes bytea[], resumes text[])
RETURNS TABLE (ordinal integer, refused text, peer_id uuid, role text, session bigint, proof text, resume text,
               network_id uuid)
LANGUAGE plpgsql VOLATILE STRICT ROWS 500 AS $$
#variable_conflict use_column
BEGIN
    -- A function in SQL would be planned anew in each call, which costs more than to check the tokens.
    --
    -- At most once a minute for each key. A row that another call writes just now is left to that call.
    UPDATE tailnet_private.keys k SET last_used_at = pg_catalog.clock_timestamp()
    FROM (
        SELECT u.id
        FROM (SELECT DISTINCT h.hash FROM unnest(token_hashes) h(hash)) q
        JOIN tailnet_private.tokens t ON t.sha256 = q.hash
        JOIN tailnet_private.keys u ON u.id = t.key_id
        WHERE u.last_used_at IS NULL OR u.last_used_at < pg_catalog.clock_timestamp() - '1 min'::interval
        FOR UPDATE OF u SKIP LOCKED
    ) used
    WHERE k.id = used.id;

    RETURN QUERY
    SELECT a.ord::integer, a.refused, a.peer, a.role, a.session,
           tailnet_private.prove_session(k.secret, k.number, a.network_id, a.peer, a.key, a.token, a.session),
           CASE WHEN a.refused IS NULL AND a.shared
                THEN tailnet_private.resume_token(k.secret, k.number, a.network_id, a.key, a.peer) END,
           a.network_id
    FROM (
        SELECT q.ord, c.refused, c.peer, c.role, c.network_id, c.key, c.token, c.shared,
               CASE WHEN c.refused IS NULL THEN pg_catalog.nextval('tailnet_private.sessions') END AS session
        FROM unnest(token_hashes, resumes) WITH ORDINALITY q(hash, resume, ord)
        CROSS JOIN LATERAL (
            SELECT CASE WHEN i.expires_at <= pg_catalog.clock_timestamp() THEN 'expired'
                        WHEN i.revoked_at IS NOT NULL THEN 'revoked' END AS refused,
                   i.id AS peer, i.role, i.network_id, '00000000-0000-0000-0000-000000000000'::uuid AS key, 0 AS token,
                   false AS shared
            FROM tailnet_private.identities i
            WHERE i.token_sha256 = q.hash
            UNION ALL
            SELECT CASE WHEN y.expires_at <= pg_catalog.clock_timestamp() OR t.expires_at <= pg_catalog.clock_timestamp()
                             THEN 'expired'
                        WHEN y.ended_at IS NOT NULL THEN 'revoked'
                        WHEN y.kind <> 'shared' THEN 'enrolment'
                        WHEN q.resume <> '' AND (r.peer IS NULL OR d.peer_id IS NOT NULL) THEN 'resume'
                        WHEN p.id IS NULL
                             AND (SELECT n.peers FROM tailnet_private.key_peers n WHERE n.key_id = y.id) >= y.max_peers
                             THEN 'full' END,
                   coalesce(r.peer, pg_catalog.gen_random_uuid()), y.role, y.network_id, y.id, t.number, true
            FROM tailnet_private.tokens t
            JOIN tailnet_private.keys y ON y.id = t.key_id
            LEFT JOIN tailnet_private.secrets s ON s.number = tailnet_private.resume_secret(q.resume)
            CROSS JOIN LATERAL (
                SELECT tailnet_private.resumed_peer(s.secret, q.resume, y.network_id, y.id) AS peer
            ) r
            LEFT JOIN tailnet_private.peers p ON p.id = r.peer
            LEFT JOIN tailnet_private.tombstones d ON d.peer_id = r.peer
            WHERE t.sha256 = q.hash
        ) c
    ) a
    CROSS JOIN (SELECT s.number, s.secret FROM tailnet_private.secrets s ORDER BY s.number DESC LIMIT 1) k;
END
$$;
COMMENT ON FUNCTION tailnet.authenticate(bytea[], text[]) IS 'For each SHA-256 of a known token, with the resume token that came with it (empty: none): its place in the array, and either the peer, the number of the session that it may open now, the proof of that number and, for a peer of a shared key, a new resume token; its network; or why it is refused: revoked, expired, resume (the resume token is not good), enrolment (it is a token to enrol with) or full (the key has as many peers as it may)';
