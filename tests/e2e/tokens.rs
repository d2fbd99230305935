//! Tokens: which peers may connect, and how they send their token.

use anyhow::Result;
use tailnet_harness::{Stack, stack::Setup};
use tailnet_tools::websocket::{ConnectError, Credentials};
use tailnet_wire::Role;

tests_on! {
    one_proxy: Setup::of(1) =>
        token_absent_wrong_revoked_or_rotated_is_refused,
        token_as_a_subprotocol_is_accepted,
        token_does_not_replace_the_subprotocol,
        token_is_in_no_log,
        b94_a_mistyped_token_costs_no_query;
}

async fn token_absent_wrong_revoked_or_rotated_is_refused(stack: &Stack) -> Result<()> {
    let good = stack.create(Role::Client).await?.token;
    let revoked = stack.create(Role::Client).await?;
    stack.operator.revoke_peer(revoked.id).await?;
    let rotated = stack.create(Role::Client).await?;
    let fresh: String = stack.operator.value("SELECT tailnet.rotate_token($1)", &[&rotated.id]).await?;

    let absent = Credentials { bearer: None, ..Credentials::header("") };
    for credentials in [
        absent,
        Credentials::header(""),
        Credentials::header("nonsense"),
        Credentials::header(&good[..good.len() - 1]),
        Credentials::header(&good.to_uppercase()),
        Credentials::header(&revoked.token),
        Credentials::header(&rotated.token),
        Credentials::subprotocol("nonsense"),
        Credentials::subprotocol(&revoked.token),
    ] {
        assert_status(stack, &credentials, 401).await;
    }
    for token in [&good, &fresh] {
        stack.left().try_connect(&Credentials::header(token)).await?;
    }
    Ok(())
}

async fn b94_a_mistyped_token_costs_no_query(stack: &Stack) -> Result<()> {
    const ASKED: &str = r#"tailnet_requests_received_total{worker="querier"}"#;
    let good = stack.create(Role::Client).await?.token;
    let (body, checksum) = good.split_at(good.len() - 4);
    let before = stack.left().metric(ASKED).await?;
    for mistyped in [body, &format!("{body}A{checksum}"), &good.to_lowercase(), "tnk_"] {
        assert_status(stack, &Credentials::header(mistyped), 401).await;
    }
    assert_eq!(stack.left().metric(ASKED).await?, before);
    stack.left().try_connect(&Credentials::header(&good)).await?;
    assert_eq!(stack.left().metric(ASKED).await?, before + 1);
    Ok(())
}

async fn token_as_a_subprotocol_is_accepted(stack: &Stack) -> Result<()> {
    let peer = stack.create(Role::Client).await?;
    // That the answer selects the protocol and not the token is checked in there.
    stack.left().try_connect(&Credentials::subprotocol(&peer.token)).await?;
    let mut reversed = Credentials::subprotocol(&peer.token);
    reversed.subprotocols.reverse();
    stack.left().try_connect(&reversed).await?;
    Ok(())
}

async fn token_does_not_replace_the_subprotocol(stack: &Stack) -> Result<()> {
    let token = stack.create(Role::Client).await?.token;
    for subprotocols in [vec![], vec!["tailnet.v2.json".to_owned()], vec![format!("bearer.{token}")]] {
        let credentials = Credentials { subprotocols, ..Credentials::header(&token) };
        assert_status(stack, &credentials, 400).await;
    }
    let bearer = format!("Bearer {token}");
    let (status, _) = stack.left().get("/v1/coordinate", &[("Authorization", &bearer)]).await?;
    assert_eq!(status, 400, "no websocket was asked for");
    Ok(())
}

async fn token_is_in_no_log(stack: &Stack) -> Result<()> {
    let peer = stack.create(Role::Client).await?;
    stack.left().try_connect(&Credentials::header(&peer.token)).await?;
    assert_status(stack, &Credentials::header("secret-but-wrong"), 401).await;
    let log = stack.left().log();
    assert!(!log.contains(&peer.token) && !log.contains("secret-but-wrong"), "{log}");
    Ok(())
}

async fn assert_status(stack: &Stack, credentials: &Credentials, expected: u16) {
    match stack.left().try_connect(credentials).await {
        Err(ConnectError::Refused(status)) => assert_eq!(status, expected, "{credentials:?}"),
        other => panic!("{credentials:?}: expected the status {expected}, got {other:?}"),
    }
}
