//! Plans: the cost of a batch does not grow with the tables.

use std::collections::BTreeSet;

use anyhow::Result;
use tailnet_harness::{Stack, operator::PROVE, plan::Explainer, stack::Setup};

tests_on! {
    no_proxy: Setup::of(0) => plans_of_every_function_are_driven_by_index, plans_that_grow_are_noticed;
}

/// Tables with a row for each peer, tunnel or connection.
const LARGE: [&str; 8] =
    ["peers", "tunnels", "identities", "grants", "tags", "policies", "agent_connections", "connection_logs"];

/// Rows of a large table that one node of a plan may read for a batch of 500: those of the batch and of their partners.
const MOST_ROWS: f64 = 4_000.0;

const FUNCTIONS: &str = "
    CREATE FUNCTION c(i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5('client ' || i)::uuid $$;
    CREATE FUNCTION a(i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5('agent ' || i)::uuid $$;
    CREATE FUNCTION node(i bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
        $$ SELECT json_build_object('id', i, 'key', 'nodekey:' || md5(i::text), 'disco', repeat('d', 200))::text $$";

/// Clients and agents $from to $to, all on another coordinator. Each client may reach three agents and has tunnels to two
/// of them. Statistics are made when the test says so, and not before.
const FILL: &str = "
    SET session_replication_role = replica;
    INSERT INTO tailnet_private.identities (id, network_id, role, token_sha256)
    SELECT p.id, n.id, p.role, sha256(uuid_send(p.id))
    FROM tailnet_private.networks n, generate_series($from, $to) i,
         LATERAL (VALUES (c(i), 'client'), (a(i), 'agent')) p(id, role);
    INSERT INTO tailnet_private.peers (id, network_id, role, coordinator_id, session, status, digest, node, updated_at)
    SELECT p.id, n.id, p.role, md5('other')::uuid, i, 'ok', i, node(i)::json, now()
    FROM tailnet_private.networks n, generate_series($from, $to) i,
         LATERAL (VALUES (c(i), 'client'), (a(i), 'agent')) p(id, role);
    INSERT INTO tailnet_private.tunnels (src, dst)
    SELECT c(i), a(i + d) FROM generate_series($from, $to) i, generate_series(1, 2) d;
    INSERT INTO tailnet_private.grants (client_id, agent_id)
    SELECT c(i), a(i + d) FROM generate_series($from, $to) i, generate_series(1, 3) d;
    INSERT INTO tailnet_private.tags (owner_id, tag, network_id)
    SELECT p.id, t.tag, n.id
    FROM tailnet_private.networks n, generate_series($from, $to) i,
         LATERAL (VALUES (c(i)), (a(i))) p(id), LATERAL (VALUES ('tag' || i % 1000), ('owner=' || i % 5000)) t(tag);
    INSERT INTO tailnet_private.policies (network_id, source_tag, destination_tag, name)
    SELECT n.id, 'tag' || i % 1000, 'tag' || (i + i / 1000) % 1000, 'policy ' || i
    FROM tailnet_private.networks n, generate_series($from, least($to, 40000)) i WHERE i % 4 = 0
    ON CONFLICT DO NOTHING;
    INSERT INTO tailnet_private.agent_connections (agent_id, last_connected_at, updated_at)
    SELECT a(i), now(), now() FROM generate_series($from, $to) i";

/// Nothing is pending. Three coordinators: ours, one with all other peers, and one that sends no heartbeats and has the next 500 peers.
const COORDINATORS: &str = "
    DELETE FROM tailnet_private.pending;
    DELETE FROM tailnet_private.coordinators WHERE name = 'third';
    INSERT INTO tailnet_private.coordinators (id, name, registration, registered_at, heartbeat_at, on_time_since, protocol)
    SELECT md5(name)::uuid, name, md5('registration of ' || name)::uuid, now() - '1 h'::interval, beat, now() - '1 h'::interval, 1
    FROM (VALUES ('ours', now()), ('other', now() + '1 h'::interval), ('silent', now() - '1 h'::interval)) k(name, beat)
    ON CONFLICT (id) DO NOTHING;
    UPDATE tailnet_private.peers SET coordinator_id = md5('silent')::uuid
    WHERE id IN (SELECT c(i) FROM generate_series($from + 600, $from + 1099) i);
    UPDATE tailnet_private.peers SET coordinator_id = NULL, status = 'lost', lost_at = now() - '2 days'::interval
    WHERE id IN (SELECT c(i) FROM generate_series($from + 1100, $from + 1599) i)";

/// The heartbeat is on time: a coordinator that was late itself expires nobody.
const HEARTBEAT: &str = "UPDATE tailnet_private.coordinators SET heartbeat_at = now() WHERE name = 'ours'";

/// Every function of the extension, with a batch of 500 if it takes one, and the result: a call without an effect would
/// not look up which proxies to tell. `$clients`, `$agents`… are arrays of 500; `$registration` is our own.
const CALLS: [(&str, &str, &str); 38] = [
    ("authenticate", "$hashes, array_fill(''::text, '{500}')", "500 rows"),
    ("judge_dials", "$hashes, $granted", "1 row"),
    ("agent_info_of", "$agents", "500 rows"),
    ("attach_peers", "$registration, $clients, $sessions, $proofs_of_clients", "500"),
    ("attach_peers", "$registration, $agents, $sessions, $proofs_of_agents", "500"),
    ("bind_peers", "$registration, $clients, $sessions, $nodes", "500"),
    ("open_tunnels", "$registration, $clients, $sessions, $granted", "500"),
    ("ready_for_handshake", "$registration, $agents, $sessions, $callers", "500"),
    ("view_peers", "$registration, $clients, $sessions, $agents", "500"),
    ("tunnel_peer_ids", "$clients", "1500 rows"),
    ("tunnel_peer_bindings", "$clients", "1500 rows"),
    ("close_tunnels", "$registration, $clients, $sessions, $granted", "500"),
    ("attach_peers", "$registration, $clients, $sessions, $proofs_of_clients, $granted", "500"),
    ("lose_peers", "$registration, $clients, $sessions", "500"),
    ("disconnect_peers", "$registration, $agents, $sessions, $proofs_of_agents", "500"),
    ("restore_peers", "$registration, $clients, $sessions, $proofs_of_clients, $nodes, $clients, $granted", "500"),
    ("update_agent_connections", "$agents, $times, $times, $times, $agents", "500 rows"),
    ("update_agent_states", "$agents, $nodes, $nodes, array_fill('ready'::text, '{500}'), $times", "500"),
    ("upsert_connection_logs", "$events", "500"),
    ("grant_tunnel", "c($from + 550), a($from + 570)", "t"),
    ("revoke_tunnel", "c($from + 550), a($from + 570)", "t"),
    ("grant_tunnel", "c($from + 550), a($from + 551)", "f"),
    ("revoke_tunnel", "c($from + 550), a($from + 551)", "t"),
    ("rotate_token", "c($from + 550)", "1 row"),
    ("revoke_peer", "c($from + 550)", "t"),
    ("reap", "$registration", "3"),
    ("disconnect_peer", "c($from + 552)", "t"),
    ("reap", "$registration", "1"),
    ("explain_tunnel", "c($from + 551), a($from + 570)", "1 row"),
    ("set_tags", "c($from + 551), '{ci}'", "t"),
    ("drop_policy", "'home', 'policy ' || ($from + 600)", "t"),
    // One judges the tunnels that the peer opened, the next those that lead to it, and the last cuts the policy.
    ("reap", "$registration", "1"),
    ("reap", "$registration", "1"),
    ("reap", "$registration", "1 row"),
    // One expires the silent coordinator, the next removes the lost peers.
    ("heartbeat_coordinator", "$registration, true", "1"),
    ("heartbeat_coordinator", "$registration, true", "0"),
    ("close_coordinator", "$registration", "500"),
    ("register_coordinator", "gen_random_uuid(), 'third', 1", "1 row"),
];

/// These functions read no large table, or no peer waits for them.
const EXEMPT: [&str; 18] = [
    "create_key",
    "create_network",
    "create_peer",
    "create_policy",
    "create_policy_test",
    "delete_network",
    "delete_peer",
    "derp_maps_of",
    "drop_connection_logs",
    "drop_policy_test",
    "enrol",
    "listen_coordinator",
    "revoke_key",
    "rotate_secret",
    "set_agent_info",
    "set_agent_timeouts",
    "set_clients_reach_all_agents",
    "set_derp_map",
];

async fn plans_of_every_function_are_driven_by_index(stack: &Stack) -> Result<()> {
    let sql = &stack.operator.sql;
    assert_eq!(functions(stack).await?, covered(), "a new function needs a call here, or a reason for none");
    sql.batch_execute(FUNCTIONS).await?;
    sql.batch_execute(PROVE).await?;
    for table in LARGE {
        sql.batch_execute(&format!("ALTER TABLE tailnet_private.{table} SET (autovacuum_enabled = off)")).await?;
    }

    // Plans are kept: first those that were made when the tables were known to be empty, as when the extension is new,
    // for one pair without a tunnel.
    for table in LARGE {
        sql.batch_execute(&format!("VACUUM (FULL, ANALYZE) tailnet_private.{table}")).await?;
    }
    let mut old = Explainer::open(stack).await?;
    sql.batch_execute(&FILL.replace("$from", "1").replace("$to", "1")).await?;
    sql.batch_execute("TRUNCATE tailnet_private.tunnels").await?;
    sql.batch_execute(&COORDINATORS.replace("$from", "1")).await?;
    for (function, arguments, _) in CALLS {
        // With so few peers some calls are refused, but most of their statements are planned by then.
        let _ = old.run(&call(function, arguments, "1")).await;
    }
    sql.batch_execute(&FILL.replace("$from", "2").replace("$to", "6000")).await?;
    let mut problems = check(stack, &mut old, 1_000, "small tables").await?;
    sql.batch_execute(&FILL.replace("$from", "6001").replace("$to", "50000")).await?;
    problems += &check(stack, &mut old, 10_000, "tables that grew").await?;
    problems += &check(stack, &mut Explainer::open(stack).await?, 20_000, "tables without statistics").await?;
    sql.batch_execute("ANALYZE").await?;
    problems += &check(stack, &mut Explainer::open(stack).await?, 30_000, "tables with statistics").await?;
    assert!(problems.is_empty(), "{problems}");
    Ok(())
}

/// The rules find plans that grow.
async fn plans_that_grow_are_noticed(stack: &Stack) -> Result<()> {
    stack.operator.sql.batch_execute(FUNCTIONS).await?;
    stack.operator.sql.batch_execute(&FILL.replace("$from", "1").replace("$to", "5000")).await?;
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
    // It uses an index, and reads every row all the same.
    let all = "SELECT FROM tailnet_private.peers WHERE coordinator_id = md5('other')::uuid";
    let (_, plans) = explainer.run(all).await?;
    assert!(plans.iter().all(|plan| plan.grows_with(&LARGE).is_none()), "{plans:?}");
    assert!(plans.iter().any(|plan| plan.most_rows(&LARGE) > MOST_ROWS), "{plans:?}");
    // It reads one row by its key.
    let one = "SELECT FROM tailnet_private.peers WHERE id = c(7)";
    let (_, plans) = explainer.run(one).await?;
    assert!(plans.iter().any(|plan| plan.touches(&["peers"])), "{plans:?}");
    assert!(plans.iter().all(|plan| plan.grows_with(&LARGE).is_none()), "{plans:?}");
    assert!(plans.iter().all(|plan| plan.most_rows(&LARGE) <= 1.0), "{plans:?}");
    Ok(())
}

/// Calls everything with peers from this number on, and returns what is wrong with the plans.
async fn check(stack: &Stack, explainer: &mut Explainer, from: u32, state: &str) -> Result<String> {
    let (from, mut problems) = (from.to_string(), String::new());
    stack.operator.sql.batch_execute(&COORDINATORS.replace("$from", &from)).await?;
    for (function, arguments, effect) in CALLS {
        stack.operator.sql.batch_execute(HEARTBEAT).await?;
        let (rows, plans) = explainer.run(&call(function, arguments, &from)).await?;
        assert!(rows == [effect] || effect.starts_with(&format!("{} row", rows.len())), "{function}: {rows:?}");
        let seen = plans.iter().any(|plan| plan.touches(&LARGE));
        assert!(seen || function == "register_coordinator", "{function}: no plan was seen");
        for plan in plans {
            if let Some(node) = plan.grows_with(&LARGE) {
                problems += &format!("{state}: {function} grows with a table by\n{node}in\n{plan}\n");
            }
            let rows = plan.most_rows(&LARGE);
            if rows > MOST_ROWS {
                problems += &format!("{state}: {function} reads {rows} rows in\n{plan}\n");
            }
        }
    }
    Ok(problems)
}

fn call(function: &str, arguments: &str, from: &str) -> String {
    format!("SELECT tailnet.{function}({})", expand(arguments)).replace("$from", from)
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
    let array = |element: &str| format!("ARRAY(SELECT {element} FROM generate_series($from, $from + 499) i)");
    arguments
        .replace("$registration", "md5('registration of ours')::uuid")
        .replace("$proofs_of_clients", &array("prove(c(i), i + 1000000)"))
        .replace("$proofs_of_agents", &array("prove(a(i), i + 1000000)"))
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
                                                'connect_time', now())) FROM generate_series($from, $from + 499) i)",
        )
}
