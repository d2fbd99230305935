-- The roles, and what each may do.

-- Roles belong to the whole cluster. So the extension in another database may have made them already, and DROP EXTENSION
-- does not drop them.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tailnet_proxy') THEN
        CREATE ROLE tailnet_proxy NOLOGIN;
        COMMENT ON ROLE tailnet_proxy IS 'pg_tailnet: may call the functions that a proxy needs, and nothing else';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tailnet_reader') THEN
        CREATE ROLE tailnet_reader NOLOGIN;
        COMMENT ON ROLE tailnet_reader IS 'pg_tailnet: may read the views and call the batch lookups';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tailnet_writer') THEN
        CREATE ROLE tailnet_writer NOLOGIN;
        COMMENT ON ROLE tailnet_writer IS 'pg_tailnet: may write agent connections and connection logs';
    END IF;
END
$$;

GRANT USAGE ON SCHEMA tailnet TO tailnet_proxy, tailnet_reader, tailnet_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA tailnet TO tailnet_reader;
GRANT EXECUTE ON FUNCTION tailnet.tunnel_peer_ids(uuid[]), tailnet.tunnel_peer_bindings(uuid[]) TO tailnet_reader;
GRANT EXECUTE ON FUNCTION
    tailnet.authenticate(bytea[], text[]),
    tailnet.enrol(bytea[], uuid[]),
    tailnet.register_coordinator(uuid, text, integer),
    tailnet.listen_coordinator(uuid),
    tailnet.heartbeat_coordinator(uuid, boolean),
    tailnet.close_coordinator(uuid),
    tailnet.attach_peers(uuid, uuid[], bigint[], text[], uuid[]),
    tailnet.restore_peers(uuid, uuid[], bigint[], text[], text[], uuid[], uuid[], uuid[]),
    tailnet.bind_peers(uuid, uuid[], bigint[], text[]),
    tailnet.lose_peers(uuid, uuid[], bigint[]),
    tailnet.disconnect_peers(uuid, uuid[], bigint[], text[]),
    tailnet.open_tunnels(uuid, uuid[], bigint[], uuid[]),
    tailnet.close_tunnels(uuid, uuid[], bigint[], uuid[]),
    tailnet.ready_for_handshake(uuid, uuid[], bigint[], uuid[]),
    tailnet.view_peers(uuid, uuid[], bigint[], uuid[]),
    tailnet.reap(uuid),
    tailnet.judge_dials(bytea[], uuid[]),
    tailnet.derp_maps_of(uuid[]),
    tailnet.agent_info_of(uuid[])
TO tailnet_proxy;
GRANT EXECUTE ON FUNCTION
    tailnet.update_agent_connections(uuid[], timestamptz[], timestamptz[], timestamptz[], uuid[]),
    tailnet.update_agent_states(uuid[], text[], text[], text[], timestamptz[]),
    tailnet.upsert_connection_logs(text)
TO tailnet_proxy, tailnet_writer;
GRANT EXECUTE ON FUNCTION tailnet.upsert_connection_logs(json) TO tailnet_writer;
