-- What agents tell of themselves, what operators tell agents, and the view of both. These tables are logged.

CREATE TABLE tailnet_private.agent_states (
    agent_id uuid PRIMARY KEY REFERENCES tailnet_private.identities ON DELETE CASCADE,
    version text,
    directory text,
    lifecycle text,
    lifecycle_at timestamptz,
    updated_at timestamptz NOT NULL
);
COMMENT ON TABLE tailnet_private.agent_states IS 'What each agent last told of itself. It is apart from agent_connections, whose rows are written all the time and must stay short';
COMMENT ON COLUMN tailnet_private.agent_states.agent_id IS 'The agent';
COMMENT ON COLUMN tailnet_private.agent_states.version IS 'The version of its program; NULL: not told';
COMMENT ON COLUMN tailnet_private.agent_states.directory IS 'The directory in which it works; NULL: not told';
COMMENT ON COLUMN tailnet_private.agent_states.lifecycle IS 'Its state: created, starting, start_timeout, start_error, ready, shutting_down, shutdown_timeout, shutdown_error or off; NULL: not told';
COMMENT ON COLUMN tailnet_private.agent_states.lifecycle_at IS 'Since when, by the clock of the agent; NULL: not told';
COMMENT ON COLUMN tailnet_private.agent_states.updated_at IS 'When the row last changed, by the clock of the database';
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.agent_states', '');

CREATE FUNCTION tailnet.update_agent_states(
    agents uuid[], versions text[], directories text[], lifecycles text[], lifecycle_times timestamptz[]) RETURNS integer
LANGUAGE plpgsql STRICT AS $$
DECLARE
    written integer;
BEGIN
    INSERT INTO tailnet_private.agent_states AS s (agent_id, version, directory, lifecycle, lifecycle_at, updated_at)
    SELECT i.id, q.version, q.directory, q.lifecycle, q.since, pg_catalog.clock_timestamp()
    FROM unnest(agents, versions, directories, lifecycles, lifecycle_times) q(agent, version, directory, lifecycle, since)
    -- As in update_agent_connections: the planner can only answer = ANY by a search in the index.
    JOIN tailnet_private.identities i ON i.id = ANY (ARRAY[q.agent]) AND i.role = 'agent'
    ORDER BY q.agent
    ON CONFLICT (agent_id) DO UPDATE SET
        version = coalesce(EXCLUDED.version, s.version),
        directory = coalesce(EXCLUDED.directory, s.directory),
        -- Of two states the later one stays, in whatever order they come.
        lifecycle = CASE WHEN EXCLUDED.lifecycle_at >= coalesce(s.lifecycle_at, '-infinity') THEN EXCLUDED.lifecycle
                         ELSE s.lifecycle END,
        lifecycle_at = greatest(EXCLUDED.lifecycle_at, s.lifecycle_at),
        updated_at = EXCLUDED.updated_at;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;
COMMENT ON FUNCTION tailnet.update_agent_states(uuid[], text[], text[], text[], timestamptz[]) IS 'Writes what agents tell of themselves, each agent once; NULL: not told. Returns the number of rows written';

CREATE TABLE tailnet_private.agent_info (
    agent_id uuid PRIMARY KEY REFERENCES tailnet_private.identities ON DELETE CASCADE,
    owner text NOT NULL,
    workspace text NOT NULL,
    workspace_id uuid NOT NULL,
    directory text NOT NULL,
    environment jsonb NOT NULL
);
COMMENT ON TABLE tailnet_private.agent_info IS 'What operators tell agents that speak tailnet v2';
COMMENT ON COLUMN tailnet_private.agent_info.agent_id IS 'The agent';
COMMENT ON COLUMN tailnet_private.agent_info.owner IS 'The name of its owner';
COMMENT ON COLUMN tailnet_private.agent_info.workspace IS 'The name of its workspace';
COMMENT ON COLUMN tailnet_private.agent_info.workspace_id IS 'The id of its workspace';
COMMENT ON COLUMN tailnet_private.agent_info.directory IS 'The directory in which it starts; empty: its own choice';
COMMENT ON COLUMN tailnet_private.agent_info.environment IS 'Variables of the environment of what it starts: an object of texts';
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.agent_info', '');

CREATE FUNCTION tailnet.set_agent_info(
    agent uuid, owner text DEFAULT 'owner', workspace text DEFAULT NULL, workspace_id uuid DEFAULT NULL,
    directory text DEFAULT '', environment jsonb DEFAULT '{}') RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
BEGIN
    PERFORM tailnet_private.expect_role(agent, 'agent');
    IF environment IS NULL OR pg_catalog.jsonb_typeof(environment) <> 'object'
       OR EXISTS (SELECT FROM pg_catalog.jsonb_each(environment) e WHERE pg_catalog.jsonb_typeof(e.value) <> 'string') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'environment is not an object of texts, such as {"EDITOR": "vi"}';
    END IF;
    IF coalesce(owner, '') = '' OR workspace = '' OR directory IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'owner is NULL or empty, workspace is empty, or directory is NULL, expected names and a path or an empty text';
    END IF;
    INSERT INTO tailnet_private.agent_info AS a (agent_id, owner, workspace, workspace_id, directory, environment)
    VALUES (agent, owner,
            coalesce(workspace, (SELECT i.name FROM tailnet_private.identities i WHERE i.id = agent), 'workspace'),
            coalesce(workspace_id, agent), directory, environment)
    ON CONFLICT (agent_id) DO UPDATE SET
        owner = EXCLUDED.owner, workspace = EXCLUDED.workspace, workspace_id = EXCLUDED.workspace_id,
        directory = EXCLUDED.directory, environment = EXCLUDED.environment;
END
$$;
COMMENT ON FUNCTION tailnet.set_agent_info(uuid, text, text, uuid, text, jsonb) IS 'Sets what an agent that speaks tailnet v2 is told when it next connects: the names of its owner and workspace (NULL: its own name), the id of the workspace (NULL: its own id), the directory in which it starts, and variables of its environment. It is optional';

CREATE FUNCTION tailnet.agent_info_of(agents uuid[])
RETURNS TABLE (agent_id uuid, name text, owner text, workspace text, workspace_id uuid, directory text, environment text)
LANGUAGE sql STABLE STRICT ROWS 10 AS $$
    SELECT i.id, coalesce(i.name, 'agent'), coalesce(a.owner, 'owner'), coalesce(a.workspace, i.name, 'workspace'),
           coalesce(a.workspace_id, i.id), coalesce(a.directory, ''), coalesce(a.environment, '{}')::text
    FROM unnest(agents) q(id)
    JOIN tailnet_private.identities i ON i.id = q.id AND i.role = 'agent'
    LEFT JOIN tailnet_private.agent_info a ON a.agent_id = q.id
$$;
COMMENT ON FUNCTION tailnet.agent_info_of(uuid[]) IS 'What each agent is told of itself, with defaults for what no operator has set';

CREATE VIEW tailnet.agents AS
SELECT i.id AS agent_id, i.name, n.name AS network,
       CASE WHEN c.last_connected_at IS NULL THEN
                CASE WHEN i.created_at < pg_catalog.now() - n.agent_connect_timeout THEN 'timeout' ELSE 'connecting' END
            WHEN c.disconnected_at >= c.last_connected_at
                 OR c.last_connected_at < pg_catalog.now() - n.agent_inactive_timeout THEN 'disconnected'
            ELSE 'connected' END AS status,
       c.first_connected_at, c.last_connected_at, c.disconnected_at, c.coordinator_id,
       s.version, s.directory, s.lifecycle, s.lifecycle_at
FROM tailnet_private.identities i
JOIN tailnet_private.networks n ON n.id = i.network_id
LEFT JOIN tailnet_private.agent_connections c ON c.agent_id = i.id
LEFT JOIN tailnet_private.agent_states s ON s.agent_id = i.id
WHERE i.role = 'agent';
COMMENT ON VIEW tailnet.agents IS 'Agents with the status of their connection, and what they told of themselves';
COMMENT ON COLUMN tailnet.agents.name IS 'A name for people; NULL: it has none';
COMMENT ON COLUMN tailnet.agents.network IS 'Name of its network';
COMMENT ON COLUMN tailnet.agents.status IS 'connecting (it has not connected yet), timeout (it did not connect in time), connected, or disconnected (it disconnected, or was not heard for too long)';
COMMENT ON COLUMN tailnet.agents.version IS 'The version of its program; NULL: it told none';
COMMENT ON COLUMN tailnet.agents.directory IS 'The directory in which it works; NULL: it told none';
COMMENT ON COLUMN tailnet.agents.lifecycle IS 'Its state, such as starting, ready or off; NULL: it told none';
COMMENT ON COLUMN tailnet.agents.lifecycle_at IS 'Since when, by the clock of the agent; NULL: it told no state';
