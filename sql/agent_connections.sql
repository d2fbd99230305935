-- When agents were connected. One narrow row an agent, written at every heartbeat of it: no index but the key, and room in
-- each page for a second version of all its rows, so that heartbeats are HOT: agents that connected together are in one
-- page, and beat together. What a heartbeat changes comes last: WAL has no bytes for an unchanged front.

CREATE TABLE tailnet_private.agent_connections (
    agent_id uuid PRIMARY KEY REFERENCES tailnet_private.identities ON DELETE CASCADE,
    first_connected_at timestamptz,
    disconnected_at timestamptz,
    coordinator_id uuid,
    last_connected_at timestamptz,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 45);
COMMENT ON TABLE tailnet_private.agent_connections IS 'When each agent was connected; each column only ever moves one way, so the order of writes does not matter';
COMMENT ON COLUMN tailnet_private.agent_connections.agent_id IS 'The agent';
COMMENT ON COLUMN tailnet_private.agent_connections.first_connected_at IS 'Earliest connect; NULL: none was reported';
COMMENT ON COLUMN tailnet_private.agent_connections.last_connected_at IS 'Latest connect or heartbeat; NULL: none was reported';
COMMENT ON COLUMN tailnet_private.agent_connections.disconnected_at IS 'Latest disconnect, also when the agent has connected again since; NULL: none was reported';
COMMENT ON COLUMN tailnet_private.agent_connections.coordinator_id IS 'The coordinator of the latest connect or heartbeat; NULL: it was not reported by one';
COMMENT ON COLUMN tailnet_private.agent_connections.updated_at IS 'When the row last changed, by the clock of the database';
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.agent_connections', '');

ALTER TABLE tailnet_private.networks
    ADD COLUMN agent_connect_timeout interval NOT NULL DEFAULT '2 min' CHECK (agent_connect_timeout > '0'),
    ADD COLUMN agent_inactive_timeout interval NOT NULL DEFAULT '45 s' CHECK (agent_inactive_timeout > '0');
COMMENT ON COLUMN tailnet_private.networks.agent_connect_timeout IS 'An agent that was made longer ago and never connected has status timeout';
COMMENT ON COLUMN tailnet_private.networks.agent_inactive_timeout IS 'An agent that was not heard of for longer has status disconnected; three heartbeats by default';

CREATE FUNCTION tailnet.set_agent_timeouts(network text, connect_timeout interval, inactive_timeout interval) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF connect_timeout > '0' IS NOT TRUE OR inactive_timeout > '0' IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a timeout is NULL or not above zero, expected an interval';
    END IF;
    UPDATE tailnet_private.networks n
    SET agent_connect_timeout = connect_timeout, agent_inactive_timeout = inactive_timeout
    WHERE n.name = set_agent_timeouts.network;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = pg_catalog.format('there is no network %L', set_agent_timeouts.network),
            HINT = 'SELECT tailnet.create_network(name) makes one.';
    END IF;
END
$$;
COMMENT ON FUNCTION tailnet.set_agent_timeouts(text, interval, interval) IS 'After how long agents of a network have status timeout (never connected) and disconnected (not heard of)';

CREATE FUNCTION tailnet.update_agent_connections(
    agents uuid[], first_connected_at timestamptz[], last_connected_at timestamptz[], disconnected_at timestamptz[],
    coordinators uuid[])
RETURNS SETOF uuid
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    size integer := cardinality($1);
BEGIN
    IF size IS NULL OR ROW(cardinality($2), cardinality($3), cardinality($4), cardinality($5))
                       IS DISTINCT FROM ROW(size, size, size, size) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'arrays differ in length or are NULL, expected five of the same length',
            HINT = 'A time or coordinator that is not known is a NULL element.';
    END IF;
    IF EXISTS (SELECT FROM unnest($2 || $3 || $4) t WHERE NOT isfinite(t)) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a time is infinite, expected a time or NULL';
    END IF;
    -- Rows of new agents first, so that the rest is one plain UPDATE: ON CONFLICT DO UPDATE locks each row, and a lock is
    -- a WAL record of its own. They are whole at once: an update that follows would take the room for heartbeats from its
    -- page. All in key order, so that two batches never wait for each other crosswise. Plans are kept, and one from when a
    -- table was empty must not read all of it later: hence no NOT EXISTS, which is planned as a join, and = ANY (ARRAY[…])
    -- in joins, which nothing but a search in the index can do.
    RETURN QUERY
    INSERT INTO tailnet_private.agent_connections (
        agent_id, first_connected_at, last_connected_at, disconnected_at, coordinator_id, updated_at)
    SELECT i.id, e.first, e.last, e.gone, e.coordinator, clock_timestamp()
    FROM (
        SELECT q.agent, min(q.first) AS first, max(q.last) AS last, max(q.gone) AS gone,
               (array_agg(q.coordinator ORDER BY q.last DESC, q.coordinator DESC NULLS LAST)
                FILTER (WHERE q.last IS NOT NULL))[1] AS coordinator
        FROM unnest($1, $2, $3, $4, $5) q(agent, first, last, gone, coordinator)
        WHERE (SELECT c.agent_id FROM tailnet_private.agent_connections c WHERE c.agent_id = q.agent) IS NULL
        GROUP BY q.agent
    ) e
    JOIN tailnet_private.identities i ON i.id = ANY (ARRAY[e.agent]) AND i.role = 'agent'
    ORDER BY e.agent
    ON CONFLICT (agent_id) DO NOTHING
    RETURNING agent_id;
    -- What was just made has nothing to change.
    RETURN QUERY
    UPDATE tailnet_private.agent_connections c SET
        first_connected_at = LEAST(c.first_connected_at, e.first),
        last_connected_at = GREATEST(c.last_connected_at, e.last),
        disconnected_at = GREATEST(c.disconnected_at, e.gone),
        coordinator_id = CASE WHEN (e.last, coalesce(e.coordinator, e.nil))
                                   > (coalesce(c.last_connected_at, '-infinity'), coalesce(c.coordinator_id, e.nil))
                              THEN e.coordinator ELSE c.coordinator_id END,
        updated_at = clock_timestamp()
    FROM (
        SELECT q.agent, min(q.first) AS first, max(q.last) AS last, max(q.gone) AS gone,
               (array_agg(q.coordinator ORDER BY q.last DESC, q.coordinator DESC NULLS LAST)
                FILTER (WHERE q.last IS NOT NULL))[1] AS coordinator,
               '00000000-0000-0000-0000-000000000000'::uuid AS nil
        FROM unnest($1, $2, $3, $4, $5) q(agent, first, last, gone, coordinator)
        GROUP BY q.agent
        ORDER BY q.agent
    ) e
    WHERE c.agent_id = ANY (ARRAY[e.agent])
      AND (e.first < coalesce(c.first_connected_at, 'infinity')
           OR e.gone > coalesce(c.disconnected_at, '-infinity')
           OR (e.last, coalesce(e.coordinator, e.nil))
              > (coalesce(c.last_connected_at, '-infinity'), coalesce(c.coordinator_id, e.nil)))
    RETURNING c.agent_id;
END
$$;
COMMENT ON FUNCTION tailnet.update_agent_connections(uuid[], timestamptz[], timestamptz[], timestamptz[], uuid[])
    IS 'Connects, heartbeats and disconnects of agents, in any order and number; NULL: not known. Returns the agents whose row changed; ids that are no agents are left out';

CREATE VIEW tailnet.agent_connections AS
SELECT agent_id, first_connected_at, last_connected_at, disconnected_at, coordinator_id, updated_at
FROM tailnet_private.agent_connections;
COMMENT ON VIEW tailnet.agent_connections IS 'When each agent was connected';
COMMENT ON COLUMN tailnet.agent_connections.agent_id IS 'The agent';
COMMENT ON COLUMN tailnet.agent_connections.first_connected_at IS 'Earliest connect; NULL: none was reported';
COMMENT ON COLUMN tailnet.agent_connections.last_connected_at IS 'Latest connect or heartbeat; NULL: none was reported';
COMMENT ON COLUMN tailnet.agent_connections.disconnected_at IS 'Latest disconnect, also when the agent has connected again since; NULL: none was reported';
COMMENT ON COLUMN tailnet.agent_connections.coordinator_id IS 'The coordinator of the latest connect or heartbeat; NULL: it was not reported by one';
COMMENT ON COLUMN tailnet.agent_connections.updated_at IS 'When the row last changed, by the clock of the database';

CREATE VIEW tailnet.agents AS
SELECT i.id AS agent_id, i.name, n.name AS network,
       CASE WHEN c.last_connected_at IS NULL THEN
                CASE WHEN i.created_at < pg_catalog.now() - n.agent_connect_timeout THEN 'timeout' ELSE 'connecting' END
            WHEN c.disconnected_at >= c.last_connected_at
                 OR c.last_connected_at < pg_catalog.now() - n.agent_inactive_timeout THEN 'disconnected'
            ELSE 'connected' END AS status,
       c.first_connected_at, c.last_connected_at, c.disconnected_at, c.coordinator_id
FROM tailnet_private.identities i
JOIN tailnet_private.networks n ON n.id = i.network_id
LEFT JOIN tailnet_private.agent_connections c ON c.agent_id = i.id
WHERE i.role = 'agent';
COMMENT ON VIEW tailnet.agents IS 'Agents with the status of their connection';
COMMENT ON COLUMN tailnet.agents.agent_id IS 'The agent';
COMMENT ON COLUMN tailnet.agents.name IS 'For people; NULL when it has none';
COMMENT ON COLUMN tailnet.agents.network IS 'Name of its network';
COMMENT ON COLUMN tailnet.agents.status IS 'connecting (never connected yet), timeout (never connected in time), connected, or disconnected (said so, or not heard of for too long)';
COMMENT ON COLUMN tailnet.agents.first_connected_at IS 'Earliest connect; NULL: it never connected';
COMMENT ON COLUMN tailnet.agents.last_connected_at IS 'Latest connect or heartbeat; NULL: it never connected';
COMMENT ON COLUMN tailnet.agents.disconnected_at IS 'Latest disconnect; NULL: it never disconnected';
COMMENT ON COLUMN tailnet.agents.coordinator_id IS 'The coordinator of the latest connect or heartbeat';
