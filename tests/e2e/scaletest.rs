//! `tailnet-scaletest`, run as a program on real proxies.

mod churn;
mod cleanup;
mod metrics;
pub mod program;
mod traffic;

use std::env;

use anyhow::{Context, Result};
use serde_json::Value;
use tailnet_harness::{Proxy, Stack, run};
use uuid::Uuid;

use self::program::Running;

/// The superuser's URL of the database of a test.
pub fn superuser(stack: &Stack) -> Result<String> {
    let config = stack.database().superuser();
    let password = String::from_utf8(config.get_password().context("the superuser has a password")?.to_vec())?;
    let user = config.get_user().context("the superuser has a name")?;
    Ok(format!("postgres://{user}:{password}@{}/{}", stack.database().address()?, stack.database().name()))
}

pub fn urls(stack: &Stack) -> Vec<String> {
    stack.proxies().iter().map(Proxy::url).collect()
}

/// How many networks, identities, grants, peers and tunnels of scale tests there are.
async fn left(stack: &Stack) -> Result<[i64; 5]> {
    let sql = "SELECT (SELECT count(*) FROM tailnet.networks WHERE name LIKE 'scaletest-%'),
                      (SELECT count(*) FROM tailnet.identities WHERE network LIKE 'scaletest-%'),
                      (SELECT count(*) FROM tailnet_private.grants),
                      (SELECT count(*) FROM tailnet_private.peers),
                      (SELECT count(*) FROM tailnet_private.tunnels)";
    let row = stack.operator.sql.query_one(sql, &[]).await?;
    Ok([0, 1, 2, 3, 4].map(|column| row.get(column)))
}

#[tokio::test]
async fn a_run_that_passes_says_what_happened() {
    run(2, async |stack| {
        let file = env::temp_dir().join(format!("scaletest-{}.txt", Uuid::new_v4().simple()));
        let text = format!("text:{}", file.display());
        let options = [
            ["--peers=20", "--hub", "--seed=7", "--updates-per-second=100", "--for=500ms"].as_slice(),
            &["--load=ramp", "--ramp-time=200ms", "--concurrency=4", "--output=json", "--output", &text],
        ];
        let ended = Running::start("coordinate", &superuser(stack)?, &urls(stack), &options.concat())?.end().await?;
        assert_eq!(ended.code, Some(0), "{}", ended.said.join("\n"));
        ended.place("summary: passed after");
        let report = ended.report()?;
        let number = |path: &str| report.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN);
        assert_eq!(
            (&report["ended"], &report["error"], &report["failures"]),
            (&"passed".into(), &Value::Null, &Value::Array(vec![]))
        );
        assert_eq!(["/seed", "/pairs", "/peers"].map(number), [7.0, 20.0, 41.0]);
        assert_eq!(["/passed", "/failed", "/unfinished"].map(number), [21.0, 0.0, 0.0]);
        assert_eq!(["/load/connected", "/load/connect_ms/count"].map(number), [41.0, 41.0]);
        assert_eq!(["/load/pairs_right", "/load/right_view_ms/count"].map(number), [20.0, 20.0]);
        assert!(number("/load/last_right_view_seconds") >= number("/load/last_connect_seconds"), "{report}");
        assert!(number("/load/last_right_view_seconds") >= 0.19, "a ramp takes its time: {report}");
        assert_eq!(["/updates/due", "/updates/sent", "/updates/heard"].map(number), [50.0; 3]);
        assert_eq!(number("/updates/latency_ms/count"), 50.0);
        let quantiles = ["p50", "p90", "p99", "max"].map(|name| number(&format!("/updates/latency_ms/{name}")));
        assert!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{report}");
        // Each client knows its agent, each agent its client and the hub, the hub all agents.
        assert_eq!(["/check/peers", "/check/words"].map(number), [41.0, 80.0]);
        let names: Vec<&Value> = (0..2).map(|place| &report["proxies"][place]["coordinators"][0]).collect();
        assert_eq!(names, ["proxy-1", "proxy-2"]);
        assert_eq!(["/proxies/0/peers", "/proxies/1/peers"].map(number), [21.0, 20.0]);
        let text = std::fs::read_to_string(&file)?;
        std::fs::remove_file(&file)?;
        assert!(text.starts_with("peers    41: 20 pairs and a hub, seed 7\n"), "{text}");
        assert_eq!(left(stack).await?, [0; 5]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_refused_connection_fails_after_a_summary() {
    run(1, async |stack| {
        // A port that was free a moment ago.
        let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let proxies = [stack.left().url(), format!("ws://{nobody}")];
        for (bad, why) in
            [(proxies[1].as_str(), "Connection refused"), ("http://one", "is not a URL like ws://host:port")]
        {
            let options = ["--peers=3", "--output=json"];
            let proxies = [stack.left().url(), bad.to_owned()];
            let ended = Running::start("coordinate", &superuser(stack)?, &proxies, &options)?.end().await?;
            ended.assert_failed("summary: failed after", "3 of 3 runners failed");
            let report = ended.report()?;
            assert_eq!((&report["ended"], &report["failed"]), (&"failed".into(), &3.into()), "{report}");
            for failure in report["failures"].as_array().context("failures are a list")? {
                let error = failure["error"].as_str().context("an error is text")?;
                assert!(error.starts_with(&format!("cannot connect to {bad}")) && error.contains(why), "{error}");
            }
            assert_eq!(left(stack).await?, [0; 5]);
        }
        let ended = Running::start("coordinate", "postgres://nobody@127.0.0.1:1/none", &proxies, &[])?.end().await?;
        ended.assert_failed("summary: failed after", "cannot connect to");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn room_for_websockets_is_made_or_missed_before_anything_else() {
    run(1, async |stack| {
        let (database, proxies) = (superuser(stack)?, urls(stack));
        let raised = Running::start_with("-S -n 64", "coordinate", &database, &proxies, &["--peers=40"])?.end().await?;
        assert_eq!(raised.code, Some(0), "{}", raised.said.join("\n"));
        let refused = Running::start_with("-n 64", "coordinate", &database, &proxies, &["--peers=40"])?.end().await?;
        let error = "80 peers need 144 open files, and this process may open 64 (ulimit -Hn)";
        refused.assert_failed("summary: failed after", error);
        assert!(!refused.said.iter().any(|line| line == "==> identities"), "{}", refused.said.join("\n"));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn at_most_so_many_failures_are_shown_in_full() {
    run(2, async |stack| {
        // No session can be attached while nobody may write peers.
        let holder = stack.database().connect().await?;
        holder.batch_execute("BEGIN; LOCK TABLE tailnet_private.peers IN EXCLUSIVE MODE").await?;
        let options = ["--peers=12", "--job-timeout=1s", "--max-failures=3", "--output=json"];
        let mut running = Running::start("coordinate", &superuser(stack)?, &urls(stack), &options)?;
        running.until_said("failed: ").await?;
        let line = running.said.last().context("it said something")?.clone();
        for part in ["runner{peer=", "name=\"scaletest-", "role=", "pair="] {
            assert!(line.contains(part), "a log line says whose it is: {line}");
        }
        running.until_said("==> check").await?;
        holder.batch_execute("COMMIT").await?;
        let ended = running.end().await?;
        ended.assert_failed("summary: failed after", "12 of 12 runners failed");
        let shown = ended.said.iter().filter(|line| line.starts_with("  failure: ")).count();
        let logged = ended.said.iter().filter(|line| line.contains("failed: ")).count();
        assert_eq!((shown, logged), (3, 3), "{}", ended.said.join("\n"));
        ended.place("  and 9 failures more");
        let report = ended.report()?;
        assert_eq!((&report["failed"], report["failures"].as_array().map(Vec::len)), (&12.into(), Some(3)), "{report}");
        assert_eq!(left(stack).await?, [0; 5]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_runner_whose_identity_is_revoked_fails_alone() {
    run(2, async |stack| {
        let options = ["--peers=8", "--hub", "--updates-per-second=40", "--for=5s", "--output=json"];
        let mut running = Running::start("coordinate", &superuser(stack)?, &urls(stack), &options)?;
        running.until_said("==> updates").await?;
        let sql = "SELECT peer_id FROM tailnet.identities WHERE name = 'scaletest-agent-3'";
        let agent: Uuid = stack.operator.sql.query_one(sql, &[]).await?.get(0);
        stack.operator.revoke_peer(agent).await?;
        running.until_said("failed: closed with 4003").await?;
        let ended = running.end().await?;
        ended.assert_failed("summary: failed after", "1 of 9 runners failed");
        let report = ended.report()?;
        assert_eq!((&report["passed"], &report["failed"]), (&8.into(), &1.into()), "{report}");
        let failure = &report["failures"][0];
        let said =
            ["peer", "name", "role", "phase"].map(|field| failure[field].as_str().unwrap_or_default().to_owned());
        assert_eq!(said, [&agent.to_string(), "scaletest-agent-3", "agent", "updates"]);
        assert_eq!(failure["pair"], 3, "{failure}");
        assert_eq!(left(stack).await?, [0; 5]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_wrong_view_fails() {
    run(2, async |stack| {
        let options = ["--peers=2", "--updates-per-second=20", "--for=2s", "--job-timeout=5s", "--output=json"];
        let mut running = Running::start("coordinate", &superuser(stack)?, &urls(stack), &options)?;
        running.until_said("==> updates").await?;
        // A tunnel that no proxy was told of.
        let forged = "INSERT INTO tailnet_private.tunnels (src, dst) SELECT client.peer_id, agent.peer_id
                      FROM tailnet.identities client, tailnet.identities agent
                      WHERE client.name = 'scaletest-client-0' AND agent.name = 'scaletest-agent-1'";
        assert_eq!(stack.operator.sql.execute(forged, &[]).await?, 1);
        let ended = running.end().await?;
        ended.place("summary: failed after");
        ended.place("tailnet-scaletest: not all views are right: after 5s the peers differ from the tables");
        let report = ended.report()?;
        assert_eq!((ended.code, &report["passed"], &report["check"]), (Some(1), &0.into(), &Value::Null), "{report}");
        assert_eq!(left(stack).await?, [0; 5]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_run_fails_and_says_after_how_much() {
    run(2, async |stack| {
        let options = ["--peers=5", "--updates-per-second=20", "--for=1h", "--output=json"];
        let mut running = Running::start("coordinate", &superuser(stack)?, &urls(stack), &options)?;
        running.until_said("==> updates").await?;
        running.signal("INT").await?;
        let ended = running.end().await?;
        ended.assert_failed("summary: cancelled after", "cancelled after");
        let error = ended.said.last().context("it said something")?;
        assert!(error.contains(" s, in updates, after ") && error.ends_with(" s of 3600.0 s"), "{error}");
        let report = ended.report()?;
        assert_eq!((&report["ended"], &report["unfinished"]), (&"cancelled".into(), &5.into()), "{report}");
        assert_eq!(left(stack).await?, [0; 5]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_run_that_takes_too_long_fails_and_says_after_how_much() {
    run(1, async |stack| {
        let options = ["--peers=2", "--load=ramp", "--ramp-time=1h", "--timeout=500ms", "--output=json"];
        let ended = Running::start("coordinate", &superuser(stack)?, &urls(stack), &options)?.end().await?;
        ended.assert_failed(
            "summary: timed out after",
            "stopped by --timeout after 0.5 s, in load, with 1 of 2 pairs right",
        );
        assert_eq!(ended.report()?["ended"], "timed_out");
        assert_eq!(left(stack).await?, [0; 5]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_operator_who_is_no_superuser_leaves_revoked_identities() {
    run(2, async |stack| {
        let role = format!("{}_operator", stack.database().name());
        let sql = &stack.operator.sql;
        sql.batch_execute(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'secret' IN ROLE tailnet_reader;
             GRANT EXECUTE ON FUNCTION tailnet.create_network, tailnet.create_peer, tailnet.grant_tunnel,
                                       tailnet.revoke_peer TO {role}"
        ))
        .await?;
        let url = format!("postgres://{role}:secret@{}/{}", stack.database().address()?, stack.database().name());
        let ended = Running::start("coordinate", &url, &urls(stack), &["--peers=5", "--hub"])?.end().await;
        sql.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await?;
        let ended = ended?;
        assert_eq!(ended.code, Some(0), "{}", ended.said.join("\n"));
        assert_eq!(left(stack).await?, [1, 11, 5, 0, 0]);
        let good = "SELECT count(*) FROM tailnet.identities WHERE revoked_at IS NULL";
        assert_eq!(sql.query_one(good, &[]).await?.get::<_, i64>(0), 0);
        Ok(())
    })
    .await;
}
