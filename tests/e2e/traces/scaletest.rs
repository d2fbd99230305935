//! `tailnet-scaletest` begins a trace, and proxies continue it.

use std::collections::HashSet;

use anyhow::Context;
use tailnet_harness::{Proxy, deadline::until, run_with, stack::Setup};

use super::{
    below,
    collector::{Collector, Received},
    lines, listed, terminate,
};
use crate::scaletest::{program::Running, superuser, urls};

/// The phases, sorted.
const COORDINATE: [&str; 6] = ["check", "cleanup", "goodbye", "identities", "load", "updates"];

/// The same.
const TRAFFIC: [&str; 4] = ["cleanup", "identities", "load", "traffic"];

#[tokio::test]
async fn a_scale_test_and_its_proxies_make_one_trace() {
    let collector = Collector::start().await.expect("a collector starts");
    let (url, setup) = (collector.url(), Setup { proxies: 2, ..Setup::default() });
    let options = [("--otlp-endpoint", url.as_str()), ("--log", "info,tailnet_proxy=debug")];
    run_with(Setup { options: &options, ..setup }, async |stack| {
        let always = ["--peers=3", "--for=300ms", "--log=tailnet_scaletest=debug", "--trace", "--otlp-endpoint", &url];
        let coordinate = ["--hub", "--updates-per-second=10"];
        for (command, more, expected, peers, lines_of_proxies) in [
            ("coordinate", &coordinate[..], &COORDINATE[..], 7, 0),
            ("coordinate", &[&coordinate[..], &["--trace-propagate"]].concat(), &COORDINATE, 7, 7),
            ("traffic", &["--trace-propagate"], &TRAFFIC, 6, 6),
        ] {
            let before = collector.received().len();
            let options = [&always[..], more].concat();
            let ended = Running::start(command, &superuser(stack)?, &urls(stack), &options)?.end().await?;
            assert_eq!(ended.code, Some(0), "{}", ended.said.join("\n"));
            let spans = collector.received().split_off(before);
            let run = spans.iter().find(|received| received.span.name == "run").context("there is a run")?;
            let trace_id = hex::encode(&run.span.trace_id);
            assert_eq!((run.parent().as_str(), run.is_error()), ("", false));
            assert_eq!(run.process("service.name").as_deref(), Some("tailnet-scaletest"));
            let names = below(&spans, run);
            let (runners, phases): (Vec<&str>, Vec<&str>) = names.into_iter().partition(|name| *name == "runner");
            assert_eq!(phases, expected);
            assert_eq!(runners.len(), peers);
            let connected: Vec<&String> = ended.said.iter().filter(|line| line.contains(": connected ")).collect();
            assert_eq!(connected.len(), peers, "{}", ended.said.join("\n"));
            for line in connected {
                for part in [&format!("run{{trace_id={trace_id}}}:runner{{peer="), "name=", "role="] {
                    assert!(line.contains(part), "{part} in {line}");
                }
            }
            until("the proxies logged the trace id", async || {
                let log = stack.proxies().iter().map(Proxy::log).collect::<Vec<_>>().join("\n");
                Ok(lines(&log, &format!("trace_id={trace_id}")).len() == lines_of_proxies)
            })
            .await?;
        }
        for proxy in stack.proxies() {
            terminate(proxy).await?;
        }
        let all = collector.received();
        let connections: Vec<&Received> = all.iter().filter(|received| received.span.kind == 2).collect();
        assert_eq!(connections.len(), 7 + 6, "of the runs that propagate: {}", listed(&all));
        for connection in connections {
            let runner = all.iter().find(|received| received.id() == connection.parent()).context("it has a parent")?;
            assert_eq!((runner.span.name.as_str(), &runner.span.trace_id), ("runner", &connection.span.trace_id));
            assert_eq!(connection.attribute("tailnet.peer.id"), runner.attribute("tailnet.peer.id"));
            assert_eq!(connection.number("tailnet.close.code")?, 1000);
            let names = below(&all, connection);
            assert!(names.contains(&"authenticate") && names.contains(&"disconnect"), "{names:?}");
            assert!(runner.span.end_time_unix_nano >= connection.span.start_time_unix_nano, "{runner:?}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_scale_test_that_fails_says_so_in_its_trace() {
    let collector = Collector::start().await.expect("a collector starts");
    let url = collector.url();
    run_with(Setup { proxies: 1, ..Setup::default() }, async |stack| {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let proxies = [stack.left().url(), format!("ws://{nobody}")];
        let options = ["--peers=2", "--trace", "--otlp-endpoint", &url];
        let ended = Running::start("coordinate", &superuser(stack)?, &proxies, &options)?.end().await?;
        ended.assert_failed("summary: failed after", "2 of 2 runners failed");
        let spans = collector.received();
        let failed: Vec<&Received> = spans.iter().filter(|received| received.is_error()).collect();
        let names: HashSet<&str> = failed.iter().map(|received| received.span.name.as_str()).collect();
        assert_eq!((failed.len(), names), (3, HashSet::from(["run", "runner"])), "{}", listed(&spans));
        let options = ["--trace", "--otlp-endpoint=https://collector:4318"];
        let refused = Running::start("coordinate", &superuser(stack)?, &proxies, &options)?.end().await?;
        assert!(refused.code == Some(1) && refused.said[0].contains("expected http://"), "{:?}", refused.said);
        Ok(())
    })
    .await;
}
