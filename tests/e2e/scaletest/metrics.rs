//! `tailnet-scaletest --metrics-listen`.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tailnet_harness::{deadline::until, http, run};

use super::{
    program::{Ended, Running},
    superuser, urls,
};

/// Starts a run that shows its metrics, and returns where.
async fn start(stack: &tailnet_harness::Stack, command: &str, options: &[&str]) -> Result<(Running, SocketAddr)> {
    let common = ["--metrics-listen=127.0.0.1:0", "--peers=4"];
    let options = [common.as_slice(), options].concat();
    let mut running = Running::start(command, &superuser(stack)?, &urls(stack), &options)?;
    running.until_said("metrics: http://").await?;
    let line = running.said.last().context("it said where")?;
    let address = line.trim_start_matches("metrics: http://").trim_end_matches("/metrics").parse()?;
    Ok((running, address))
}

async fn metric(address: SocketAddr, name: &str) -> Result<f64> {
    let (status, text) = http::get(address, "/metrics", &[]).await?;
    assert_eq!(status, 200, "{text}");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    // A family has no member before its first.
    Ok(value.unwrap_or("0").parse()?)
}

async fn until_metric(address: SocketAddr, name: &str, enough: f64) -> Result<()> {
    until(&format!("{name} is at least {enough}"), async || Ok(metric(address, name).await? >= enough)).await
}

async fn cancel(running: Running) -> Result<Ended> {
    running.signal("INT").await?;
    running.end().await
}

#[tokio::test]
async fn a_run_shows_its_progress() {
    run(2, async |stack| {
        let options = ["--updates-per-second=50", "--for=1s", "--churn=50", "--churn-for=1h"];
        let (running, address) = start(stack, "coordinate", &options).await?;
        until_metric(address, "tailnet_scaletest_phase{phase=\"churn\"}", 1.0).await?;
        for name in ["updates_sent_total", "updates_heard_total", "update_seconds_count"] {
            assert_eq!(metric(address, &format!("tailnet_scaletest_{name}")).await?, 50.0, "{name}");
        }
        assert!(metric(address, "tailnet_scaletest_connect_seconds_count").await? >= 8.0);
        assert_eq!(metric(address, "tailnet_scaletest_runners{state=\"unfinished\"}").await?, 4.0);
        assert_eq!(metric(address, "tailnet_scaletest_phase{phase=\"updates\"}").await?, 0.0);
        until_metric(address, "tailnet_scaletest_right_again_seconds_count", 1.0).await?;
        assert!(metric(address, "tailnet_scaletest_departures_total").await? >= 1.0);
        let sql = "SELECT tailnet.revoke_peer(peer_id) FROM tailnet.identities WHERE name = 'scaletest-agent-2'";
        stack.operator.sql.execute(sql, &[]).await?;
        until_metric(address, "tailnet_scaletest_runners{state=\"failed\"}", 1.0).await?;
        cancel(running).await?.assert_failed("summary: cancelled after", "cancelled after");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn traffic_shows_its_bytes() {
    run(2, async |stack| {
        let (running, address) = start(stack, "traffic", &["--for=1h"]).await?;
        for name in ["bytes_read_total{role=\"client\"}", "bytes_written_total{role=\"agent\"}"] {
            until_metric(address, &format!("tailnet_scaletest_{name}"), 8192.0).await?;
        }
        let ended = cancel(running).await?;
        ended.assert_failed("summary: cancelled after", "cancelled after");
        assert!(http::get(address, "/metrics", &[]).await.is_err(), "nobody answers for a run that is over");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_told() {
    run(1, async |stack| {
        let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = taken.local_addr()?;
        let options = [format!("--metrics-listen={address}")];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let ended = Running::start("traffic", &superuser(stack)?, &urls(stack), &options)?.end().await?;
        ended.assert_failed("summary: failed after", &format!("cannot listen on {address} (--metrics-listen)"));
        Ok(())
    })
    .await;
}
