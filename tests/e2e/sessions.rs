//! Sessions: a peer has one session, that of its newest websocket.

use anyhow::Result;
use tailnet_harness::{
    Stack,
    operator::PROVE,
    stack::{Pair, Setup},
};
use tailnet_tools::{
    message::Request,
    websocket::{ConnectError, Credentials},
};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

on_one_proxy_and_on_two! {
    b20_newer_session_supersedes_the_older,
    b21_late_writes_of_an_old_session,
    b22_revoked_identity,
}

tests_on! {
    on_two_proxies: Setup::of(2) =>
        b21_late_frames_through_a_stalled_proxy,
        b22_revocation_is_reaped_by_another_proxy;
}

pub async fn b20_newer_session_supersedes_the_older(stack: &Stack) -> Result<()> {
    let Pair { client, agent: mut old } = stack.pair().await?;
    let identity = old.identity().clone();
    // On the same proxy, then on the other one, then back.
    for (version, proxy) in (2..).zip([stack.right(), stack.left(), stack.right()]) {
        let mut new = proxy.connect(&identity).await?;
        assert_eq!(old.expect_close(4001).await, "superseded");
        new.expect_node_of(&client).await;
        // The binding of the old session stands until the new one announces its own.
        stack.assert_nothing_else(&[&client, &new]).await?;
        new.announce_to(version, &[&client]).await?;
        old = new;
    }
    stack.assert_nothing_else(&[&client, &old]).await
}

/// Sends what a proxy might still send for a session that it does not know to be superseded.
async fn b21_late_writes_of_an_old_session(stack: &Stack) -> Result<()> {
    let Pair { client, agent: old } = stack.pair().await?;
    let identity = old.identity().clone();
    let (registration, session) = session(stack, identity.id).await?;
    let agent = stack.left().reconnect(&identity, 2, &client).await?;
    old.expect_close(4001).await;

    stack.operator.sql.batch_execute(PROVE).await?;
    let (peers, sessions, nodes) = (vec![identity.id], vec![session], vec![identity.node(99).to_string()]);
    let calls: [(&str, &[&(dyn ToSql + Sync)]); 5] = [
        (
            "SELECT tailnet.attach_peers($1, $2, $3, ARRAY[prove(($2::uuid[])[1], ($3::bigint[])[1])])",
            &[&registration, &peers, &sessions],
        ),
        ("SELECT tailnet.bind_peers($1, $2, $3, $4)", &[&registration, &peers, &sessions, &nodes]),
        ("SELECT tailnet.lose_peers($1, $2, $3)", &[&registration, &peers, &sessions]),
        (
            "SELECT tailnet.disconnect_peers($1, $2, $3, ARRAY[prove(($2::uuid[])[1], ($3::bigint[])[1])])",
            &[&registration, &peers, &sessions],
        ),
        ("SELECT tailnet.ready_for_handshake($1, $2, $3, $4)", &[&registration, &peers, &sessions, &vec![client.id()]]),
    ];
    for (sql, arguments) in calls {
        let had_effect: i32 = stack.operator.sql.query_one(sql, arguments).await?.get(0);
        assert_eq!(had_effect, 0, "{sql}");
    }
    assert_eq!(stack.operator.binding(identity.id).await?, Some(("ok".to_owned(), identity.node(2))));
    assert!(stack.operator.has_tunnel(client.id(), identity.id).await?);
    stack.assert_nothing_else(&[&client, &agent]).await
}

/// A real proxy stalls with frames of the old session in its socket, and reads them later.
async fn b21_late_frames_through_a_stalled_proxy(stack: &Stack) -> Result<()> {
    let Pair { client, agent: mut old } = stack.pair().await?;
    let identity = old.identity().clone();
    stack.right().stall().await?;
    old.announce(99).await?;
    old.send(Request::disconnect()).await?;
    let agent = stack.left().reconnect(&identity, 2, &client).await?;

    stack.right().go_on().await?;
    old.expect_end().await;
    stack.assert_nothing_else(&[&client, &agent]).await?;
    assert_eq!(stack.operator.binding(identity.id).await?, Some(("ok".to_owned(), identity.node(2))));
    Ok(())
}

async fn b22_revoked_identity(stack: &Stack) -> Result<()> {
    for revoke_client in [false, true] {
        let Pair { client, agent } = stack.pair().await?;
        let (revoked, partner) = if revoke_client { (client, agent) } else { (agent, client) };
        stack.operator.revoke_peer(revoked.id()).await?;
        assert_eq!(revoked.expect_close(4003).await, "revoked");
        partner.expect_disconnected(revoked.id()).await;
        assert_eq!(stack.operator.binding(revoked.id()).await?, None);
        for proxy in stack.proxies() {
            let refused = proxy.try_connect(&Credentials::header(&revoked.identity().token)).await;
            assert!(matches!(refused, Err(ConnectError::Refused(status)) if status == 401), "{refused:?}");
        }
        stack.assert_nothing_else(&[&partner]).await?;
    }
    Ok(())
}

/// The proxy that holds the session does nothing for a while.
async fn b22_revocation_is_reaped_by_another_proxy(stack: &Stack) -> Result<()> {
    let Pair { client, agent } = stack.pair().await?;
    stack.right().stall().await?;
    stack.operator.revoke_peer(agent.id()).await?;
    client.expect_disconnected(agent.id()).await;
    stack.operator.until("nothing is pending", "SELECT NOT EXISTS (SELECT FROM tailnet.pending)", &[]).await?;
    stack.right().go_on().await?;
    assert_eq!(agent.expect_close(4003).await, "revoked");
    stack.assert_nothing_else(&[&client]).await
}

/// The registration and the number by which a proxy names the live session of a peer.
async fn session(stack: &Stack, peer: Uuid) -> Result<(Uuid, i64)> {
    let sql = "SELECT c.registration, p.session
               FROM tailnet_private.peers p
               JOIN tailnet_private.coordinators c ON c.id = p.coordinator_id
               WHERE p.id = $1";
    let row = stack.operator.sql.query_one(sql, &[&peer]).await?;
    Ok((row.get(0), row.get(1)))
}
