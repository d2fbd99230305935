//! The proxy serves its peers although the collector does not answer.

use futures_util::future::try_join_all;
use tailnet_wire::Role;
use tokio::net::TcpListener;

use super::{
    caller::Caller,
    run::{lines, run_traced, terminate},
};

#[tokio::test]
async fn a_collector_that_is_not_there_disturbs_nobody() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    serve_without_collector(&format!("http://{nobody}"), &["Connection refused"]).await;
}

#[tokio::test]
async fn a_collector_that_does_not_answer_disturbs_nobody() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", silent.local_addr().expect("it has an address"));
    serve_without_collector(&url, &["dropped a Span due to queue full", "not all traces were sent"]).await;
}

/// More spans than the queue has room for are made, peers are served, and the proxy ends in good order.
async fn serve_without_collector(url: &str, said: &[&str]) {
    run_traced(url, &[("--drain-time", "20s")], async |stack| {
        let coming_and_going = (0..40).map(async |_| {
            let identity = stack.create(Role::Agent).await?;
            for _ in 0..20 {
                let peer = stack.left().connect_traced(&identity, Caller::new().sampled()).await?;
                peer.disconnect().await?;
            }
            anyhow::Ok(())
        });
        try_join_all(coming_and_going).await?;
        let pair = stack.pair().await?;
        stack.assert_nothing_else(&[&pair.client, &pair.agent]).await?;
        assert!(stack.left().metric("tailnet_spans_ended_total").await? > 2048 + 512);
        assert_eq!(stack.left().metric("tailnet_spans_delivered_total").await?, 0);
        terminate(stack.left()).await?;
        let log = stack.left().log();
        for said in said {
            assert_eq!(lines(&log, said).len(), 1, "{log}");
        }
        assert!(!log.contains("drain time is over"), "{log}");
        Ok(())
    })
    .await;
}
