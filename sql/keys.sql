-- Keys: credentials that many peers use. These tables are logged, like the identities.
--
-- Every connection with the token of a shared key is a peer of its own, an ephemeral one: it has a row in the table of peers,
-- and no identity. What it may do is read from its key.

CREATE TABLE tailnet_private.keys (
    id uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid() CHECK (id <> '00000000-0000-0000-0000-000000000000'),
    network_id uuid NOT NULL REFERENCES tailnet_private.networks,
    kind text NOT NULL CHECK (kind IN ('shared', 'enrolment')),
    role text NOT NULL CHECK (role IN ('client', 'hub') OR role = 'agent' AND kind = 'enrolment'),
    name text CHECK (name <> ''),
    time_to_live interval CHECK (time_to_live > '0'),
    max_peers integer CHECK (max_peers > 0),
    max_uses integer CHECK (max_uses > 0),
    uses integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    expires_at timestamptz,
    ended_at timestamptz,
    last_used_at timestamptz,
    CHECK ((time_to_live IS NOT NULL) = (kind = 'shared')),
    CHECK (kind = 'shared' OR max_peers IS NULL),
    CHECK (kind = 'enrolment' OR max_uses IS NULL)
) WITH (fillfactor = 80);
COMMENT ON TABLE tailnet_private.keys IS 'Credentials that many peers use. Network, kind and role of a key never change';
COMMENT ON COLUMN tailnet_private.keys.id IS 'The key';
COMMENT ON COLUMN tailnet_private.keys.network_id IS 'The network of its peers';
COMMENT ON COLUMN tailnet_private.keys.kind IS 'shared: each connection with its token is an ephemeral peer. enrolment: a machine trades its token for an identity, see tailnet.enrol';
COMMENT ON COLUMN tailnet_private.keys.role IS 'The role of its peers. Each agent has an identity of its own, so a shared key has role client or hub';
COMMENT ON COLUMN tailnet_private.keys.name IS 'A name for people; NULL: it has none';
COMMENT ON COLUMN tailnet_private.keys.time_to_live IS 'How long a peer of a shared key is kept after its session ended';
COMMENT ON COLUMN tailnet_private.keys.max_peers IS 'How many peers of a shared key there may be at once, connected or kept; NULL: any number';
COMMENT ON COLUMN tailnet_private.keys.max_uses IS 'How many identities an enrolment key may be traded for; NULL: any number';
COMMENT ON COLUMN tailnet_private.keys.uses IS 'How many identities it was traded for';
COMMENT ON COLUMN tailnet_private.keys.created_at IS 'When it was made, by the clock of the database';
COMMENT ON COLUMN tailnet_private.keys.expires_at IS 'From when on it is not good; NULL: it does not expire';
COMMENT ON COLUMN tailnet_private.keys.ended_at IS 'When it was revoked, or found to be expired. Its peers are ended; NULL: it is good';
COMMENT ON COLUMN tailnet_private.keys.last_used_at IS 'When a token of it was last checked, to the minute, or traded; NULL: never';
-- For the keys that expire, which are looked for again and again.
CREATE INDEX keys_expires_at ON tailnet_private.keys (expires_at) WHERE ended_at IS NULL AND expires_at IS NOT NULL;

CREATE TABLE tailnet_private.tokens (
    sha256 bytea PRIMARY KEY CHECK (pg_catalog.length(sha256) = 32),
    key_id uuid NOT NULL REFERENCES tailnet_private.keys ON DELETE CASCADE,
    number integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    expires_at timestamptz,
    UNIQUE (key_id, number)
);
COMMENT ON TABLE tailnet_private.tokens IS 'The tokens of keys. A key may have several for some time, while its token is replaced';
COMMENT ON COLUMN tailnet_private.tokens.sha256 IS 'SHA-256 of the token. A token has 244 random bits, so a salt would add nothing';
COMMENT ON COLUMN tailnet_private.tokens.key_id IS 'The key';
COMMENT ON COLUMN tailnet_private.tokens.number IS 'Tells the tokens of a key apart; a newer one has a higher number';
COMMENT ON COLUMN tailnet_private.tokens.created_at IS 'When it was made, by the clock of the database';
COMMENT ON COLUMN tailnet_private.tokens.expires_at IS 'From when on it is not good, because a newer one has replaced it; NULL: it is good';
CREATE INDEX tokens_expires_at ON tailnet_private.tokens (expires_at) WHERE expires_at IS NOT NULL;
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.keys', '');
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.tokens', '');

-- How many peers each key has, so that the limit costs no count of rows. It is unlogged, like the peers that it counts.
CREATE UNLOGGED TABLE tailnet_private.key_peers (
    key_id uuid PRIMARY KEY,
    peers integer NOT NULL
) WITH (fillfactor = 10);
COMMENT ON TABLE tailnet_private.key_peers IS 'How many peers each key has, connected or kept. Written under the lock of the network of the key';
COMMENT ON COLUMN tailnet_private.key_peers.key_id IS 'The key';
COMMENT ON COLUMN tailnet_private.key_peers.peers IS 'The number of its peers';

CREATE FUNCTION tailnet.create_key(
    network text, role text, name text DEFAULT NULL, kind text DEFAULT 'peer', expires_at timestamptz DEFAULT NULL,
    tags text[] DEFAULT '{}', time_to_live interval DEFAULT '10 min', max_peers integer DEFAULT NULL,
    max_uses integer DEFAULT NULL, OUT key_id uuid, OUT token text)
LANGUAGE plpgsql AS $$
DECLARE
    of_network uuid := tailnet_private.locked_network(create_key.network);
BEGIN
    IF create_key.kind IS NULL OR create_key.kind NOT IN ('peer', 'shared', 'enrolment') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = pg_catalog.format('unknown kind %L of a key, expected peer, shared or enrolment', create_key.kind);
    END IF;
    IF create_key.expires_at <= pg_catalog.clock_timestamp() THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = pg_catalog.format('expires_at is %s, expected a time to come or NULL', create_key.expires_at);
    END IF;
    IF create_key.max_peers IS NOT NULL AND create_key.kind <> 'shared' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = pg_catalog.format('a key of kind %s has no ephemeral peers, expected no max_peers', create_key.kind);
    END IF;
    IF create_key.max_uses IS NOT NULL AND create_key.kind <> 'enrolment' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = pg_catalog.format('a key of kind %s is not traded for peers, expected no max_uses', create_key.kind);
    END IF;
    IF create_key.max_peers < 1 OR create_key.max_uses < 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = pg_catalog.format('%s is %s, expected a number above zero or NULL',
                CASE WHEN create_key.max_peers < 1 THEN 'max_peers' ELSE 'max_uses' END,
                coalesce(create_key.max_peers, create_key.max_uses));
    END IF;
    IF create_key.kind = 'peer' THEN
        SELECT p.peer_id, p.token INTO key_id, token
        FROM tailnet.create_peer(create_key.network, create_key.role, create_key.name) p;
        UPDATE tailnet_private.identities i SET expires_at = create_key.expires_at
        WHERE i.id = key_id AND create_key.expires_at IS NOT NULL;
        PERFORM tailnet.set_tags(key_id, create_key.tags) WHERE create_key.tags IS DISTINCT FROM '{}';
        RETURN;
    END IF;
    IF create_key.kind = 'shared' AND (create_key.role IS NULL OR create_key.role NOT IN ('client', 'hub')) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = pg_catalog.format('role %L of a shared key, expected client or hub', create_key.role),
            HINT = 'Each agent has an identity of its own: tailnet.create_peer makes one, and a key of kind enrolment many.';
    END IF;
    IF create_key.role IS NULL OR create_key.role NOT IN ('agent', 'client', 'hub') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = pg_catalog.format('unknown role %L, expected agent, client or hub', create_key.role);
    END IF;
    IF create_key.name = '' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the name of a key is empty, expected a name or NULL';
    END IF;
    IF create_key.kind = 'shared' AND create_key.time_to_live > '0' IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'time_to_live is NULL or not above zero, expected an interval';
    END IF;
    INSERT INTO tailnet_private.keys AS k (network_id, kind, role, name, time_to_live, max_peers, max_uses, expires_at)
    VALUES (of_network, create_key.kind, create_key.role, create_key.name,
            CASE WHEN create_key.kind = 'shared' THEN create_key.time_to_live END, create_key.max_peers, create_key.max_uses,
            create_key.expires_at)
    RETURNING k.id INTO key_id;
    PERFORM tailnet.set_tags(key_id, create_key.tags) WHERE create_key.tags IS DISTINCT FROM '{}';
    token := tailnet_private.new_token();
    INSERT INTO tailnet_private.tokens (sha256, key_id, number) VALUES (tailnet_private.token_sha256(token), key_id, 1);
END
$$;
COMMENT ON FUNCTION tailnet.create_key(text, text, text, text, timestamptz, text[], interval, integer, integer) IS 'Makes a key in a network. Kind peer: one peer, as tailnet.create_peer makes. Kind shared: every connection with the token is a client or hub of its own, at most max_peers at once, each kept for time_to_live after its session ended. Kind enrolment: machines trade the token for a peer and a token of their own, max_uses times. Its peers have its tags. The token is never shown again';

CREATE FUNCTION tailnet.rotate_token(key uuid, overlap interval) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    token text := tailnet_private.new_token();
    newest integer;
BEGIN
    IF overlap >= '0' IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'overlap is NULL or below zero, expected an interval';
    END IF;
    -- The row lock of the key makes rotations of it happen one after the other.
    PERFORM FROM tailnet_private.keys k WHERE k.id = rotate_token.key AND k.ended_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = pg_catalog.format('there is no shared or enrolment key %s that is good', coalesce(rotate_token.key::text, 'NULL')),
            HINT = 'The token of a single peer is replaced by tailnet.rotate_token(peer), without an overlap.';
    END IF;
    SELECT max(t.number) INTO newest FROM tailnet_private.tokens t WHERE t.key_id = rotate_token.key;
    UPDATE tailnet_private.tokens t SET expires_at = pg_catalog.clock_timestamp() + overlap
    WHERE t.key_id = rotate_token.key AND t.expires_at IS NULL;
    INSERT INTO tailnet_private.tokens (sha256, key_id, number)
    VALUES (tailnet_private.token_sha256(token), rotate_token.key, coalesce(newest, 0) + 1);
    RETURN token;
END
$$;
COMMENT ON FUNCTION tailnet.rotate_token(uuid, interval) IS 'Makes a new token for a shared or enrolment key; it is never shown again. The old one is good until the overlap ends, and then its live sessions end';

CREATE VIEW tailnet.keys AS
SELECT k.id AS key_id, k.name, k.kind, k.role, n.name AS network, coalesce(c.peers, 0) AS peers, k.max_peers, k.time_to_live, k.uses, k.max_uses,
       (SELECT pg_catalog.count(*) FROM tailnet_private.tokens t
        WHERE t.key_id = k.id AND (t.expires_at IS NULL OR t.expires_at > pg_catalog.now())) AS tokens,
       k.created_at, k.expires_at, k.ended_at, k.last_used_at
FROM tailnet_private.keys k
JOIN tailnet_private.networks n ON n.id = k.network_id
LEFT JOIN tailnet_private.key_peers c ON c.key_id = k.id;
COMMENT ON VIEW tailnet.keys IS 'Keys that many peers use. The peers of each have its key_id in tailnet.peers';
COMMENT ON COLUMN tailnet.keys.network IS 'Name of its network';
COMMENT ON COLUMN tailnet.keys.peers IS 'How many ephemeral peers it has, connected or kept';
COMMENT ON COLUMN tailnet.keys.tokens IS 'How many of its tokens are good: two while one replaces the other';
