-- Enrolments: a machine trades the token of an enrolment key for a peer and a token of its own. These tables are logged.

CREATE TABLE tailnet_private.enrolments (
    key_id uuid NOT NULL REFERENCES tailnet_private.keys ON DELETE CASCADE,
    machine uuid NOT NULL,
    peer_id uuid NOT NULL REFERENCES tailnet_private.identities ON DELETE CASCADE,
    enrolled_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (key_id, machine)
);
CREATE INDEX enrolments_peer_id ON tailnet_private.enrolments (peer_id);
COMMENT ON TABLE tailnet_private.enrolments IS 'The last peer that each machine got for a key';
COMMENT ON COLUMN tailnet_private.enrolments.key_id IS 'The enrolment key';
COMMENT ON COLUMN tailnet_private.enrolments.machine IS 'A uuid that the machine made';
COMMENT ON COLUMN tailnet_private.enrolments.peer_id IS 'The peer that it got';
COMMENT ON COLUMN tailnet_private.enrolments.enrolled_at IS 'When it got it. For 10 minutes the machine gets the same peer again';
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.enrolments', '');

CREATE FUNCTION tailnet.enrol(token_hashes bytea[], machines uuid[])
RETURNS TABLE (ordinal integer, refused text, peer_id uuid, role text, token text)
LANGUAGE plpgsql VOLATILE STRICT ROWS 500 AS $$
#variable_conflict use_column
DECLARE
    asked record;
    made uuid;
    fresh text;
BEGIN
    IF pg_catalog.cardinality(token_hashes) <> pg_catalog.cardinality(machines) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = pg_catalog.format('machines has %s elements, expected %s as in token_hashes',
                pg_catalog.cardinality(machines), pg_catalog.cardinality(token_hashes)),
            HINT = 'The arrays of a batch have one element for each entry.';
    END IF;
    IF pg_catalog.array_position(machines, NULL) IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'machines has a NULL, expected uuids';
    END IF;
    -- One use of a key after the other, so that there are never too many. All calls lock keys in the same order.
    PERFORM FROM tailnet_private.keys k
    WHERE k.id IN (SELECT t.key_id FROM unnest(token_hashes) h(hash) JOIN tailnet_private.tokens t ON t.sha256 = h.hash)
    ORDER BY k.id FOR UPDATE;
    FOR asked IN
        SELECT q.ord, q.machine, k.id AS key, k.kind, k.network_id, k.role, k.name,
               CASE WHEN k.expires_at <= pg_catalog.clock_timestamp() OR t.expires_at <= pg_catalog.clock_timestamp() THEN 'expired'
                    WHEN k.ended_at IS NOT NULL THEN 'revoked'
                    WHEN k.kind <> 'enrolment' THEN 'kind' END AS why
        FROM unnest(token_hashes, machines) WITH ORDINALITY q(hash, machine, ord)
        JOIN tailnet_private.tokens t ON t.sha256 = q.hash
        JOIN tailnet_private.keys k ON k.id = t.key_id
        ORDER BY q.ord
    LOOP
        ordinal := asked.ord;
        refused := asked.why;
        peer_id := NULL;
        role := NULL;
        token := NULL;
        IF refused IS NULL THEN
            fresh := tailnet_private.new_token();
            -- The answer may have been lost: the same machine gets the same peer, with a token that nobody has seen.
            UPDATE tailnet_private.identities i SET token_sha256 = tailnet_private.token_sha256(fresh)
            FROM tailnet_private.enrolments e
            WHERE e.key_id = asked.key AND e.machine = asked.machine AND i.id = e.peer_id AND i.revoked_at IS NULL
              AND e.enrolled_at > pg_catalog.clock_timestamp() - '10 min'::interval
            RETURNING i.id INTO made;
            IF made IS NULL THEN
                UPDATE tailnet_private.keys k SET uses = k.uses + 1, last_used_at = pg_catalog.clock_timestamp()
                WHERE k.id = asked.key AND (k.max_uses IS NULL OR k.uses < k.max_uses);
                IF NOT FOUND THEN
                    refused := 'used';
                ELSE
                    made := pg_catalog.gen_random_uuid();
                    INSERT INTO tailnet_private.identities (id, network_id, role, name, token_sha256)
                    VALUES (made, asked.network_id, asked.role, asked.name, tailnet_private.token_sha256(fresh));
                    INSERT INTO tailnet_private.tags (owner_id, tag, network_id)
                    SELECT made, t.tag, t.network_id FROM tailnet_private.tags t WHERE t.owner_id = asked.key;
                    INSERT INTO tailnet_private.enrolments AS e (key_id, machine, peer_id) VALUES (asked.key, asked.machine, made)
                    ON CONFLICT (key_id, machine) DO UPDATE SET peer_id = made, enrolled_at = pg_catalog.clock_timestamp();
                END IF;
            END IF;
            IF refused IS NULL THEN
                peer_id := made;
                role := asked.role;
                token := fresh;
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION tailnet.enrol(bytea[], uuid[]) IS 'Trades the token of an enrolment key, known by its SHA-256, for a peer and a token of its own, which is never shown again. A row for each known token: its place in the array, and the peer, or why not: expired, revoked, kind (it is no enrolment key) or used (max_uses are used). The same machine gets the same peer for 10 minutes, with a new token, and without another use';

CREATE VIEW tailnet.enrolments AS
SELECT e.key_id, k.name AS key, n.name AS network, e.machine, e.peer_id, e.enrolled_at
FROM tailnet_private.enrolments e
JOIN tailnet_private.keys k ON k.id = e.key_id
JOIN tailnet_private.networks n ON n.id = k.network_id;
COMMENT ON VIEW tailnet.enrolments IS 'The last peer that each machine got for an enrolment key';
COMMENT ON COLUMN tailnet.enrolments.key IS 'Name of the key';
COMMENT ON COLUMN tailnet.enrolments.network IS 'Name of its network';
