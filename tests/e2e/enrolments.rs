//! B92: machines trade the token of an enrolment key for a peer and a token of their own.

use anyhow::{Context, Result};
use futures_util::future::join_all;
use serde_json::Value;
use tailnet_harness::{
    Stack, http,
    operator::TestKey,
    proxy::Proxy,
    stack::{NETWORK, Setup},
};
use tailnet_tools::{
    identity::TestIdentity,
    websocket::{ConnectError, Credentials},
};
use tailnet_wire::Role;
use uuid::Uuid;

on_one_proxy_and_on_two! {
    b92_a_machine_gets_a_peer_of_its_own,
    b92_a_key_is_used_as_often_as_it_may_be_in_any_race,
    b92_what_is_no_enrolment_is_named,
}

tests_on! {
    own_postgres: Setup { private_cluster: true, ..Setup::of(1) } => b92_nobody_enrols_while_postgres_is_away;
}

async fn enrolment_key(stack: &Stack, more: &str) -> Result<TestKey> {
    let sql = format!(
        "SELECT key_id, token FROM tailnet.create_key($1, 'agent', 'fleet', 'enrolment', tags => '{{fleet}}'{more})"
    );
    let row = stack.operator.sql.query_one(&sql, &[&NETWORK]).await.context("cannot create a key")?;
    Ok(TestKey { id: row.get(0), role: Role::Agent, token: row.get(1) })
}

async fn post(proxy: &Proxy, token: &str, body: &str) -> Result<(u16, String)> {
    http::post(proxy.public(), "/v1/enrol", &[("Authorization", &format!("Bearer {token}"))], body).await
}

/// Status, and what came.
async fn enrol(proxy: &Proxy, key: &TestKey, machine: Uuid) -> Result<(u16, Value)> {
    let (status, body) = post(proxy, &key.token, &format!(r#"{{"machine": "{machine}"}}"#)).await?;
    Ok((status, if status == 200 { serde_json::from_str(&body)? } else { Value::String(body) }))
}

fn identity(answer: &Value) -> Result<TestIdentity> {
    let peer = answer["peer_id"].as_str().and_then(|id| id.parse().ok()).context("no peer_id")?;
    let token = answer["token"].as_str().context("no token")?;
    Ok(TestIdentity::new(peer, Role::Agent, token.to_owned(), "enrolled".to_owned()))
}

async fn b92_a_machine_gets_a_peer_of_its_own(stack: &Stack) -> Result<()> {
    let key = enrolment_key(stack, ", max_uses => 2").await?;
    let machine = Uuid::new_v4();
    let (status, answer) = enrol(stack.left(), &key, machine).await?;
    assert_eq!((status, answer["role"].as_str()), (200, Some("agent")), "{answer}");
    let first = identity(&answer)?;

    // The answer may have been lost: the same peer, with a token that nobody has seen. The older one is no good any more.
    let (_, answer) = enrol(stack.right(), &key, machine).await?;
    let again = identity(&answer)?;
    assert_eq!(again.id, first.id);
    assert_ne!(again.token, first.token);
    assert!(stack.left().connect(&first).await.is_err());
    let agent = stack.left().connect(&again).await?;

    let row = "SELECT k.uses = 1 AND k.last_used_at IS NOT NULL AND p.name = 'fleet' AND p.role = 'agent'
               FROM tailnet.keys k, tailnet.identities p WHERE k.key_id = $1 AND p.peer_id = $2";
    assert!(stack.operator.value::<bool>(row, &[&key.id, &agent.id()]).await?);
    let tags = "SELECT array_agg(tag) = '{fleet}' FROM tailnet.tags WHERE owner_id = $1";
    assert!(stack.operator.value::<bool>(tags, &[&agent.id()]).await?);
    let hashed = "SELECT token_sha256 = sha256(convert_to($2, 'UTF8')) FROM tailnet_private.identities WHERE id = $1";
    assert!(stack.operator.value::<bool>(hashed, &[&agent.id(), &again.token]).await?);

    // Ten minutes later it is another enrolment of the machine.
    let sql = "UPDATE tailnet_private.enrolments SET enrolled_at = enrolled_at - '10 min'::interval WHERE machine = $1";
    stack.operator.sql.execute(sql, &[&machine]).await?;
    let (_, answer) = enrol(stack.left(), &key, machine).await?;
    assert_ne!(identity(&answer)?.id, first.id);
    assert_eq!(enrol(stack.right(), &key, Uuid::new_v4()).await?.0, 403);
    stack.assert_nothing_else(&[&agent]).await
}

async fn b92_a_key_is_used_as_often_as_it_may_be_in_any_race(stack: &Stack) -> Result<()> {
    let key = enrolment_key(stack, ", max_uses => 5").await?;
    let machines: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
    // Each machine asks both proxies at once.
    let asked = machines.iter().flat_map(|machine| [stack.left(), stack.right()].map(|proxy| (proxy, *machine)));
    let answers = join_all(asked.map(|(proxy, machine)| enrol(proxy, &key, machine))).await;
    let answers = answers.into_iter().collect::<Result<Vec<_>>>()?;
    let mut peers = Vec::new();
    for pair in answers.chunks(2) {
        match [pair[0].0, pair[1].0] {
            [200, 200] => {
                let ids = [identity(&pair[0].1)?.id, identity(&pair[1].1)?.id];
                assert_eq!(ids[0], ids[1], "one machine is one peer");
                peers.push(ids[0]);
            }
            statuses => assert_eq!(statuses, [403, 403], "{pair:?}"),
        }
    }
    assert_eq!(peers.len(), 5);
    let uses: i32 = stack.operator.value("SELECT uses FROM tailnet.keys WHERE key_id = $1", &[&key.id]).await?;
    assert_eq!(uses, 5);
    Ok(())
}

async fn b92_what_is_no_enrolment_is_named(stack: &Stack) -> Result<()> {
    let key = enrolment_key(stack, "").await?;
    let shared = stack.operator.create_key(NETWORK, Role::Hub, "").await?;
    let good = format!(r#"{{"machine": "{}"}}"#, Uuid::new_v4());
    let nil = format!(r#"{{"machine": "{}"}}"#, Uuid::nil());
    for (token, body, expected, named) in [
        ("", good.as_str(), 401, "expected the token of an enrolment key"),
        ("tnk_x", &good, 401, "mistyped token"),
        ("5fe3cbd5-7d4a-4f6e-8a2c-3f2b7a1d9c0e", &good, 401, "unknown or revoked enrolment key"),
        (&shared.token, &good, 401, "that of a shared key"),
        (&key.token, "", 400, "expected a body such as"),
        (&key.token, r#"{"machine": "me"}"#, 400, "UUID"),
        (&key.token, r#"{"machine": "5fe3cbd5-7d4a-4f6e-8a2c-3f2b7a1d9c0e", "x": 1}"#, 400, "unknown field `x`"),
        (&key.token, &nil, 400, "the nil uuid"),
        (&key.token, &"x".repeat(5000), 400, "length limit exceeded"),
    ] {
        let (status, text) = post(stack.left(), token, body).await?;
        assert!(status == expected && text.contains(named), "{status} {text}");
    }
    // It opens no session itself.
    match stack.left().try_connect(&Credentials::header(&key.token)).await {
        Err(ConnectError::Refused(status)) => assert_eq!(status.as_u16(), 401),
        other => panic!("expected a refusal, got {other:?}"),
    }
    let token = [("Coder-Session-Token", key.token.as_str())];
    let (status, text) = stack.left().get("/api/v2/workspaceagents/connection", &token).await?;
    assert!(status == 401 && text.contains("POST /v1/enrol"), "{status} {text}");

    stack.operator.value::<bool>("SELECT tailnet.revoke_key($1)", &[&key.id]).await?;
    let (status, text) = post(stack.right(), &key.token, &good).await?;
    assert!(status == 401 && text.contains("unknown or revoked"), "{status} {text}");
    let count = "SELECT count(*) FROM tailnet.enrolments WHERE key_id = $1";
    assert_eq!(stack.operator.value::<i64>(count, &[&key.id]).await?, 0);
    Ok(())
}

async fn b92_nobody_enrols_while_postgres_is_away(stack: &Stack) -> Result<()> {
    let key = enrolment_key(stack, "").await?;
    stack.cluster().stop(tailnet_harness::private_cluster::Shutdown::Fast).await?;
    stack.left().until_ready(false).await?;
    assert_eq!(enrol(stack.left(), &key, Uuid::new_v4()).await?.0, 503);
    stack.cluster().start_again().await
}
