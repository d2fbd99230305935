-- Batch lookups. LATERAL makes the planner look up each id in an index. With "= ANY" it would hash the whole table for a few
-- hundred ids. function_settings.sql turns off the other kinds of plans.

CREATE FUNCTION tailnet.tunnel_peer_ids(peers uuid[])
RETURNS TABLE (peer_id uuid, tunnel_peer_id uuid)
LANGUAGE sql STABLE STRICT ROWS 500 AS $$
    SELECT q.id, t.other
    FROM (SELECT DISTINCT u.id FROM unnest(peers) AS u(id)) q
    CROSS JOIN LATERAL (
        SELECT o.dst AS other FROM tailnet_private.tunnels o WHERE o.src = q.id
        UNION
        SELECT i.src FROM tailnet_private.tunnels i WHERE i.dst = q.id
    ) t
$$;
COMMENT ON FUNCTION tailnet.tunnel_peer_ids(uuid[]) IS 'The tunnel partners of each of these peers, whichever of the two opened the tunnel. Each pair is returned once';

CREATE FUNCTION tailnet.tunnel_peer_bindings(peers uuid[])
RETURNS TABLE (peer_id uuid, tunnel_peer_id uuid, status text, node json, updated_at timestamptz)
LANGUAGE sql STABLE STRICT ROWS 500 AS $$
    SELECT t.peer_id, t.tunnel_peer_id, p.status, p.node, p.updated_at
    FROM tailnet.tunnel_peer_ids(peers) t
    JOIN tailnet_private.peers p ON p.id = t.tunnel_peer_id
    WHERE p.status IS NOT NULL
$$;
COMMENT ON FUNCTION tailnet.tunnel_peer_bindings(uuid[]) IS 'The bindings of the tunnel partners of each of these peers. Partners that never announced a node are left out';
