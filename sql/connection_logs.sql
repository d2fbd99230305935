-- The log of connections to agents: who used what, when, and how it ended.
--
-- Rows come in the order of time and are mostly read by time. So a BRIN index finds a day, or the years to drop, with a few
-- pages.
--
-- The key of a connection is a digest. So one index with 16 bytes a row is the primary key, and also makes connections
-- unique. A second index would be expensive: keys come in random order, and an index in random order costs a whole page of
-- WAL for nearly every row.
--
-- Connections often begin and end by the hundred. Each page has room for a second version of all its rows, so that writing
-- the end of a connection is HOT: it changes no index, and leaves the row in the order of time.
--
-- There is no foreign key to networks. Networks are never deleted, and a check would lock the network for each row.

CREATE FUNCTION tailnet_private.connection_key(connection_id uuid, workspace_id uuid, agent_name text) RETURNS uuid
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'connection_key_wrapper';
COMMENT ON FUNCTION tailnet_private.connection_key(uuid, uuid, text) IS 'Digest of what makes a connection unique: its id, workspace and agent name. An absent value and an empty one are the same';
REVOKE ALL ON FUNCTION tailnet_private.connection_key(uuid, uuid, text) FROM PUBLIC;

CREATE TABLE tailnet_private.connection_logs (
    -- Events without a connection id are never merged. An absent workspace or agent name is a value like any other.
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
COMMENT ON TABLE tailnet_private.connection_logs IS 'Connections to agents. Where the events of a connection disagree, the earlier or smaller value stays, so their order does not matter';
COMMENT ON COLUMN tailnet_private.connection_logs.id IS 'Digest of connection id, workspace and agent name. Without a connection id it is the id of the event, so that a repeated event makes no second row';
COMMENT ON COLUMN tailnet_private.connection_logs.event_id IS 'The id of an event without a connection id; if the event has none, a random one. NULL: the row has a connection id';
COMMENT ON COLUMN tailnet_private.connection_logs.network_id IS 'The network of the agent. There is no foreign key, because networks are never deleted';
COMMENT ON COLUMN tailnet_private.connection_logs.connection_id IS 'The id that all events of the connection have; NULL: there is only one event';
COMMENT ON COLUMN tailnet_private.connection_logs.agent_id IS 'The agent. There is no foreign key, because the log outlives the agent';
COMMENT ON COLUMN tailnet_private.connection_logs.agent_name IS 'The name that the agent had at that time';
COMMENT ON COLUMN tailnet_private.connection_logs.workspace_id IS 'The workspace that the agent served';
COMMENT ON COLUMN tailnet_private.connection_logs.workspace_name IS 'The name that the workspace had at that time';
COMMENT ON COLUMN tailnet_private.connection_logs.owner IS 'The owner that the workspace had at that time';
COMMENT ON COLUMN tailnet_private.connection_logs.type IS 'ssh, vscode, jetbrains, reconnecting_pty, workspace_app or port_forwarding';
COMMENT ON COLUMN tailnet_private.connection_logs.code IS 'Code of the connect, such as an HTTP status';
COMMENT ON COLUMN tailnet_private.connection_logs.ip IS 'The address that the connection came from';
COMMENT ON COLUMN tailnet_private.connection_logs.user_agent IS 'The client program, as it named itself';
COMMENT ON COLUMN tailnet_private.connection_logs.user_id IS 'The user that connected; NULL: not known';
COMMENT ON COLUMN tailnet_private.connection_logs.slug_or_port IS 'The app (type workspace_app) or the port (type port_forwarding)';
COMMENT ON COLUMN tailnet_private.connection_logs.connect_time IS 'When the connection began; NULL: not reported yet';
COMMENT ON COLUMN tailnet_private.connection_logs.disconnect_time IS 'When the connection first ended; NULL: not reported yet';
COMMENT ON COLUMN tailnet_private.connection_logs.disconnect_code IS 'Code of the first disconnect, such as an exit code';
COMMENT ON COLUMN tailnet_private.connection_logs.disconnect_reason IS 'Reason of the first disconnect';
COMMENT ON COLUMN tailnet_private.connection_logs.started_at IS 'The earlier of the two times, by which rows are found. A disconnect that comes after its connect does not change it, so that update is HOT';
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.connection_logs', '');

CREATE FUNCTION tailnet.upsert_connection_logs(events json) RETURNS integer
LANGUAGE sql AS 'SELECT tailnet.upsert_connection_logs(events::text)';
COMMENT ON FUNCTION tailnet.upsert_connection_logs(json) IS 'The same as upsert_connection_logs(text), for JSON that comes from SQL';

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
COMMENT ON FUNCTION tailnet.drop_connection_logs(timestamptz) IS 'Deletes the connections that began before this time, and returns their number';

CREATE VIEW tailnet.connection_logs AS
SELECT l.id, n.name AS network, l.connection_id, l.agent_id, l.agent_name, l.workspace_id, l.workspace_name, l.owner, l.type,
       coalesce(l.disconnect_code, l.code) AS code, l.ip, l.user_agent, l.user_id, l.slug_or_port, l.connect_time,
       l.disconnect_time, l.disconnect_reason, l.started_at
FROM tailnet_private.connection_logs l
JOIN tailnet_private.networks n ON n.id = l.network_id;
COMMENT ON VIEW tailnet.connection_logs IS 'Connections to agents: who used what, when, and how it ended. Search by started_at and agent_id, which have indexes';
COMMENT ON COLUMN tailnet.connection_logs.network IS 'Name of the network of the agent';
COMMENT ON COLUMN tailnet.connection_logs.code IS 'Code of the first disconnect, such as an exit code; without a disconnect the code of the connect, such as an HTTP status';
