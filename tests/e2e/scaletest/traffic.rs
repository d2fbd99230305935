//! `tailnet-scaletest traffic`.

use anyhow::{Context, Result};
use serde_json::Value;
use tailnet_harness::{Stack, run};
use uuid::Uuid;

use super::{
    left,
    program::{Ended, Running},
    superuser, urls,
};

fn start(stack: &Stack, options: &[&str]) -> Result<Running> {
    let common = ["--log=info", "--output=json"];
    Running::start("traffic", &superuser(stack)?, &urls(stack), &[common.as_slice(), options].concat())
}

/// What the report says that the clients have read and written. All peers must have logged the same.
fn bytes(ended: &Ended, report: &Value, pairs: usize) -> Result<(u64, u64)> {
    let number = |path: &str| report.pointer(path).and_then(Value::as_u64).context(format!("no {path}: {report}"));
    let said = ended.traffic_summaries()?;
    assert_eq!(said.len(), 2 * pairs, "{}", ended.said.join("\n"));
    for role in ["agent", "client"] {
        let of_role = || said.iter().filter(|(of, ..)| of == role);
        let numbers: Vec<usize> = of_role().map(|(_, pair, ..)| *pair).collect();
        assert_eq!(numbers, (0..pairs).collect::<Vec<_>>(), "each has said it once");
        let sums = (of_role().map(|(_, _, read, _)| read).sum(), of_role().map(|(.., written)| written).sum());
        let reported = ["read", "written"].map(|what| number(&format!("/traffic/{role}s/bytes_{what}")));
        let [read, written] = reported;
        assert_eq!((read?, written?), sums, "{report}");
    }
    let moved = (number("/traffic/clients/bytes_read")?, number("/traffic/clients/bytes_written")?);
    ended.place(&format!("  traffic: {} bytes read, {} bytes written", moved.0, moved.1));
    Ok(moved)
}

#[tokio::test]
async fn traffic_that_passes_says_what_was_moved() {
    run(2, async |stack| {
        let options = ["--peers=4", "--for=1s", "--bytes-per-tick=4096", "--tick-interval=50ms", "--concurrency=2"];
        let ended = start(stack, &options)?.end().await?;
        assert_eq!(ended.code, Some(0), "{}", ended.said.join("\n"));
        ended.place("summary: passed after");
        let report = ended.report()?;
        let number = |path: &str| report.pointer(path).and_then(Value::as_u64);
        let all = ["/peers", "/passed", "/failed", "/unfinished", "/load/connected", "/load/pairs_ready"].map(number);
        assert_eq!(all, [8, 4, 0, 0, 8, 4].map(Some), "{report}");
        assert_eq!(["/load/ready_ms/count", "/load/handshake_ms/count"].map(number), [Some(4), Some(4)]);
        assert_eq!(["/proxies/0/peers", "/proxies/1/peers"].map(number), [Some(4), Some(4)]);
        assert_eq!(report["proxies"][1]["coordinators"][0], "proxy-2");
        // 20 ticks each. What a busy machine cannot send in time is not sent at all, but what is sent comes back.
        assert_eq!(number("/traffic/bytes_due"), Some(4 * 20 * 4096));
        let (read, written) = bytes(&ended, &report, 4)?;
        assert!(read == written && (4 * 4096..=4 * 20 * 4096).contains(&read), "{report}");
        assert_eq!(left(stack).await?, [0; 5]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn without_an_end_of_its_own_traffic_goes_on_until_the_timeout() {
    run(1, async |stack| {
        let ended = start(stack, &["--peers=1", "--timeout=4s"])?.end().await?;
        assert_eq!(ended.code, Some(0), "{}", ended.said.join("\n"));
        let report = ended.report()?;
        assert_eq!(report["ended"], "passed");
        assert!(report["seconds"].as_f64() >= Some(4.0), "{report}");
        assert!(bytes(&ended, &report, 1)?.0 > 0, "{report}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_runner_that_read_nothing_fails() {
    run(2, async |stack| {
        // It is over before a byte could move.
        let ended = start(stack, &["--peers=2", "--for=0s"])?.end().await?;
        ended.assert_failed("summary: failed after", "2 of 2 runners failed");
        let report = ended.report()?;
        assert_eq!(bytes(&ended, &report, 2)?, (0, 0));
        for failure in report["failures"].as_array().context("failures are a list")? {
            let error = failure["error"].as_str().context("an error is text")?;
            assert_eq!(error, "nothing came back through the tunnel, with 0 bytes read and 0 written");
            assert_eq!(failure["phase"], "traffic");
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn cancelled_traffic_fails_and_says_after_how_much() {
    run(2, async |stack| {
        for signal in ["INT", "TERM"] {
            let mut running = start(stack, &["--peers=3", "--for=1h"])?;
            running.until_said("==> traffic").await?;
            running.signal(signal).await?;
            let ended = running.end().await?;
            ended.assert_failed("summary: cancelled after", "cancelled after");
            let error = ended.said.last().context("it said something")?;
            assert!(error.contains(" s, in traffic, after ") && error.ends_with(" s of 3600.0 s"), "{error}");
            let report = ended.report()?;
            assert_eq!((&report["ended"], &report["unfinished"]), (&"cancelled".into(), &3.into()), "{report}");
            bytes(&ended, &report, 3)?;
            assert_eq!(left(stack).await?, [0; 5]);
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn traffic_that_takes_too_long_to_begin_fails() {
    run(1, async |stack| {
        // No session can be attached while nobody may write peers.
        let holder = stack.database().connect().await?;
        holder.batch_execute("BEGIN; LOCK TABLE tailnet_private.peers IN EXCLUSIVE MODE").await?;
        let mut running = start(stack, &["--peers=2", "--timeout=1s"])?;
        running.until_said("==> cleanup").await?;
        holder.batch_execute("COMMIT").await?;
        let ended = running.end().await?;
        ended.assert_failed("summary: timed out after", "stopped by --timeout after 1.");
        let report = ended.report()?;
        assert_eq!((&report["ended"], &report["unfinished"]), (&"timed_out".into(), &2.into()), "{report}");
        assert_eq!(bytes(&ended, &report, 2)?, (0, 0));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_refused_connection_is_told_with_the_bytes_that_moved() {
    run(1, async |stack| {
        // A port that was free a moment ago.
        let nobody = format!("ws://{}", std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?);
        let proxies = [stack.left().url(), nobody.clone()];
        let options = ["--peers=3", "--for=1s", "--log=info", "--output=json"];
        let ended = Running::start("traffic", &superuser(stack)?, &proxies, &options)?.end().await?;
        ended.assert_failed("summary: failed after", "3 of 3 runners failed");
        let report = ended.report()?;
        assert_eq!(bytes(&ended, &report, 3)?, (0, 0));
        for failure in report["failures"].as_array().context("failures are a list")? {
            let error = failure["error"].as_str().context("an error is text")?;
            let expected = format!("cannot connect to {nobody}: the proxy cannot be reached: Connection refused");
            assert!(error.starts_with(&expected), "{error}");
            assert_eq!(failure["phase"], "load");
        }
        assert_eq!(left(stack).await?, [0; 5]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_failing_runner_is_in_the_summary_and_the_others_go_on() {
    run(2, async |stack| {
        let mut running = start(stack, &["--peers=3", "--for=5s"])?;
        running.until_said("==> traffic").await?;
        let sql = "SELECT peer_id FROM tailnet.identities WHERE name = 'scaletest-client-1'";
        let client: Uuid = stack.operator.sql.query_one(sql, &[]).await?.get(0);
        stack.operator.revoke_peer(client).await?;
        running.until_said("failed: ").await?;
        let ended = running.end().await?;
        ended.assert_failed("summary: failed after", "1 of 3 runners failed");
        let report = ended.report()?;
        assert_eq!((&report["passed"], &report["failed"]), (&2.into(), &1.into()), "{report}");
        let failure = &report["failures"][0];
        assert_eq!((&failure["peer"], &failure["pair"]), (&client.to_string().into(), &1.into()), "{failure}");
        let error = failure["error"].as_str().context("an error is text")?;
        assert!(error.starts_with("the proxy closed the session with 4003 ("), "{error}");
        ended.place(&format!("  failure: client scaletest-client-1 ({client}) of pair 1, in traffic after"));
        assert!(bytes(&ended, &report, 3)?.0 > 0, "{report}");
        assert_eq!(left(stack).await?, [0; 5]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn pairs_of_a_killed_proxy_fail() {
    run(2, async |stack| {
        let mut running = start(stack, &["--peers=2", "--for=1h"])?;
        running.until_said("==> traffic").await?;
        stack.right().kill().await?;
        let ended = running.end().await?;
        ended.assert_failed("summary: failed after", "2 of 2 runners failed");
        let report = ended.report()?;
        for failure in report["failures"].as_array().context("failures are a list")? {
            let error = failure["error"].as_str().context("an error is text")?;
            assert!(error.starts_with("the proxy closed the session ("), "{error}");
        }
        bytes(&ended, &report, 2)?;
        Ok(())
    })
    .await;
}
