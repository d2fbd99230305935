-- Who used what of an agent, when, and how it ended. Rows come in the order of time and are mostly read by time, so a
-- BRIN index finds a day, or the years to drop, with a few pages.
--
-- The key of a connection is a digest, so that one index of 16 bytes a row is both the primary key and what makes
-- connections unique: keys come in no order, so each index over them costs a whole page of WAL for nearly every row.
-- Rows may come by the hundred and end by the hundred: each page has room for a second version of all its rows, so that
-- ends are HOT, leave the indexes alone and do not move rows out of the order of time. No foreign key to networks: they
-- are never deleted, and a check a row would lock the network's row.

CREATE TABLE tailnet_private.connection_logs (
    -- Absent connection ids never merge; an absent workspace or name is a value like any other. The replace makes bytes
    -- of any text: a cast to bytea reads backslashes, and convert_to is not immutable.
    id uuid PRIMARY KEY GENERATED ALWAYS AS (
        CASE WHEN connection_id IS NULL THEN event_id
             ELSE encode(substr(sha256(
                 uuid_send(connection_id) || uuid_send(coalesce(workspace_id, '00000000-0000-0000-0000-000000000000'))
                 || replace(coalesce(agent_name, ''), '\', '\\')::bytea), 1, 16), 'hex')::uuid END) STORED,
    event_id uuid CHECK ((event_id IS NULL) = (connection_id IS NOT NULL)),
    network_id uuid NOT NULL,
    connection_id uuid,
    agent_id uuid NOT NULL,
    agent_name text,
    workspace_id uuid,
    workspace_name text,
    owner text,
    type text NOT NULL
        CHECK (type IN ('ssh', 'vscode', 'jetbrains', 'reconnecting_pty', 'workspace_app', 'port_forwarding')),
    code integer,
    ip inet,
    user_agent text,
    user_id uuid,
    slug_or_port text,
    connect_time timestamptz,
    disconnect_time timestamptz,
    disconnect_code integer,
    disconnect_reason text,
    started_at timestamptz NOT NULL GENERATED ALWAYS AS (LEAST(connect_time, disconnect_time)) STORED,
    CHECK (connect_time IS NOT NULL OR disconnect_time IS NOT NULL),
    CHECK (disconnect_time IS NOT NULL OR disconnect_code IS NULL AND disconnect_reason IS NULL)
) WITH (fillfactor = 45);
CREATE INDEX connection_logs_agent_started ON tailnet_private.connection_logs (agent_id, started_at DESC);
CREATE INDEX connection_logs_started ON tailnet_private.connection_logs USING brin (started_at) WITH (pages_per_range = 32);
COMMENT ON TABLE tailnet_private.connection_logs IS 'One row a connection; where events of it disagree, the earlier or smaller value stays, so their order does not matter';
COMMENT ON COLUMN tailnet_private.connection_logs.id IS 'Digest of connection id, workspace and agent name; without a connection id the id of the event, so that its repeat is no second row';
COMMENT ON COLUMN tailnet_private.connection_logs.event_id IS 'Of an event without a connection id: its own id, else one made here; NULL for a connection';
COMMENT ON COLUMN tailnet_private.connection_logs.network_id IS 'The network of the agent; no foreign key, because networks are never deleted';
COMMENT ON COLUMN tailnet_private.connection_logs.connection_id IS 'What its events have in common; NULL: it has one event only';
COMMENT ON COLUMN tailnet_private.connection_logs.agent_id IS 'The agent; no foreign key, because the log outlives it';
COMMENT ON COLUMN tailnet_private.connection_logs.agent_name IS 'Its name as it was then';
COMMENT ON COLUMN tailnet_private.connection_logs.workspace_id IS 'The workspace that the agent served';
COMMENT ON COLUMN tailnet_private.connection_logs.workspace_name IS 'Its name as it was then';
COMMENT ON COLUMN tailnet_private.connection_logs.owner IS 'Its owner as it was then';
COMMENT ON COLUMN tailnet_private.connection_logs.type IS 'ssh, vscode, jetbrains, reconnecting_pty, workspace_app or port_forwarding';
COMMENT ON COLUMN tailnet_private.connection_logs.code IS 'Code of the connect, such as an HTTP status';
COMMENT ON COLUMN tailnet_private.connection_logs.ip IS 'Where it came from';
COMMENT ON COLUMN tailnet_private.connection_logs.user_agent IS 'The client, as it named itself';
COMMENT ON COLUMN tailnet_private.connection_logs.user_id IS 'Who connected; NULL: nobody who is known';
COMMENT ON COLUMN tailnet_private.connection_logs.slug_or_port IS 'The app or the port, for the types workspace_app and port_forwarding';
COMMENT ON COLUMN tailnet_private.connection_logs.connect_time IS 'Earliest connect; NULL: none was reported yet';
COMMENT ON COLUMN tailnet_private.connection_logs.disconnect_time IS 'First disconnect; NULL: none was reported yet';
COMMENT ON COLUMN tailnet_private.connection_logs.disconnect_code IS 'Code of the first disconnect, such as an exit code';
COMMENT ON COLUMN tailnet_private.connection_logs.disconnect_reason IS 'Reason of the first disconnect';
COMMENT ON COLUMN tailnet_private.connection_logs.started_at IS 'The earlier of the two times: what a row is found by. A disconnect that follows its connect leaves it as it is, so that update is HOT';
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.connection_logs', '');

-- What a client may say of an event. The network follows from the agent, so that nobody writes into another one.
CREATE TYPE tailnet_private.connection_event AS (
    id uuid, connection_id uuid, agent_id uuid, agent_name text, workspace_id uuid, workspace_name text, owner text,
    type text, code integer, ip inet, user_agent text, user_id uuid, slug_or_port text,
    connect_time timestamptz, disconnect_time timestamptz, disconnect_reason text
);
COMMENT ON TYPE tailnet_private.connection_event IS 'An element of the argument of tailnet.upsert_connection_logs; code is that of the disconnect when the event has one';

CREATE FUNCTION tailnet.upsert_connection_logs(events json) RETURNS integer
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    -- jsonb: parsed once, names and values are then read from that. Text would be parsed again for each.
    given jsonb;
    fields text[] := ARRAY(SELECT a.attname::text FROM pg_attribute a
                           WHERE a.attrelid = 'tailnet_private.connection_event'::regclass);
    parsed tailnet_private.connection_event[];
    fault text;
    suspect boolean;
    repeats boolean;
    merged integer := 0;
    alone integer := 0;
BEGIN
    IF events IS NULL OR json_typeof(events) <> 'array' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('events is %s, expected a JSON array of objects', coalesce('a JSON ' || json_typeof(events), 'NULL'));
    END IF;
    given := events;
    SELECT CASE WHEN jsonb_typeof(e.value) <> 'object'
                THEN format('event %s is a JSON %s, expected an object', e.ord, jsonb_typeof(e.value))
                ELSE format('event %s has a field %L, expected fields of the type tailnet_private.connection_event', e.ord,
                            (SELECT min(k) FROM jsonb_object_keys(e.value - fields) k)) END
    INTO fault
    FROM jsonb_array_elements(given) WITH ORDINALITY e(value, ord)
    WHERE CASE WHEN jsonb_typeof(e.value) <> 'object' THEN true ELSE e.value - fields <> '{}' END
    ORDER BY e.ord
    LIMIT 1;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = fault;
    END IF;
    parsed := ARRAY(SELECT e FROM jsonb_populate_recordset(NULL::tailnet_private.connection_event, given) e);
    SELECT bool_or((e.type IN ('ssh', 'vscode', 'jetbrains', 'reconnecting_pty', 'workspace_app', 'port_forwarding')) IS NOT TRUE
                   OR e.connect_time IS NULL AND e.disconnect_time IS NULL
                   OR isfinite(e.connect_time) IS FALSE OR isfinite(e.disconnect_time) IS FALSE
                   OR e.disconnect_reason IS NOT NULL AND e.disconnect_time IS NULL),
           count(DISTINCT e.connection_id) < count(e.connection_id)
    INTO suspect, repeats
    FROM unnest(parsed) e;

    IF suspect IS NOT TRUE THEN
        -- In key order, so that two batches never wait for each other crosswise. Only a batch with several events of a
        -- connection pays for merging them: least of everything, and the disconnect that came first with what belongs to
        -- it.
        INSERT INTO tailnet_private.connection_logs AS l (
            network_id, connection_id, agent_id, agent_name, workspace_id, workspace_name, owner, type, code, ip, user_agent,
            user_id, slug_or_port, connect_time, disconnect_time, disconnect_code, disconnect_reason)
        SELECT i.network_id, e.connection_id, e.agent_id, coalesce(e.agent_name, i.name) AS agent_name, e.workspace_id,
               e.workspace_name, e.owner, e.type, CASE WHEN e.disconnect_time IS NULL THEN e.code END, e.ip, e.user_agent,
               e.user_id, e.slug_or_port, e.connect_time, e.disconnect_time,
               CASE WHEN e.disconnect_time IS NOT NULL THEN e.code END, e.disconnect_reason
        FROM unnest(parsed) e
        JOIN tailnet_private.identities i ON i.id = e.agent_id AND i.role = 'agent'
        WHERE NOT repeats AND e.connection_id IS NOT NULL
        UNION ALL
        SELECT m.network_id, m.connection_id, m.agent_id, m.agent_name, m.workspace_id, m.workspace_name, m.owner, m.type,
               m.code, m.ip, m.user_agent, m.user_id, m.slug_or_port, m.connect_time, (m.gone).disconnect_time, (m.gone).code,
               (m.gone).disconnect_reason
        FROM (
            SELECT min(i.network_id::text)::uuid AS network_id, e.connection_id, min(e.agent_id::text)::uuid AS agent_id,
                   min(k.agent_name) AS agent_name, min(e.workspace_id::text)::uuid AS workspace_id,
                   min(e.workspace_name) AS workspace_name, min(e.owner) AS owner, min(e.type) AS type,
                   min(e.code) FILTER (WHERE e.disconnect_time IS NULL) AS code, min(e.ip) AS ip,
                   min(e.user_agent) AS user_agent, min(e.user_id::text)::uuid AS user_id, min(e.slug_or_port) AS slug_or_port,
                   min(e.connect_time) AS connect_time,
                   (array_agg(e ORDER BY e.disconnect_time, e.code, e.disconnect_reason)
                    FILTER (WHERE e.disconnect_time IS NOT NULL))[1] AS gone
            FROM unnest(parsed) e
            JOIN tailnet_private.identities i ON i.id = e.agent_id AND i.role = 'agent'
            CROSS JOIN LATERAL (SELECT coalesce(e.agent_name, i.name) AS agent_name) k
            WHERE repeats AND e.connection_id IS NOT NULL
            GROUP BY e.connection_id, coalesce(e.workspace_id, '00000000-0000-0000-0000-000000000000'),
                     coalesce(k.agent_name, '')
        ) m
        ORDER BY connection_id, workspace_id, agent_name
        ON CONFLICT (id) DO UPDATE SET
            workspace_name = LEAST(l.workspace_name, EXCLUDED.workspace_name), owner = LEAST(l.owner, EXCLUDED.owner),
            type = LEAST(l.type, EXCLUDED.type), code = LEAST(l.code, EXCLUDED.code), ip = LEAST(l.ip, EXCLUDED.ip),
            user_agent = LEAST(l.user_agent, EXCLUDED.user_agent), user_id = LEAST(l.user_id, EXCLUDED.user_id),
            slug_or_port = LEAST(l.slug_or_port, EXCLUDED.slug_or_port),
            connect_time = LEAST(l.connect_time, EXCLUDED.connect_time),
            disconnect_time = LEAST(l.disconnect_time, EXCLUDED.disconnect_time),
            -- Of two disconnects at one time the smaller code and reason stay; an absent one counts as the largest.
            disconnect_code = CASE
                WHEN EXCLUDED.disconnect_time < l.disconnect_time OR l.disconnect_time IS NULL THEN EXCLUDED.disconnect_code
                WHEN EXCLUDED.disconnect_time = l.disconnect_time THEN LEAST(l.disconnect_code, EXCLUDED.disconnect_code)
                ELSE l.disconnect_code END,
            disconnect_reason = CASE
                WHEN EXCLUDED.disconnect_time < l.disconnect_time OR l.disconnect_time IS NULL THEN EXCLUDED.disconnect_reason
                WHEN EXCLUDED.disconnect_time > l.disconnect_time OR EXCLUDED.disconnect_time IS NULL THEN l.disconnect_reason
                WHEN l.disconnect_code IS NOT DISTINCT FROM EXCLUDED.disconnect_code
                    THEN LEAST(l.disconnect_reason, EXCLUDED.disconnect_reason)
                WHEN l.disconnect_code < EXCLUDED.disconnect_code OR EXCLUDED.disconnect_code IS NULL THEN l.disconnect_reason
                ELSE EXCLUDED.disconnect_reason END
        -- The agent of a connection is who began it: another one's events under its id change nothing. Nor does an event
        -- without connection id become a connection, whatever its id is.
        WHERE l.agent_id = EXCLUDED.agent_id AND l.connection_id = EXCLUDED.connection_id;
        GET DIAGNOSTICS merged = ROW_COUNT;

        IF merged < cardinality(parsed) THEN
            INSERT INTO tailnet_private.connection_logs (
                event_id, network_id, agent_id, agent_name, workspace_id, workspace_name, owner, type, code, ip, user_agent,
                user_id, slug_or_port, connect_time, disconnect_time, disconnect_code, disconnect_reason)
            SELECT coalesce(e.id, gen_random_uuid()), i.network_id, e.agent_id, coalesce(e.agent_name, i.name), e.workspace_id,
                   e.workspace_name, e.owner, e.type, CASE WHEN e.disconnect_time IS NULL THEN e.code END, e.ip, e.user_agent,
                   e.user_id, e.slug_or_port, e.connect_time, e.disconnect_time,
                   CASE WHEN e.disconnect_time IS NOT NULL THEN e.code END, e.disconnect_reason
            FROM unnest(parsed) e
            JOIN tailnet_private.identities i ON i.id = e.agent_id AND i.role = 'agent'
            WHERE e.connection_id IS NULL
            ORDER BY e.id
            ON CONFLICT (id) DO NOTHING;
            GET DIAGNOSTICS alone = ROW_COUNT;
        END IF;
    END IF;

    -- An event was not written if its agent does not exist; it is looked for only if there can be one, and takes the whole
    -- call with it.
    IF suspect OR merged + alone < cardinality(parsed) THEN
        SELECT format('event %s %s', e.ord, CASE
                   WHEN i.id IS NULL THEN format('is of agent %s, which does not exist', coalesce(e.agent_id::text, 'NULL'))
                   WHEN e.type IS NULL OR e.type NOT IN
                        ('ssh', 'vscode', 'jetbrains', 'reconnecting_pty', 'workspace_app', 'port_forwarding')
                       THEN format('has type %L, expected ssh, vscode, jetbrains, reconnecting_pty, workspace_app or port_forwarding', e.type)
                   WHEN e.connect_time IS NULL AND e.disconnect_time IS NULL THEN 'has neither connect_time nor disconnect_time'
                   WHEN NOT isfinite(e.connect_time) OR NOT isfinite(e.disconnect_time) THEN 'has an infinite time'
                   ELSE 'has disconnect_reason without disconnect_time' END)
        INTO fault
        FROM unnest(parsed) WITH ORDINALITY
            e(id, connection_id, agent_id, agent_name, workspace_id, workspace_name, owner, type, code, ip, user_agent, user_id,
              slug_or_port, connect_time, disconnect_time, disconnect_reason, ord)
        LEFT JOIN tailnet_private.identities i ON i.id = e.agent_id AND i.role = 'agent'
        WHERE i.id IS NULL
           OR (e.type IN ('ssh', 'vscode', 'jetbrains', 'reconnecting_pty', 'workspace_app', 'port_forwarding')) IS NOT TRUE
           OR e.connect_time IS NULL AND e.disconnect_time IS NULL
           OR isfinite(e.connect_time) IS FALSE OR isfinite(e.disconnect_time) IS FALSE
           OR e.disconnect_reason IS NOT NULL AND e.disconnect_time IS NULL
        ORDER BY e.ord
        LIMIT 1;
        IF fault IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = fault;
        END IF;
    END IF;
    RETURN merged + alone;
END
$$;
COMMENT ON FUNCTION tailnet.upsert_connection_logs(json) IS 'Writes events of connections, in any order, split and repetition, and returns the number of rows written; see the type tailnet_private.connection_event for the fields';

CREATE FUNCTION tailnet.drop_connection_logs(before timestamptz) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    dropped bigint;
BEGIN
    IF before IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'argument before is NULL, expected a time';
    END IF;
    DELETE FROM tailnet_private.connection_logs WHERE started_at < before;
    GET DIAGNOSTICS dropped = ROW_COUNT;
    RETURN dropped;
END
$$;
COMMENT ON FUNCTION tailnet.drop_connection_logs(timestamptz) IS 'Drops the logs of connections that began before this time, and returns their number';

CREATE VIEW tailnet.connection_logs AS
SELECT l.id, n.name AS network, l.connection_id, l.agent_id, l.agent_name, l.workspace_id, l.workspace_name, l.owner, l.type,
       coalesce(l.disconnect_code, l.code) AS code, l.ip, l.user_agent, l.user_id, l.slug_or_port, l.connect_time,
       l.disconnect_time, l.disconnect_reason, l.started_at
FROM tailnet_private.connection_logs l
JOIN tailnet_private.networks n ON n.id = l.network_id;
COMMENT ON VIEW tailnet.connection_logs IS 'Who used what of an agent, when, and how it ended; ask by started_at and agent_id, which have indexes';
DO $$
DECLARE
    col record;
BEGIN
    -- What the table says of a column holds for the view.
    FOR col IN
        SELECT v.attname, coalesce(
            CASE v.attname WHEN 'network' THEN 'Name of the network of the agent'
                           WHEN 'code' THEN 'Code of the first disconnect, such as an exit code; else of the connect, such as an HTTP status' END,
            pg_catalog.col_description(t.attrelid, t.attnum)) AS text
        FROM pg_catalog.pg_attribute v
        LEFT JOIN pg_catalog.pg_attribute t ON t.attrelid = 'tailnet_private.connection_logs'::regclass AND t.attname = v.attname
        WHERE v.attrelid = 'tailnet.connection_logs'::regclass AND v.attnum > 0
    LOOP
        EXECUTE pg_catalog.format('COMMENT ON COLUMN tailnet.connection_logs.%I IS %L', col.attname, col.text);
    END LOOP;
END
$$;
