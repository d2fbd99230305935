//! `tailnet-scaletest coordinate --churn`.

use anyhow::{Context, Result};
use serde_json::Value;
use tailnet_harness::{Stack, run};

use super::{left, program::Running, superuser, urls};

fn start(stack: &Stack, options: &[&str]) -> Result<Running> {
    let common = ["--output=json", "--seed=7"];
    Running::start("coordinate", &superuser(stack)?, &urls(stack), &[common.as_slice(), options].concat())
}

#[tokio::test]
async fn peers_that_leave_and_come_back_are_right_at_the_end() {
    run(2, async |stack| {
        let options = ["--peers=10", "--hub", "--updates-per-second=50", "--for=500ms", "--churn=60", "--churn-for=1s"];
        let ended = start(stack, &options)?.end().await?;
        assert_eq!(ended.code, Some(0), "{}", ended.said.join("\n"));
        let report = ended.report()?;
        let number = |path: &str| report.pointer(path).and_then(Value::as_u64).unwrap_or_default();
        let ways = ["goodbyes", "vanished", "tunnels_closed"].map(|way| number(&format!("/churn/{way}")));
        assert!(ways.iter().all(|times| *times > 0) && ways.iter().sum::<u64>() == 60, "{report}");
        let done = ["due", "right_again", "right_again_ms/count"].map(|what| number(&format!("/churn/{what}")));
        assert_eq!(done, [60; 3], "{report}");
        assert_eq!(number("/churn/reconnect_ms/count"), ways[0] + ways[1], "{report}");
        // The load is what it was.
        assert_eq!((number("/load/connected"), number("/load/connect_ms/count")), (21, 21), "{report}");
        assert_eq!(
            (number("/updates/heard"), number("/check/peers"), number("/check/words")),
            (25, 21, 40),
            "{report}"
        );
        assert_eq!(left(stack).await?, [0; 5]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn peers_leave_in_the_ways_that_were_asked_for() {
    run(1, async |stack| {
        for (way, field) in [("goodbye", "goodbyes"), ("vanish", "vanished"), ("tunnel", "tunnels_closed")] {
            let options = ["--peers=4", "--churn=40", "--churn-for=500ms", "--churn-by", way];
            let ended = start(stack, &options)?.end().await?;
            assert_eq!(ended.code, Some(0), "{}", ended.said.join("\n"));
            let report = ended.report()?;
            assert_eq!(
                (&report["churn"][field], &report["churn"]["right_again"]),
                (&20.into(), &20.into()),
                "{report}"
            );
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_does_not_come_back_in_time_fails() {
    run(2, async |stack| {
        let options = ["--peers=4", "--churn=100", "--churn-for=1h", "--churn-by=vanish", "--job-timeout=3s"];
        let mut running = start(stack, &[options.as_slice(), &["--log=debug"]].concat())?;
        running.until_said("==> churn").await?;
        running.until_said("left").await?;
        // No session can be attached while nobody may write peers.
        let holder = stack.database().connect().await?;
        holder.batch_execute("BEGIN; LOCK TABLE tailnet_private.peers IN EXCLUSIVE MODE").await?;
        running.until_said("not back with right views in 3s").await?;
        holder.batch_execute("COMMIT").await?;
        running.signal("INT").await?;
        let ended = running.end().await?;
        ended.assert_failed("summary: cancelled after", "cancelled after");
        let error = ended.said.last().context("it said something")?;
        assert!(error.contains(" s, in churn, after ") && error.ends_with(" s of 3600.0 s"), "{error}");
        let report = ended.report()?;
        assert_eq!(report["failures"][0]["phase"], "churn", "{report}");
        assert_eq!(left(stack).await?, [0; 5]);
        Ok(())
    })
    .await;
}
