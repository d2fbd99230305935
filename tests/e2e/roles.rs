//! Roles of Postgres: what a proxy and a reader may do with SQL, and nothing else.

use anyhow::{Result, ensure};
use serde_json::Value;
use tailnet_harness::{Stack, stack::Setup};
use tailnet_tools::cluster;
use tokio_postgres::{Client, error::SqlState};
use uuid::Uuid;

tests_on! {
    one_proxy: Setup::of(1) =>
        roles_proxy_calls_its_functions_and_touches_no_relation,
        roles_reader_reads_the_views_and_calls_the_lookups,
        roles_nobody_else_may_do_anything;
}

/// All that a proxy calls.
const PROXY_FUNCTIONS: [&str; 22] = [
    "agent_info_of",
    "attach_peers",
    "authenticate",
    "bind_peers",
    "close_coordinator",
    "close_tunnels",
    "derp_maps_of",
    "disconnect_peers",
    "enrol",
    "heartbeat_coordinator",
    "judge_dials",
    "listen_coordinator",
    "lose_peers",
    "open_tunnels",
    "ready_for_handshake",
    "reap",
    "register_coordinator",
    "restore_peers",
    "update_agent_connections",
    "update_agent_states",
    "upsert_connection_logs",
    "view_peers",
];

const READER_FUNCTIONS: [&str; 2] = ["tunnel_peer_bindings", "tunnel_peer_ids"];

/// Each relation of the extension, whether it is a view, and every way to write to it for which Postgres checks rights. A
/// view over several tables takes no writes from anyone.
const RELATIONS: &str = "
    SELECT name, relkind = 'v', CASE relkind
        WHEN 'v' THEN '{}'
        WHEN 'S' THEN ARRAY[format('SELECT nextval(%L)', name), format('SELECT setval(%L, 1)', name)]
        ELSE ARRAY[format('INSERT INTO %s DEFAULT VALUES', name), format('UPDATE %s SET %I = %2$I', name, attname),
                   format('DELETE FROM %s', name), format('TRUNCATE %s', name)]
    END
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1, LATERAL (SELECT c.oid::regclass::text name) n
    WHERE c.relnamespace IN ('tailnet'::regnamespace, 'tailnet_private'::regnamespace)
      AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')";

async fn roles_proxy_calls_its_functions_and_touches_no_relation(stack: &Stack) -> Result<()> {
    let login = &stack.database().logins()[0];
    let proxy = cluster::connect(&stack.database().as_proxy(login)).await?;
    assert_eq!(callable(stack, &login.role).await?, PROXY_FUNCTIONS);
    for call in ["create_network('mine')", "revoke_peer(gen_random_uuid())", "tunnel_peer_ids('{}')"] {
        assert_refused(&proxy, &format!("SELECT tailnet.{call}")).await?;
    }
    assert_rights(stack, &proxy, &login.role, false).await
}

async fn roles_reader_reads_the_views_and_calls_the_lookups(stack: &Stack) -> Result<()> {
    let pair = stack.pair().await?;
    // SET ROLE gives up the rights of the superuser.
    let reader = stack.database().connect().await?;
    reader.batch_execute("SET ROLE tailnet_reader").await?;
    assert_eq!(callable(stack, "tailnet_reader").await?, READER_FUNCTIONS);
    for call in
        ["authenticate('{}', '{}')", "create_network('mine')", "register_coordinator(gen_random_uuid(), 'x', 1)"]
    {
        assert_refused(&reader, &format!("SELECT tailnet.{call}")).await?;
    }
    assert_rights(stack, &reader, "tailnet_reader", true).await?;
    let ids = vec![pair.client.id()];
    let found = reader.query_one("SELECT tunnel_peer_id FROM tailnet.tunnel_peer_ids($1)", &[&ids]).await?;
    assert_eq!(found.get::<_, Uuid>(0), pair.agent.id());
    let sql = "SELECT tunnel_peer_id, status, node FROM tailnet.tunnel_peer_bindings($1)";
    let found = reader.query_one(sql, &[&ids]).await?;
    assert_eq!((found.get::<_, Uuid>(0), found.get::<_, &str>(1)), (pair.agent.id(), "ok"));
    assert_eq!(found.get::<_, Value>(2), pair.agent.identity().node(1));
    Ok(())
}

async fn roles_nobody_else_may_do_anything(stack: &Stack) -> Result<()> {
    assert_eq!(callable(stack, "pg_monitor").await?, [""; 0], "PUBLIC may call nothing");
    Ok(())
}

/// A role may read no relation, or views only, and write to none.
async fn assert_rights(stack: &Stack, client: &Client, role: &str, reads_views: bool) -> Result<()> {
    let relations = stack.operator.sql.query(RELATIONS, &[]).await?;
    ensure!(relations.len() > 10, "expected all relations of the extension, found {}", relations.len());
    for relation in relations {
        let (name, is_view): (&str, bool) = (relation.get(0), relation.get(1));
        let select = format!("SELECT * FROM {name}");
        if is_view && reads_views {
            client.batch_execute(&select).await?;
        } else {
            assert_refused(client, &select).await?;
        }
        assert!(!is_view || !may_write(stack, role, name).await?, "{name}");
        for write in relation.get::<_, Vec<String>>(2) {
            assert_refused(client, &write).await?;
        }
    }
    Ok(())
}

async fn assert_refused(client: &Client, statement: &str) -> Result<()> {
    match client.batch_execute(statement).await {
        Ok(()) => panic!("{statement}: was not refused"),
        Err(error) => assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{statement}: {error:?}"),
    }
    Ok(())
}

async fn may_write(stack: &Stack, role: &str, relation: &str) -> Result<bool> {
    let sql =
        "SELECT bool_or(has_table_privilege($1, $2::text, w)) FROM unnest('{INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) w";
    stack.operator.value(sql, &[&role, &relation]).await
}

/// The functions of the extension that a role may call.
async fn callable(stack: &Stack, role: &str) -> Result<Vec<String>> {
    let sql = "SELECT p.proname::text
               FROM pg_proc p
               WHERE p.pronamespace IN ('tailnet'::regnamespace, 'tailnet_private'::regnamespace)
                 AND has_function_privilege($1, p.oid, 'EXECUTE')
               ORDER BY 1";
    Ok(stack.operator.sql.query(sql, &[&role]).await?.iter().map(|row| row.get(0)).collect())
}
