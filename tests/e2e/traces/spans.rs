//! What is in the traces of callers that sample theirs.

use std::collections::HashSet;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use tailnet_harness::{Stack, deadline::until, statements::Statements};
use tailnet_tools::{
    message::Request,
    websocket::{ConnectError, Credentials},
};
use tailnet_wire::Role;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use super::{
    caller::Caller,
    collector::Collector,
    run::{lines, terminate, traced},
    span::{Received, below, connection, listed},
};

traced! {
    &[] => a_sampled_trace_is_continued_to_the_batches_and_the_log, what_goes_wrong_is_in_the_trace;
    &[("--binder-workers", "1")] => the_children_of_one_batch_have_its_number_in_common;
}

async fn a_sampled_trace_is_continued_to_the_batches_and_the_log(stack: &Stack, collector: &Collector) -> Result<()> {
    let (client, agent) = stack.create_pair().await?;
    let (of_client, of_agent) = (Caller::new(), Caller::new());
    let proxy = stack.left();
    let mut agent = proxy.connect_traced(&agent, of_agent.sampled()).await?;
    let mut client = proxy.connect_traced(&client, of_client.sampled()).await?;
    agent.announce(1).await?;
    client.announce(1).await?;
    client.open_tunnel(agent.id()).await?;
    client.expect_each_other(&agent).await;
    agent.send(Request::ready_for_handshake(&[client.id()])).await?;
    client.expect_ready(agent.id()).await;
    client.close_tunnel(agent.id()).await?;
    client.expect_disconnected(agent.id()).await;
    agent.expect_disconnected(client.id()).await;
    let (client_id, agent_id) = (client.id(), agent.id());
    client.disconnect().await?;
    agent.cut().await?;
    // Its last request is done after its connection is gone.
    until("the agent is lost", async || {
        Ok(stack.operator.binding(agent_id).await?.is_some_and(|(status, _)| status == "lost"))
    })
    .await?;
    assert_no_sql_names(stack, &[&of_client, &of_agent]).await?;
    terminate(proxy).await?;

    let spans = collector.of(&of_client.trace_id);
    let span = connection(&spans, &of_client);
    assert_eq!(span.span.name, "GET /v1/coordinate");
    assert_eq!(span.span.kind, 2, "a server");
    for (key, expected) in [
        ("http.request.method", "GET".to_owned()),
        ("http.route", "/v1/coordinate".to_owned()),
        ("http.response.status_code", "101".to_owned()),
        ("tailnet.peer.id", client_id.to_string()),
        ("tailnet.peer.role", "client".to_owned()),
        ("tailnet.close.code", "1000".to_owned()),
    ] {
        assert_eq!(span.attribute(key), Some(expected), "{key}");
    }
    assert!(span.number("tailnet.session")? > 0);
    assert_eq!((span.process("service.name").as_deref(), span.is_error()), (Some("tailnet-proxy"), false));
    // The node may be written with the attach, or after it.
    let opened = |names: &[&str]| names == ["attach", "bind"] || names == ["restore"];
    let names = below(&spans, &span);
    let (opening, rest): (Vec<_>, Vec<_>) =
        names.iter().partition(|name| ["attach", "bind", "restore"].contains(*name));
    assert!(opened(&opening), "{names:?}");
    assert_eq!(rest, ["authenticate", "close tunnel", "disconnect", "open tunnel"]);
    for child in spans.iter().filter(|received| received.attribute("db.system.name").is_some()) {
        assert_eq!((child.span.kind, child.is_error()), (3, false), "a client of Postgres: {child:?}");
        assert!(child.span.end_time_unix_nano >= child.span.start_time_unix_nano, "{child:?}");
        assert!(child.number("db.operation.batch.size")? >= child.number("tailnet.requests")?);
    }

    let spans = collector.of(&of_agent.trace_id);
    let span = connection(&spans, &of_agent);
    let names = below(&spans, &span);
    assert!(names.contains(&"handshake") && names.contains(&"lose"), "{names:?}");
    assert_eq!((span.attribute("tailnet.close.code"), span.is_error()), (None, false), "nobody closed it");
    for (caller, peer) in [(of_client, client_id), (of_agent, agent_id)] {
        let log = proxy.log();
        let ended = lines(&log, &format!("trace_id={}", caller.trace_id));
        assert!(ended.iter().any(|line| line.contains("session ended") && line.contains(&peer.to_string())), "{log}");
    }
    Ok(())
}

/// No statement that Postgres has counted, and no row about its backends, contains a trace id.
async fn assert_no_sql_names(stack: &Stack, callers: &[&Caller]) -> Result<()> {
    let sql = "SELECT (SELECT count(*) FROM pg_stat_statements WHERE query LIKE '%' || $1 || '%')
                    + (SELECT count(*) FROM pg_stat_activity a WHERE a::text LIKE '%' || $1 || '%'
                       AND pid <> pg_backend_pid())";
    for caller in callers {
        for id in [&caller.trace_id, &caller.span_id] {
            assert_eq!(stack.operator.value::<i64>(sql, &[id]).await?, 0, "{id}");
        }
    }
    let statements = Statements::count(stack).await?;
    let none = Statements::default();
    let calls = statements.since(&none, stack.left());
    assert!(calls.iter().any(|(query, _)| query.contains("tailnet.open_tunnels($1")), "prepared: {calls:?}");
    Ok(())
}

async fn the_children_of_one_batch_have_its_number_in_common(stack: &Stack, collector: &Collector) -> Result<()> {
    const PEERS: usize = 5;
    let callers: Vec<Caller> = (0..PEERS).map(|_| Caller::new()).collect();
    // While the table is locked, one attach waits in Postgres and the others wait for the next batch.
    let holder = stack.database().connect().await?;
    holder.batch_execute("BEGIN; LOCK TABLE tailnet_private.peers IN EXCLUSIVE MODE").await?;
    let connect = async |caller: &Caller| {
        let identity = stack.create(Role::Agent).await?;
        stack.left().connect_traced(&identity, caller.sampled()).await
    };
    let first = connect(&callers[0]).await?;
    let waits =
        "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'tailnet_private.peers'::regclass AND NOT granted)";
    stack.operator.until("the first attach waits in Postgres", waits, &[]).await?;
    let mut peers = try_join_all(callers[1..].iter().map(connect)).await?;
    peers.push(first);
    let untraced = stack.connect_left(Role::Agent).await?;
    until("all requests wait", async || {
        Ok(stack.left().metric(r#"tailnet_requests_received_total{worker="binder"}"#).await? > PEERS as u64)
    })
    .await?;
    holder.batch_execute("COMMIT").await?;
    peers.push(untraced);
    for peer in &mut peers {
        stack.bind(peer, 1).await?;
    }
    terminate(stack.left()).await?;

    let received = collector.received();
    let attached: Vec<&Received> = received.iter().filter(|received| received.span.name == "attach").collect();
    assert_eq!(attached.len(), PEERS, "one for each traced connection: {}", listed(&received));
    let traces: HashSet<_> = attached.iter().map(|received| &received.span.trace_id).collect();
    assert_eq!(traces.len(), PEERS, "each in its own trace");
    let numbers: Vec<i64> = attached.iter().map(|received| received.number("tailnet.batch")).collect::<Result<_>>()?;
    let last = *numbers.iter().max().context("there is a batch")?;
    let together: Vec<&&Received> =
        attached.iter().filter(|received| received.number("tailnet.batch").ok() == Some(last)).collect();
    assert!(together.len() >= 2, "{numbers:?}");
    for child in &together {
        let times = |received: &Received| (received.span.start_time_unix_nano, received.span.end_time_unix_nano);
        assert!(times(child).0 <= times(together[0]).1 && times(together[0]).0 <= times(child).1, "{child:?}");
        // The connection without a trace is in the batch, and has no span.
        assert_eq!(child.number("db.operation.batch.size")?, together.len() as i64 + 1, "{child:?}");
        assert_eq!(child.number("tailnet.requests")?, 1);
    }
    for caller in &callers {
        let spans = collector.of(&caller.trace_id);
        let closed = connection(&spans, caller).number("tailnet.close.code")?;
        assert_eq!(closed, 1012, "the shutdown ends the span, and sends it");
    }
    Ok(())
}

async fn what_goes_wrong_is_in_the_trace(stack: &Stack, collector: &Collector) -> Result<()> {
    let (refused, wrong, forbidden) = (Caller::new(), Caller::new(), Caller::new());
    let proxy = stack.left();
    let answer = proxy.try_connect(&Credentials::header("nonsense").traced(refused.sampled())).await;
    assert!(matches!(answer, Err(ConnectError::Refused(status)) if status == 401), "{answer:?}");
    let mut peer = proxy.connect_traced(&stack.create(Role::Agent).await?, wrong.sampled()).await?;
    peer.send_raw(Message::text("no JSON")).await?;
    let not_json = peer.next_error().await;
    peer.expect_close(1007).await;
    let mut agent = proxy.connect_traced(&stack.create(Role::Agent).await?, forbidden.sampled()).await?;
    agent.open_tunnel(Uuid::new_v4()).await?;
    let not_allowed = agent.next_error().await;
    agent.expect_close(1008).await;
    terminate(proxy).await?;

    let spans = collector.of(&refused.trace_id);
    let span = connection(&spans, &refused);
    assert_eq!((span.number("http.response.status_code")?, span.is_error()), (401, false));
    assert_eq!(below(&spans, &span), ["authenticate"]);
    for (caller, code, said) in [(wrong, "1007", not_json), (forbidden, "1008", not_allowed)] {
        let span = connection(&collector.of(&caller.trace_id), &caller);
        let error = (span.is_error(), span.attribute("error.type"), span.attribute("tailnet.close.code"));
        assert_eq!(error, (true, Some(code.to_owned()), Some(code.to_owned())));
        assert_eq!(span.errors(), [said]);
    }
    Ok(())
}
