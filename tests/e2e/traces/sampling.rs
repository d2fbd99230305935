//! Which connections are traced.

use anyhow::Result;
use tailnet_harness::{Stack, run_with, stack::Setup};
use tailnet_wire::Role;

use super::{
    caller::Caller,
    collector::Collector,
    run::{LOG, lines, served, terminate, traced},
    span::{Received, listed},
};

traced! {
    &[] => what_callers_did_not_sample_is_not_traced;
    &[("--trace-ratio", "1"), ("--service-name", "edge")] =>
        with_a_ratio_new_traces_begin_and_malformed_ones_are_restarted;
}

async fn what_callers_did_not_sample_is_not_traced(stack: &Stack, collector: &Collector) -> Result<()> {
    let (unsampled, malformed, sampled) = (Caller::new(), Caller::new(), Caller::new());
    let bad = malformed.sampled().map(|header| header.replace("-01", "-1"));
    for header in [unsampled.unsampled(), bad, None, sampled.sampled()] {
        let peer = stack.left().connect_traced(&stack.create(Role::Agent).await?, header).await?;
        served(stack, peer).await?;
    }
    terminate(stack.left()).await?;
    let all = collector.received();
    assert!(!all.is_empty() && all.len() == collector.of(&sampled.trace_id).len(), "{}", listed(&all));
    let log = stack.left().log();
    assert!(!lines(&log, &sampled.trace_id).is_empty(), "{log}");
    for other in [unsampled, malformed] {
        assert_eq!(lines(&log, &other.trace_id), Vec::<&str>::new());
    }
    Ok(())
}

async fn with_a_ratio_new_traces_begin_and_malformed_ones_are_restarted(
    stack: &Stack,
    collector: &Collector,
) -> Result<()> {
    let (unsampled, malformed) = (Caller::new(), Caller::new());
    let bad = malformed.sampled().map(|header| header.to_uppercase());
    let mut peers = Vec::new();
    for header in [unsampled.unsampled(), bad, None] {
        let peer = stack.left().connect_traced(&stack.create(Role::Agent).await?, header).await?;
        peers.push(peer.id().to_string());
        served(stack, peer).await?;
    }
    terminate(stack.left()).await?;
    for (peer, traced) in peers.iter().zip([false, true, true]) {
        let all = collector.received();
        let roots: Vec<&Received> =
            all.iter().filter(|received| received.attribute("tailnet.peer.id").as_deref() == Some(peer)).collect();
        assert_eq!(roots.len(), usize::from(traced), "{}", listed(&all));
        for root in roots {
            assert_eq!((root.parent().as_str(), root.process("service.name").as_deref()), ("", Some("edge")));
            assert_ne!(hex::encode(&root.span.trace_id), malformed.trace_id);
        }
    }
    Ok(())
}

#[tokio::test]
async fn without_a_collector_the_trace_id_is_logged_all_the_same() {
    run_with(Setup::of(1).with(&[LOG]), async |stack| {
        let caller = Caller::new();
        let peer = stack.left().connect_traced(&stack.create(Role::Agent).await?, caller.sampled()).await?;
        served(stack, peer).await?;
        terminate(stack.left()).await?;
        assert_eq!(stack.left().log().matches(&caller.trace_id).count(), 1, "{}", stack.left().log());
        Ok(())
    })
    .await;
}
