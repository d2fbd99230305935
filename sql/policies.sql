-- Tags and policies: which clients may open tunnels to which agents and clients. These tables are logged.
--
-- A policy widens what a client may do, and no other role. Its tags are looked up by owner, and a policy by its network and its
-- two tags, so a decision is a few searches in indexes, however many peers and policies there are.

CREATE TABLE tailnet_private.tags (
    owner_id uuid NOT NULL,
    tag text COLLATE "C" NOT NULL CHECK (tag ~ '^[a-z0-9][a-z0-9_.-]{0,62}(=[A-Za-z0-9@_.:/+-]{1,64})?$'),
    network_id uuid NOT NULL REFERENCES tailnet_private.networks,
    PRIMARY KEY (owner_id, tag)
);
CREATE INDEX tags_network_tag ON tailnet_private.tags (network_id, tag, owner_id);
COMMENT ON TABLE tailnet_private.tags IS 'The tags of peers with an identity, and of keys, whose peers have them too';
COMMENT ON COLUMN tailnet_private.tags.owner_id IS 'The identity or the key';
COMMENT ON COLUMN tailnet_private.tags.tag IS 'A word, or a word with a value, such as owner=ann. Ordered by bytes, so that all values of a word are one range';
COMMENT ON COLUMN tailnet_private.tags.network_id IS 'A copy of the network of its owner, where it never changes';

CREATE TABLE tailnet_private.policies (
    network_id uuid NOT NULL REFERENCES tailnet_private.networks,
    source_tag text COLLATE "C" NOT NULL,
    destination_tag text COLLATE "C" NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (network_id, source_tag, destination_tag),
    CONSTRAINT policies_name_key UNIQUE (network_id, name)
);
COMMENT ON TABLE tailnet_private.policies IS 'Which clients may open tunnels to which agents and clients';
COMMENT ON COLUMN tailnet_private.policies.network_id IS 'The network in which it holds';
COMMENT ON COLUMN tailnet_private.policies.source_tag IS 'The client must have this tag; word=*: the same value of the word as the destination';
COMMENT ON COLUMN tailnet_private.policies.destination_tag IS 'The agent or client that is reached must have this tag; word=*: the same value of the word as the source';
COMMENT ON COLUMN tailnet_private.policies.name IS 'A name for people, unique in its network';
COMMENT ON COLUMN tailnet_private.policies.created_at IS 'When it was made, by the clock of the database';

CREATE TABLE tailnet_private.policy_tests (
    network_id uuid NOT NULL REFERENCES tailnet_private.networks,
    name text NOT NULL CHECK (name <> ''),
    source_tag text,
    source_id uuid REFERENCES tailnet_private.identities,
    destination_tag text,
    destination_id uuid REFERENCES tailnet_private.identities,
    allowed boolean NOT NULL,
    PRIMARY KEY (network_id, name),
    CHECK ((source_tag IS NULL) <> (source_id IS NULL) AND (destination_tag IS NULL) <> (destination_id IS NULL))
);
COMMENT ON TABLE tailnet_private.policy_tests IS 'What policies must allow, and must not. A transaction that would break one fails';
COMMENT ON COLUMN tailnet_private.policy_tests.network_id IS 'The network';
COMMENT ON COLUMN tailnet_private.policy_tests.name IS 'A name for people, unique in its network';
COMMENT ON COLUMN tailnet_private.policy_tests.source_tag IS 'A client with this tag and no other; NULL: source_id';
COMMENT ON COLUMN tailnet_private.policy_tests.source_id IS 'This peer; NULL: source_tag';
COMMENT ON COLUMN tailnet_private.policy_tests.destination_tag IS 'An agent with this tag and no other; NULL: destination_id';
COMMENT ON COLUMN tailnet_private.policy_tests.destination_id IS 'This peer; NULL: destination_tag';
COMMENT ON COLUMN tailnet_private.policy_tests.allowed IS 'Whether the tunnel must be allowed';

CREATE TABLE tailnet_private.policy_checks (
    network_id uuid PRIMARY KEY
);
COMMENT ON TABLE tailnet_private.policy_checks IS 'The networks whose policy tests are checked when the transaction commits. Empty outside transactions';
COMMENT ON COLUMN tailnet_private.policy_checks.network_id IS 'The network';

SELECT pg_catalog.pg_extension_config_dump('tailnet_private.tags', '');
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.policies', '');
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.policy_tests', '');

CREATE FUNCTION tailnet_private.tunnel_rule(src uuid, dst uuid) RETURNS text
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'tunnel_rule_wrapper';
COMMENT ON FUNCTION tailnet_private.tunnel_rule(uuid, uuid) IS 'The rule by which one peer may open a tunnel to another; NULL: it may not';

CREATE FUNCTION tailnet_private.rule_between(
    network uuid, source_role text, source_tags text[], destination_role text, destination_tags text[]) RETURNS text
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'rule_between_wrapper';
COMMENT ON FUNCTION tailnet_private.rule_between(uuid, text, text[], text, text[]) IS 'The rule by which a peer with this role and these tags may open a tunnel to another, without a grant; NULL: it may not';

CREATE FUNCTION tailnet_private.note_policy_check(network uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM tailnet_private.policy_tests t WHERE t.network_id = note_policy_check.network) THEN
        PERFORM tailnet_private.lock_network(note_policy_check.network);
        INSERT INTO tailnet_private.policy_checks (network_id) VALUES (note_policy_check.network) ON CONFLICT DO NOTHING;
    END IF;
END
$$;
COMMENT ON FUNCTION tailnet_private.note_policy_check(uuid) IS 'Has the policy tests of a network, if it has any, checked once when the transaction commits. It takes the lock of the network first, so of two changes the later one sees the earlier one';

CREATE FUNCTION tailnet_private.check_tag(tag text, any_value boolean) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF tag ~ '^[a-z0-9][a-z0-9_.-]{0,62}(=[A-Za-z0-9@_.:/+-]{1,64})?$' OR any_value AND tag ~ '^[a-z0-9][a-z0-9_.-]{0,62}=\*$' THEN
        RETURN tag;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
        MESSAGE = pg_catalog.format('%L is no tag, expected a word such as "ci", or a word and a value such as "owner=ann"', tag),
        HINT = 'A word has at most 63 of a-z, 0-9, "_", "." and "-"; a value at most 64 of these, A-Z and "@:/+".';
END
$$;
COMMENT ON FUNCTION tailnet_private.check_tag(text, boolean) IS 'Returns a tag. Raises an error if it is none; with true, word=* is allowed too';

CREATE FUNCTION tailnet.set_tags(owner uuid, tags text[]) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    network uuid := coalesce(
        (SELECT i.network_id FROM tailnet_private.identities i WHERE i.id = set_tags.owner),
        (SELECT k.network_id FROM tailnet_private.keys k WHERE k.id = set_tags.owner));
    wanted text[] := ARRAY(SELECT DISTINCT tailnet_private.check_tag(t, false) FROM unnest(set_tags.tags) t);
    removed integer;
    added integer;
BEGIN
    IF set_tags.tags IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'argument tags is NULL, expected an array';
    END IF;
    IF pg_catalog.cardinality(wanted) > 16 THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded',
            MESSAGE = pg_catalog.format('%s tags, expected at most 16', pg_catalog.cardinality(wanted));
    END IF;
    IF network IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = pg_catalog.format('there is no peer with an identity, and no key, %s', coalesce(set_tags.owner::text, 'NULL')),
            HINT = 'A peer that came with a shared key has the tags of its key.';
    END IF;
    PERFORM tailnet_private.lock_network(network);
    DELETE FROM tailnet_private.tags t WHERE t.owner_id = set_tags.owner AND t.tag <> ALL (wanted);
    GET DIAGNOSTICS removed = ROW_COUNT;
    INSERT INTO tailnet_private.tags (owner_id, tag, network_id)
    SELECT set_tags.owner, w, network FROM unnest(wanted) w
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    IF removed > 0 THEN
        INSERT INTO tailnet_private.pending (kind, peer_id, after_id)
        SELECT kind, i.id, '00000000-0000-0000-0000-000000000000'
        FROM tailnet_private.identities i, (VALUES ('outbound'), ('inbound')) k(kind)
        WHERE i.id = set_tags.owner;
        INSERT INTO tailnet_private.pending (kind, key_id, after_id)
        SELECT 'key_tunnels', k.id, '00000000-0000-0000-0000-000000000000'
        FROM tailnet_private.keys k WHERE k.id = set_tags.owner;
    END IF;
    PERFORM tailnet_private.note_policy_check(network);
    RETURN removed + added > 0;
END
$$;
COMMENT ON FUNCTION tailnet.set_tags(uuid, text[]) IS 'Gives a peer with an identity, or a key, these tags and no others, at most 16. Returns false if it had them already';

CREATE FUNCTION tailnet.create_policy(network text, name text, source text, destination text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    of_network uuid := tailnet_private.locked_network(create_policy.network);
    other text;
BEGIN
    IF create_policy.name IS NULL OR create_policy.name = '' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a policy needs a name';
    END IF;
    PERFORM tailnet_private.check_tag(create_policy.source, true), tailnet_private.check_tag(create_policy.destination, true);
    IF create_policy.source <> create_policy.destination AND '*' IN (right(create_policy.source, 1), right(create_policy.destination, 1)) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = pg_catalog.format('source %L and destination %L differ, expected the same word with any value in both', create_policy.source, create_policy.destination);
    END IF;
    SELECT y.name INTO other FROM tailnet_private.policies y
    WHERE y.network_id = of_network AND y.source_tag = create_policy.source AND y.destination_tag = create_policy.destination;
    IF other IS NOT NULL OR EXISTS (
        SELECT FROM tailnet_private.policies y WHERE y.network_id = of_network AND y.name = create_policy.name) THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation',
            MESSAGE = pg_catalog.format('policy %L exists already', coalesce(other, create_policy.name));
    END IF;
    INSERT INTO tailnet_private.policies (network_id, source_tag, destination_tag, name)
    VALUES (of_network, create_policy.source, create_policy.destination, create_policy.name);
    PERFORM tailnet_private.note_policy_check(of_network);
END
$$;
COMMENT ON FUNCTION tailnet.create_policy(text, text, text, text) IS 'Lets clients with one tag open tunnels to agents and clients with another. word=* as both: those with equal values of the word, such as owner=*';

CREATE FUNCTION tailnet.drop_policy(network text, name text) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    of_network uuid := tailnet_private.locked_network(drop_policy.network);
    dropped text;
BEGIN
    DELETE FROM tailnet_private.policies y WHERE y.network_id = of_network AND y.name = drop_policy.name
    RETURNING y.source_tag INTO dropped;
    IF dropped IS NULL THEN
        RETURN false;
    END IF;
    INSERT INTO tailnet_private.pending (kind, network_id, tag, after_tag, after_id)
    VALUES ('policy', of_network, dropped, '', '00000000-0000-0000-0000-000000000000');
    PERFORM tailnet_private.note_policy_check(of_network);
    RETURN true;
END
$$;
COMMENT ON FUNCTION tailnet.drop_policy(text, text) IS 'Drops a policy: it allows no tunnel from the commit on, and within seconds the proxies close those that nothing else allows. Returns false if there is none of this name';

CREATE FUNCTION tailnet.set_clients_reach_all_agents(network text, reach boolean) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    of_network uuid := tailnet_private.locked_network(set_clients_reach_all_agents.network);
BEGIN
    IF reach IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'argument reach is NULL, expected true or false';
    END IF;
    UPDATE tailnet_private.networks n SET clients_reach_all_agents = reach
    WHERE n.id = of_network AND n.clients_reach_all_agents <> reach;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF NOT reach THEN
        INSERT INTO tailnet_private.pending (kind, network_id, after_id)
        VALUES ('network', of_network, '00000000-0000-0000-0000-000000000000');
    END IF;
    PERFORM tailnet_private.note_policy_check(of_network);
    RETURN true;
END
$$;
COMMENT ON FUNCTION tailnet.set_clients_reach_all_agents(text, boolean) IS 'Whether the clients of a network may open tunnels to all its agents. Returns false if it was so already';

CREATE FUNCTION tailnet.create_policy_test(
    network text, name text, source text, destination text, allowed boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    of_network uuid := tailnet_private.locked_network(create_policy_test.network);
    uuid_form text := '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$';
    peer uuid;
BEGIN
    IF create_policy_test.name IS NULL OR create_policy_test.name = '' OR allowed IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a policy test needs a name, and whether the tunnel must be allowed';
    END IF;
    FOR peer IN SELECT s::uuid FROM unnest(ARRAY[source, destination]) s WHERE s ~ uuid_form LOOP
        IF NOT EXISTS (SELECT FROM tailnet_private.identities i WHERE i.id = peer AND i.network_id = of_network) THEN
            RAISE EXCEPTION USING ERRCODE = 'undefined_object',
                MESSAGE = pg_catalog.format('there is no peer %s with an identity in network %L', peer, create_policy_test.network);
        END IF;
    END LOOP;
    PERFORM tailnet_private.check_tag(s, false) FROM unnest(ARRAY[source, destination]) s WHERE s ~ uuid_form IS NOT TRUE;
    INSERT INTO tailnet_private.policy_tests AS t (network_id, name, source_tag, source_id, destination_tag, destination_id, allowed)
    VALUES (of_network, create_policy_test.name,
            CASE WHEN source !~ uuid_form THEN source END, CASE WHEN source ~ uuid_form THEN source::uuid END,
            CASE WHEN destination !~ uuid_form THEN destination END, CASE WHEN destination ~ uuid_form THEN destination::uuid END,
            create_policy_test.allowed)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation',
            MESSAGE = pg_catalog.format('policy test %L exists already', create_policy_test.name);
    END IF;
    PERFORM tailnet_private.note_policy_check(of_network);
END
$$;
COMMENT ON FUNCTION tailnet.create_policy_test(text, text, text, text, boolean) IS 'Makes a test of policies: a tunnel from a client with a tag, or a peer, to an agent with a tag, or a peer, must be allowed or not. A transaction that breaks it fails when it commits';

CREATE FUNCTION tailnet.drop_policy_test(network text, name text) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    of_network uuid := tailnet_private.locked_network(drop_policy_test.network);
BEGIN
    DELETE FROM tailnet_private.policy_tests t WHERE t.network_id = of_network AND t.name = drop_policy_test.name;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION tailnet.drop_policy_test(text, text) IS 'Drops a test of policies. Returns false if there is none of this name';

CREATE FUNCTION tailnet_private.tags_of(tag text, peer uuid) RETURNS text[]
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN tags_of.tag IS NOT NULL THEN ARRAY[tags_of.tag]
                ELSE ARRAY(SELECT t.tag::text FROM tailnet_private.tags t WHERE t.owner_id = tags_of.peer) END
$$;
COMMENT ON FUNCTION tailnet_private.tags_of(text, uuid) IS 'The tags of an end of a policy test: a tag, or those of a peer';

CREATE FUNCTION tailnet_private.passes(test tailnet_private.policy_tests) RETURNS boolean
LANGUAGE sql VOLATILE AS $$
    SELECT (test).allowed = (CASE
        WHEN (test).source_id IS NOT NULL AND (test).destination_id IS NOT NULL
        THEN tailnet_private.tunnel_rule((test).source_id, (test).destination_id)
        ELSE tailnet_private.rule_between(
            (test).network_id,
            coalesce((SELECT i.role FROM tailnet_private.identities i WHERE i.id = (test).source_id), 'client'),
            tailnet_private.tags_of((test).source_tag, (test).source_id),
            coalesce((SELECT i.role FROM tailnet_private.identities i WHERE i.id = (test).destination_id), 'agent'),
            tailnet_private.tags_of((test).destination_tag, (test).destination_id))
        END IS NOT NULL)
$$;
COMMENT ON FUNCTION tailnet_private.passes(tailnet_private.policy_tests) IS 'Whether a policy test passes';

CREATE FUNCTION tailnet_private.check_policies() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    broken tailnet_private.policy_tests;
BEGIN
    DELETE FROM tailnet_private.policy_checks c WHERE c.network_id = NEW.network_id;
    SELECT t.* INTO broken FROM tailnet_private.policy_tests t
    WHERE t.network_id = NEW.network_id AND NOT tailnet_private.passes(t)
    ORDER BY t.name LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = pg_catalog.format('policy test %L fails: a tunnel from %s to %s would be %s, expected %s', broken.name,
                coalesce(broken.source_tag, broken.source_id::text), coalesce(broken.destination_tag, broken.destination_id::text),
                CASE WHEN broken.allowed THEN 'refused' ELSE 'allowed' END, CASE WHEN broken.allowed THEN 'allowed' ELSE 'refused' END),
            HINT = 'Change what breaks it, or drop the test with tailnet.drop_policy_test(network, name) in the same transaction.';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION tailnet_private.check_policies() IS 'Checks the policy tests of a network when the transaction commits';

CREATE CONSTRAINT TRIGGER check_policies AFTER INSERT ON tailnet_private.policy_checks
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tailnet_private.check_policies();

CREATE VIEW tailnet.policies AS
SELECT n.name AS network, y.name, y.source_tag, y.destination_tag, y.created_at
FROM tailnet_private.policies y
JOIN tailnet_private.networks n ON n.id = y.network_id;
COMMENT ON VIEW tailnet.policies IS 'Which clients may open tunnels to which agents and clients, by their tags';
COMMENT ON COLUMN tailnet.policies.network IS 'Name of the network in which it holds';

CREATE VIEW tailnet.policy_tests AS
SELECT n.name AS network, t.name, coalesce(t.source_tag, t.source_id::text) AS source,
       coalesce(t.destination_tag, t.destination_id::text) AS destination, t.allowed
FROM tailnet_private.policy_tests t
JOIN tailnet_private.networks n ON n.id = t.network_id;
COMMENT ON VIEW tailnet.policy_tests IS 'What policies must allow, and must not';
COMMENT ON COLUMN tailnet.policy_tests.network IS 'Name of the network';
COMMENT ON COLUMN tailnet.policy_tests.source IS 'A tag of a client, or the id of a peer';
COMMENT ON COLUMN tailnet.policy_tests.destination IS 'A tag of an agent, or the id of a peer';

CREATE VIEW tailnet.tags AS
SELECT t.owner_id, t.tag, n.name AS network, CASE WHEN k.id IS NULL THEN 'peer' ELSE 'key' END AS kind
FROM tailnet_private.tags t
JOIN tailnet_private.networks n ON n.id = t.network_id
LEFT JOIN tailnet_private.keys k ON k.id = t.owner_id;
COMMENT ON VIEW tailnet.tags IS 'The tags of peers with an identity, and of keys, whose peers have them too';
COMMENT ON COLUMN tailnet.tags.network IS 'Name of the network of its owner';
COMMENT ON COLUMN tailnet.tags.kind IS 'peer or key: whose tag it is';
