//! From a NOTIFY until its commit is on disk, a transaction holds a lock that all of the cluster shares. So what proxies call
//! waits for no disk. What operators call does, and notifies nobody.

use anyhow::Result;
use tailnet_harness::{Stack, operator::PROVE, process_tree, stack::Setup};
use tokio_postgres::Client;

tests_on! {
    own_postgres: Setup { private_cluster: true, ..Setup::of(0) } =>
        flushes_never_happen_under_the_lock_of_notify;
}

/// Clients, an agent, a coordinator that may judge others, and another one with a client that has a tunnel to the agent.
const PREPARE: &str = "
    CREATE TABLE written (at timestamptz);
    CREATE FUNCTION id(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5('peer ' || n)::uuid $$;
    CREATE FUNCTION registration() RETURNS uuid LANGUAGE sql AS
        $$ SELECT registration FROM tailnet_private.coordinators WHERE name = 'ours' $$;
    SELECT tailnet.create_peer('home', 'client', id => id(1)), tailnet.create_peer('home', 'client', id => id(2)),
           tailnet.create_peer('home', 'agent', id => id(3)), tailnet.create_peer('home', 'client', id => id(4)),
           tailnet.grant_tunnel(id(1), id(3)), tailnet.grant_tunnel(id(2), id(3)),
           tailnet.create_peer('home', 'client', id => id(5)), tailnet.grant_tunnel(id(5), id(3)),
           tailnet.register_coordinator(id(9), 'ours', 1);
    SELECT tailnet.attach_peers(other, ARRAY[id(5)], '{5}', ARRAY[prove(id(5), 5)]),
           tailnet.open_tunnels(other, ARRAY[id(5)], '{5}', ARRAY[id(3)])
    FROM tailnet.register_coordinator(id(8), 'other', 1) other;
    UPDATE tailnet_private.coordinators SET on_time_since = now() - '1 h'::interval";

/// The calls of proxies, in an order in which each of them notifies.
const NOTIFY: [&str; 12] = [
    "attach_peers(registration(), ARRAY[id(1), id(2), id(3)], '{1,2,3}',
                  ARRAY[prove(id(1), 1), prove(id(2), 2), prove(id(3), 3)])",
    "open_tunnels(registration(), ARRAY[id(1), id(2)], '{1,2}', ARRAY[id(3), id(3)])",
    "bind_peers(registration(), ARRAY[id(1), id(3)], '{1,3}', ARRAY['{\"key\":\"1\"}', '{\"key\":\"3\"}'])",
    "ready_for_handshake(registration(), ARRAY[id(3)], '{3}', ARRAY[id(1)])",
    "view_peers(registration(), ARRAY[id(1)], '{1}', '{NULL}')",
    "disconnect_peers(registration(), ARRAY[id(2)], '{2}', ARRAY[prove(id(2), 2)])",
    "lose_peers(registration(), ARRAY[id(3)], '{3}')",
    "close_tunnels(registration(), ARRAY[id(1)], '{1}', ARRAY[id(3)])",
    "restore_peers(registration(), ARRAY[id(1), id(3)], '{1,3}', ARRAY[prove(id(1), 1), prove(id(3), 3)],
                   ARRAY['{\"key\":\"4\"}', '{\"key\":\"5\"}'],
                   ARRAY[id(1)], ARRAY[id(3)])",
    "heartbeat_coordinator(registration(), true)",
    "reap(registration())",
    "close_coordinator(registration())",
];

/// Calls of operators.
const NO_NOTIFY: [&str; 18] = [
    "create_network('other')",
    "create_peer('home', 'hub')",
    "grant_tunnel(id(4), id(3))",
    "revoke_tunnel(id(4), id(3))",
    "rotate_token(id(4))",
    "revoke_peer(id(4))",
    "set_agent_timeouts('home', '1 min', '1 min')",
    "create_key('home', 'hub', 'k', 'shared')",
    "rotate_token((SELECT key_id FROM tailnet.keys), '1 h')",
    "revoke_key((SELECT key_id FROM tailnet.keys))",
    "set_tags(id(3), '{a}')",
    "enrol(ARRAY[sha256(convert_to((tailnet.create_key('home', 'agent', 'e', 'enrolment')).token, 'UTF8'))], ARRAY[id(9)])",
    "create_policy('home', 'p', 'a', 'b')",
    "drop_policy('home', 'p')",
    "set_clients_reach_all_agents('home', true)",
    "disconnect_peer(id(4))",
    "delete_peer((SELECT peer_id FROM tailnet.identities WHERE role = 'hub' AND name IS NULL LIMIT 1))",
    "delete_network('other')",
];

/// These processes write the log of Postgres to disk when they see fit, and would hide who else does.
const WRITERS: [&str; 4] = ["walwriter", "background writer", "checkpointer", "autovacuum launcher"];

async fn flushes_never_happen_under_the_lock_of_notify(stack: &Stack) -> Result<()> {
    let sql = &stack.operator.sql;
    sql.batch_execute(PROVE).await?;
    sql.batch_execute(PREPARE).await?;
    let writers: Vec<u32> = sql
        .query("SELECT pid FROM pg_stat_activity WHERE backend_type = ANY ($1)", &[&WRITERS.as_slice()])
        .await?
        .iter()
        .map(|row| row.get::<_, i32>(0).unsigned_abs())
        .collect();
    process_tree::signal("STOP", &writers).await?;
    let checked = check(sql).await;
    process_tree::signal("CONT", &writers).await?;
    checked
}

async fn check(sql: &Client) -> Result<()> {
    for call in NO_NOTIFY {
        assert!(flushes(sql, call).await?, "{call} must wait for the disk");
    }
    for call in NOTIFY {
        assert!(!flushes(sql, call).await?, "{call} must not wait for the disk");
    }
    Ok(())
}

/// Whether the transaction that makes this call, and writes a row of its own, waits until it is on disk.
async fn flushes(sql: &Client, call: &str) -> Result<bool> {
    let before = flushed(sql).await?;
    sql.batch_execute(&format!("BEGIN; INSERT INTO written VALUES (now()); SELECT tailnet.{call}; COMMIT")).await?;
    Ok(flushed(sql).await? != before)
}

/// How far the log of Postgres is on disk.
async fn flushed(sql: &Client) -> Result<String> {
    Ok(sql.query_one("SELECT pg_current_wal_flush_lsn()::text", &[]).await?.get(0))
}
