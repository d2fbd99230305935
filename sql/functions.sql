-- Last of all: what the functions are for, what they run with, and who may call them.

-- What the functions written in Rust do; docs/protocol.md says it at length.

COMMENT ON FUNCTION tailnet.register_coordinator(uuid, text) IS 'Registers a proxy and returns its registration, a secret; its log starts when it listens';
COMMENT ON FUNCTION tailnet.listen_coordinator(uuid) IS 'Listens to the log of a registration on this connection: channel tailnet_ and 32 hex digits';
COMMENT ON FUNCTION tailnet.heartbeat_coordinator(uuid, boolean) IS 'Says that a proxy lives, and whether all its sessions are restored; expires others that were silent too long and returns their number, or removes peers that were lost for tailnet.lost_peer_retention';
COMMENT ON FUNCTION tailnet.close_coordinator(uuid) IS 'Marks all peers of a proxy lost, forgets it, and returns the number of peers';
COMMENT ON FUNCTION tailnet.attach_peers(uuid, uuid[], bigint[]) IS 'Opens sessions; the view of each follows in the log';
COMMENT ON FUNCTION tailnet.restore_peers(uuid, uuid[], bigint[], text[], uuid[], uuid[]) IS 'Puts back sessions that stand, with their nodes and the tunnels they opened';
COMMENT ON FUNCTION tailnet.bind_peers(uuid, uuid[], bigint[], text[]) IS 'Announces nodes';
COMMENT ON FUNCTION tailnet.lose_peers(uuid, uuid[], bigint[]) IS 'Ends sessions without a goodbye: partners see LOST, tunnels stay';
COMMENT ON FUNCTION tailnet.disconnect_peers(uuid, uuid[], bigint[]) IS 'Ends sessions with a goodbye: bindings and the tunnels that they opened are deleted';
COMMENT ON FUNCTION tailnet.open_tunnels(uuid, uuid[], bigint[], uuid[]) IS 'Opens tunnels from sessions to peers';
COMMENT ON FUNCTION tailnet.close_tunnels(uuid, uuid[], bigint[], uuid[]) IS 'Closes tunnels that sessions opened';
COMMENT ON FUNCTION tailnet.ready_for_handshake(uuid, uuid[], bigint[], uuid[]) IS 'Tells tunnel partners that a peer is ready for a handshake';
COMMENT ON FUNCTION tailnet.view_peers(uuid, uuid[], bigint[], uuid[]) IS 'Sends the next page of views';
COMMENT ON FUNCTION tailnet.revoke_peer(uuid) IS 'Revokes an identity: its token fails, its live session ends, its binding and tunnels are deleted; false: it was revoked already';
COMMENT ON FUNCTION tailnet.revoke_tunnel(uuid, uuid) IS 'Takes a grant back and closes the tunnel that it allowed; false: there was no such grant';
COMMENT ON FUNCTION tailnet.upsert_connection_logs(text) IS 'Writes a JSON array of events of connections, in any order, split and repetition, and returns the number of rows written';

-- One place that pins what every function of the extension runs with, and who may call it.

CREATE FUNCTION tailnet_private.pin_function(f regprocedure) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE pg_catalog.format(
        'ALTER FUNCTION %s SECURITY DEFINER SET search_path = pg_catalog, pg_temp', f);
    -- Batches are small against the tables and driven by index. The planner has no statistics of an unnest and would
    -- sooner or later hash or scan a whole table for a few hundred ids; compiling such plans costs more than running them.
    EXECUTE pg_catalog.format(
        'ALTER FUNCTION %s SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off '
        'SET plan_cache_mode = force_generic_plan SET jit = off', f);
    EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
END
$$;
COMMENT ON FUNCTION tailnet_private.pin_function(regprocedure) IS 'Pins the settings of a function of the extension, and takes it away from PUBLIC';

DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN
        SELECT p.oid FROM pg_catalog.pg_proc p
        WHERE p.pronamespace IN ('tailnet'::regnamespace, 'tailnet_private'::regnamespace)
          -- It runs for each row that is written: settings would cost more than what it does.
          AND p.oid <> 'tailnet_private.connection_key(uuid, uuid, text)'::regprocedure
    LOOP
        PERFORM tailnet_private.pin_function(f);
    END LOOP;
END
$$;

-- Roles belong to the whole cluster, so another database may have made them; DROP EXTENSION leaves them.

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
    tailnet.authenticate(bytea[]),
    tailnet.register_coordinator(uuid, text),
    tailnet.listen_coordinator(uuid),
    tailnet.heartbeat_coordinator(uuid, boolean),
    tailnet.close_coordinator(uuid),
    tailnet.attach_peers(uuid, uuid[], bigint[]),
    tailnet.restore_peers(uuid, uuid[], bigint[], text[], uuid[], uuid[]),
    tailnet.bind_peers(uuid, uuid[], bigint[], text[]),
    tailnet.lose_peers(uuid, uuid[], bigint[]),
    tailnet.disconnect_peers(uuid, uuid[], bigint[]),
    tailnet.open_tunnels(uuid, uuid[], bigint[], uuid[]),
    tailnet.close_tunnels(uuid, uuid[], bigint[], uuid[]),
    tailnet.ready_for_handshake(uuid, uuid[], bigint[], uuid[]),
    tailnet.view_peers(uuid, uuid[], bigint[], uuid[])
TO tailnet_proxy;
GRANT EXECUTE ON FUNCTION
    tailnet.update_agent_connections(uuid[], timestamptz[], timestamptz[], timestamptz[], uuid[]),
    tailnet.upsert_connection_logs(text)
TO tailnet_proxy, tailnet_writer;
GRANT EXECUTE ON FUNCTION tailnet.upsert_connection_logs(json) TO tailnet_writer;
