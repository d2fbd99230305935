-- When agents were connected. Each agent has one narrow row, which is written whenever the agent was heard (liveness).
--
-- These writes are HOT for two reasons: only the key has an index, and each page has room for a second version of all its
-- rows. (Agents that connected at the same time are in the same page, and their writes come at the same time.) The columns
-- that a write changes are the last ones, because WAL leaves out the unchanged beginning of a row.

CREATE TABLE tailnet_private.agent_connections (
    agent_id uuid PRIMARY KEY REFERENCES tailnet_private.identities ON DELETE CASCADE,
    first_connected_at timestamptz,
    disconnected_at timestamptz,
    coordinator_id uuid,
    last_connected_at timestamptz,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 45);
COMMENT ON TABLE tailnet_private.agent_connections IS 'When each agent was connected. Each column only ever moves one way, so the order of writes does not matter';
COMMENT ON COLUMN tailnet_private.agent_connections.agent_id IS 'The agent';
COMMENT ON COLUMN tailnet_private.agent_connections.first_connected_at IS 'When the agent first connected; NULL: not reported';
COMMENT ON COLUMN tailnet_private.agent_connections.last_connected_at IS 'When the agent last connected or was last heard; NULL: not reported';
COMMENT ON COLUMN tailnet_private.agent_connections.disconnected_at IS 'When the agent last disconnected, even if it has connected again since; NULL: not reported';
COMMENT ON COLUMN tailnet_private.agent_connections.coordinator_id IS 'The coordinator on which the agent last connected or was last heard; NULL: no coordinator reported it';
COMMENT ON COLUMN tailnet_private.agent_connections.updated_at IS 'When the row last changed, by the clock of the database';
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.agent_connections', '');

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
    -- 1. New agents are inserted first, so that one plain UPDATE can write the others. ON CONFLICT DO UPDATE would lock
    --    each row, and write a WAL record for the lock.
    -- 2. A new row gets all its values at once. An UPDATE after the INSERT would use up the free room of its page.
    -- 3. Both statements go in the order of the keys, so that two batches never wait for each other.
    -- 4. Plans are kept. A plan that was made while a table was empty must not read the whole table later. So there is no
    --    NOT EXISTS, which the planner may turn into a join, and joins say = ANY (ARRAY[...]), which it can only answer by
    --    a search in the index.
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
    -- The rows that were just inserted are found again here, but nothing in them changes.
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
    IS 'Writes when agents connected, were heard and disconnected, in any order and number; NULL: not known. Returns the agents whose row changed. Ids that are not those of agents are left out';

CREATE VIEW tailnet.agent_connections AS
SELECT agent_id, first_connected_at, last_connected_at, disconnected_at, coordinator_id, updated_at
FROM tailnet_private.agent_connections;
COMMENT ON VIEW tailnet.agent_connections IS 'When each agent was connected';
