//! Plans: what a batch costs does not grow with the tables.

use std::collections::BTreeSet;

use anyhow::Result;
use tailnet_tests::harness::{Stack, plan::Explainer, run};

/// Tables with a row for each peer, tunnel or connection.
const LARGE: [&str; 6] = ["peers", "tunnels", "identities", "grants", "agent_connections", "connection_logs"];

/// 100,000 peers, half of them clients with two tunnels each. All but those of the batches are on another coordinator.
const FILL: &str = "
    CREATE FUNCTION c(i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5('client ' || i)::uuid $$;
    CREATE FUNCTION a(i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5('agent ' || i)::uuid $$;
    CREATE FUNCTION node(i bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
        $$ SELECT json_build_object('id', i, 'key', 'nodekey:' || md5(i::text), 'disco', repeat('d', 200))::text $$;
    INSERT INTO tailnet_private.identities (id, network_id, role, token_sha256)
    SELECT p.id, n.id, p.role, sha256(uuid_send(p.id))
    FROM tailnet_private.networks n, generate_series(1, 50000) i,
         LATERAL (VALUES (c(i), 'client'), (a(i), 'agent')) p(id, role);
    INSERT INTO tailnet_private.coordinators (id, name, registration, registered_at, heartbeat_at, on_time_since)
    SELECT md5(name)::uuid, name, md5('registration of ' || name)::uuid, now() - '1 h'::interval, beat, now() - '1 h'::interval
    FROM (VALUES ('ours', now()), ('other', now() + '1 h'::interval), ('silent', now() - '1 h'::interval)) k(name, beat);
    INSERT INTO tailnet_private.peers (id, coordinator_id, session, status, digest, node, updated_at)
    SELECT p.id, md5(CASE WHEN i > 49500 THEN 'silent' ELSE 'other' END)::uuid, i, 'ok', i, node(i)::json, now()
    FROM generate_series(1, 50000) i, LATERAL (VALUES (c(i)), (a(i))) p(id);
    INSERT INTO tailnet_private.tunnels (src, dst)
    SELECT c(i), a(1 + (i + d) % 50000) FROM generate_series(1, 50000) i, generate_series(0, 1) d;
    INSERT INTO tailnet_private.grants (client_id, agent_id)
    SELECT c(i), a(1 + (i + d) % 50000) FROM generate_series(1, 50000) i, generate_series(0, 2) d;
    INSERT INTO tailnet_private.agent_connections (agent_id, last_connected_at, updated_at)
    SELECT a(i), now(), now() FROM generate_series(1, 50000) i;
    ANALYZE";

/// Every function of the extension, with a batch of 500 if it takes one, and what it says that it did: a call without an
/// effect would not look up whom to tell. `$clients`, `$agents`… are arrays of 500; `$registration` is our own.
const CALLS: [(&str, &str, &str); 24] = [
    ("authenticate", "$hashes", "500 rows"),
    ("attach_peers", "$registration, $clients, $sessions", "500"),
    ("attach_peers", "$registration, $agents, $sessions", "500"),
    ("bind_peers", "$registration, $clients, $sessions, $nodes", "500"),
    ("open_tunnels", "$registration, $clients, $sessions, $granted", "500"),
    ("ready_for_handshake", "$registration, $agents, $sessions, $callers", "500"),
    ("view_peers", "$registration, $clients, $sessions, $agents", "500"),
    ("tunnel_peer_ids", "$clients", "1500 rows"),
    ("tunnel_peer_bindings", "$clients", "1500 rows"),
    ("close_tunnels", "$registration, $clients, $sessions, $granted", "500"),
    ("lose_peers", "$registration, $clients, $sessions", "500"),
    ("disconnect_peers", "$registration, $agents, $sessions", "500"),
    ("restore_peers", "$registration, $clients, $sessions, $nodes, $clients, $granted", "500"),
    ("update_agent_connections", "$agents, $times, $times, $times, $agents", "500 rows"),
    ("upsert_connection_logs", "$events", "500"),
    ("grant_tunnel", "c(2), a(2000)", "t"),
    ("revoke_tunnel", "c(2), a(2000)", "t"),
    ("grant_tunnel", "c(2), a(3)", "f"),
    ("revoke_tunnel", "c(2), a(3)", "t"),
    ("rotate_token", "c(3)", "1 row"),
    ("revoke_peer", "c(4)", "t"),
    ("heartbeat_coordinator", "$registration", "1"),
    ("close_coordinator", "$registration", "500"),
    ("register_coordinator", "gen_random_uuid(), 'third'", "1 row"),
];

const BEAT: &str = "UPDATE tailnet_private.coordinators SET heartbeat_at = now() WHERE name = 'ours'";

/// They look at no large table, or are no part of what peers wait for.
const EXEMPT: [&str; 4] = ["create_network", "create_peer", "drop_connection_logs", "set_agent_timeouts"];

#[tokio::test]
async fn plans_of_every_function_are_driven_by_index() {
    run(0, async |stack: &Stack| {
        stack.operator.sql.batch_execute(FILL).await?;
        assert_eq!(functions(stack).await?, covered(), "a new function needs a call here, or a reason for none");
        let mut explainer = Explainer::open(stack).await?;
        for (function, arguments, effect) in CALLS {
            // Our beats were on time all the while: who was late itself expires nobody.
            stack.operator.sql.batch_execute(BEAT).await?;
            let sql = format!("SELECT tailnet.{function}({})", expand(arguments));
            let (rows, plans) = explainer.run(&sql).await?;
            assert!(rows == [effect] || effect.starts_with(&format!("{} row", rows.len())), "{function}: {rows:?}");
            let touched = plans.iter().filter(|plan| plan.touches(&LARGE)).count();
            assert!(touched > 0 || function == "register_coordinator", "{function}: no plan was seen");
            for plan in plans {
                let fault = plan.grows_with(&LARGE);
                assert!(fault.is_none(), "{function} grows with a table: {fault:#?}\nin {plan:#?}");
            }
        }
        Ok(())
    })
    .await;
}

/// The rule above would notice what it is there for.
#[tokio::test]
async fn plans_that_grow_are_noticed() {
    run(0, async |stack: &Stack| {
        let mut explainer = Explainer::open(stack).await?;
        for sql in [
            "SELECT * FROM tailnet_private.peers",
            "SET enable_seqscan = off; SELECT count(*) FROM tailnet_private.tunnels",
            "SET enable_nestloop = off; SELECT FROM tailnet_private.peers p JOIN tailnet_private.tunnels t ON t.src = p.id",
            "DELETE FROM tailnet_private.grants",
        ] {
            let (_, plans) = explainer.run(sql).await?;
            assert!(plans.iter().any(|plan| plan.grows_with(&LARGE).is_some()), "{sql}: {plans:?}");
        }
        let (_, plans) = explainer.run("SELECT FROM tailnet_private.peers WHERE id = '00000000-0000-4000-8000-000000000000'").await?;
        assert!(plans.iter().all(|plan| plan.touches(&["peers"]) && plan.grows_with(&["tunnels"]).is_none()), "{plans:?}");
        Ok(())
    })
    .await;
}

fn covered() -> BTreeSet<String> {
    CALLS.iter().map(|(function, ..)| *function).chain(EXEMPT).map(str::to_owned).collect()
}

async fn functions(stack: &Stack) -> Result<BTreeSet<String>> {
    let sql = "SELECT p.proname::text FROM pg_proc p WHERE p.pronamespace = 'tailnet'::regnamespace";
    Ok(stack.operator.sql.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// Arrays are made without a look at the tables, so that all plans that look there are those of the function.
fn expand(arguments: &str) -> String {
    let array = |element: &str| format!("ARRAY(SELECT {element} FROM generate_series(1000, 1499) i)");
    arguments
        .replace("$registration", "md5('registration of ours')::uuid")
        .replace("$clients", &array("c(i)"))
        .replace("$agents", &array("a(i)"))
        .replace("$callers", &array("c(i - 1)"))
        .replace("$granted", &array("a(i + 3)"))
        .replace("$sessions", &array("i + 1000000"))
        .replace("$hashes", &array("sha256(uuid_send(c(i)))"))
        .replace("$nodes", &array("node(i + 1)"))
        .replace("$times", &array("now() + '1 min'::interval"))
        .replace(
            "$events",
            "(SELECT json_agg(json_build_object('connection_id', gen_random_uuid(), 'agent_id', a(i), 'type', 'ssh',
                                                'connect_time', now())) FROM generate_series(1000, 1499) i)",
        )
}
