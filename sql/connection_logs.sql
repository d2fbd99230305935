-- Who used what of an agent, when, and how it ended. Rows come in the order of time and are mostly read by time, so a
-- BRIN index finds a day, or the years to drop, with a few pages.
--
-- The key of a connection is a digest, so that one index of 16 bytes a row is both the primary key and what makes
-- connections unique: keys come in no order, so each index over them costs a whole page of WAL for nearly every row.
-- Rows may come by the hundred and end by the hundred: each page has room for a second version of all its rows, so that
-- ends are HOT, leave the indexes alone and do not move rows out of the order of time. No foreign key to networks: they
-- are never deleted, and a check a row would lock the network's row.

CREATE FUNCTION tailnet_private.connection_key(connection_id uuid, workspace_id uuid, agent_name text) RETURNS uuid
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'connection_key_wrapper';
COMMENT ON FUNCTION tailnet_private.connection_key(uuid, uuid, text) IS 'Digest of what is unique of a connection: its id, workspace and agent name; absent and empty are the same';
REVOKE ALL ON FUNCTION tailnet_private.connection_key(uuid, uuid, text) FROM PUBLIC;

CREATE TABLE tailnet_private.connection_logs (
    -- Absent connection ids never merge; an absent workspace or name is a value like any other.
    id uuid PRIMARY KEY GENERATED ALWAYS AS (
        CASE WHEN connection_id IS NULL THEN event_id
             ELSE tailnet_private.connection_key(connection_id, workspace_id, agent_name) END) STORED,
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

CREATE FUNCTION tailnet.upsert_connection_logs(events json) RETURNS integer
LANGUAGE sql AS 'SELECT tailnet.upsert_connection_logs(events::text)';
COMMENT ON FUNCTION tailnet.upsert_connection_logs(json) IS 'The same for JSON that comes from SQL';

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
