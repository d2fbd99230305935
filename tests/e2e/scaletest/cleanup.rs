//! `tailnet-scaletest cleanup`.

use anyhow::{Context, Result};
use tailnet_harness::{Stack, deadline::until, run};
use tailnet_wire::Role;
use uuid::Uuid;

use super::{
    left,
    program::{Ended, Running},
    superuser, urls,
};

async fn clean_up(database: &str, options: &[&str]) -> Result<Ended> {
    Running::start("cleanup", database, &[], options)?.end().await
}

/// Kills a run, and returns the name of its network when the proxies have noticed.
async fn killed_run(stack: &Stack) -> Result<String> {
    let options = ["--peers=5", "--updates-per-second=20", "--for=1h"];
    let mut running = Running::start("coordinate", &superuser(stack)?, &urls(stack), &options)?;
    running.until_said("==> updates").await?;
    let (_, network) = running.said[0].split_once("in network ").context("it names its network")?;
    let network = network.to_owned();
    running.signal("KILL").await?;
    running.end().await?;
    let sql = "SELECT (SELECT count(*) FROM tailnet.peers WHERE network = $1 AND coordinator IS NOT NULL)
                    + (SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tailnet-scaletest/%'
                                                               AND datname = current_database())";
    let gone = async || Ok(stack.operator.sql.query_one(sql, &[&network]).await?.get::<_, i64>(0) == 0);
    until("the killed run is gone", gone).await?;
    Ok(network)
}

#[tokio::test]
async fn what_a_killed_run_has_left_is_removed_and_nothing_else() {
    run(2, async |stack| {
        // Not the name of a run.
        for network in ["scaletest-mine", "scaletest-7-0123456", "a-scaletest-7-01234567"] {
            stack.operator.create_network(network).await?;
            stack.operator.create_peer(network, Role::Agent).await?;
        }
        let ours = left(stack).await?;
        let network = killed_run(stack).await?;
        let all = left(stack).await?;
        assert_eq!(all[1] - ours[1], 10, "a run leaves something: {all:?}");
        let database = superuser(stack)?;

        let dry = clean_up(&database, &["--dry-run"]).await?;
        assert_eq!(dry.code, Some(0), "{}", dry.said.join("\n"));
        assert!(dry.stdout.starts_with(&format!("would remove {network}, made ")), "{}", dry.stdout);
        assert!(
            dry.stdout.ends_with(" UTC, 10 peers\ncleanup: would remove 1 network with 10 peers\n"),
            "{}",
            dry.stdout
        );
        let unanswered = clean_up(&database, &[]).await?;
        assert_eq!(unanswered.code, Some(1), "{}", unanswered.said.join("\n"));
        unanswered.place("tailnet-scaletest: nothing was changed: stdin is no terminal, so --yes must be given");
        assert_eq!(left(stack).await?, all, "nothing was changed");

        let done = clean_up(&database, &["--yes"]).await?;
        assert_eq!(done.code, Some(0), "{}", done.said.join("\n"));
        assert!(done.stdout.contains(&format!("\nremoved {network}, made ")), "{}", done.stdout);
        assert_eq!(left(stack).await?, ours);
        let again = clean_up(&database, &[]).await?;
        assert_eq!((again.code, again.stdout.as_str()), (Some(0), "cleanup: nothing to do\n"));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn where_no_proxy_runs_it_is_done_and_the_next_proxy_does_the_rest() {
    run(2, async |stack| {
        let network = killed_run(stack).await?;
        for proxy in stack.proxies() {
            proxy.terminate().await?;
        }
        let registered = "SELECT EXISTS (SELECT FROM tailnet.coordinators)";
        until("all proxies have left", async || Ok(!stack.operator.value::<bool>(registered, &[]).await?)).await?;
        let done = clean_up(&superuser(stack)?, &["--yes"]).await?;
        assert_eq!(done.code, Some(0), "{}", done.said.join("\n"));
        assert!(done.stdout.contains(&format!("\nremoved {network}, made ")), "{}", done.stdout);
        let register = "SELECT tailnet.register_coordinator(gen_random_uuid(), 'next', 1)";
        let next: Uuid = stack.operator.value(register, &[]).await?;
        let reaped = async || Ok(stack.operator.value::<i32>("SELECT tailnet.reap($1)", &[&next]).await? == 0);
        until("the next proxy has reaped", reaped).await?;
        let rest = "SELECT (SELECT count(*) FROM tailnet_private.peers) + (SELECT count(*) FROM tailnet.tunnels)";
        assert_eq!(stack.operator.value::<i64>(rest, &[]).await?, 0);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_run_that_goes_on_is_left_alone() {
    run(2, async |stack| {
        // No session can be attached while nobody may write peers: the run lives, and none of its peers is connected.
        let holder = stack.database().connect().await?;
        holder.batch_execute("BEGIN; LOCK TABLE tailnet_private.peers IN EXCLUSIVE MODE").await?;
        let options = ["--peers=5", "--updates-per-second=20", "--for=1h", "--output=json"];
        let mut running = Running::start("coordinate", &superuser(stack)?, &urls(stack), &options)?;
        running.until_said("==> load").await?;
        let early = clean_up(&superuser(stack)?, &["--yes"]).await?;
        holder.batch_execute("COMMIT").await?;
        running.until_said("==> updates").await?;
        let late = clean_up(&superuser(stack)?, &["--yes"]).await?;
        for kept in [early, late] {
            assert_eq!(kept.code, Some(0), "{}", kept.said.join("\n"));
            assert!(kept.stdout.starts_with("keep scaletest-"), "{}", kept.stdout);
            assert!(kept.stdout.ends_with(" 10 peers: its run goes on\ncleanup: nothing to do\n"), "{}", kept.stdout);
        }
        running.signal("INT").await?;
        let report = running.end().await?.report()?;
        assert_eq!((&report["ended"], &report["failed"]), (&"cancelled".into(), &0.into()), "{report}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_is_connected_keeps_its_network() {
    run(1, async |stack| {
        let network = "scaletest-7-01234567";
        stack.operator.create_network(network).await?;
        let agent = stack.operator.create_peer(network, Role::Agent).await?;
        let peer = stack.left().connect(&agent).await?;
        let connected = async || Ok(stack.operator.coordinator(agent.id).await?.is_some());
        until("the peer is connected", connected).await?;
        let kept = clean_up(&superuser(stack)?, &["--yes"]).await?;
        assert_eq!(kept.code, Some(0), "{}", kept.said.join("\n"));
        assert!(kept.stdout.contains(", 1 peer: 1 of its peers is connected\n"), "{}", kept.stdout);
        peer.disconnect().await?;
        stack.operator.until_gone(agent.id).await?;
        let done = clean_up(&superuser(stack)?, &["--yes"]).await?;
        assert!(done.stdout.contains(&format!("removed {network}")), "{}", done.stdout);
        assert_eq!(left(stack).await?, [0; 5]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn who_is_no_superuser_revokes() {
    run(2, async |stack| {
        let network = killed_run(stack).await?;
        let role = format!("{}_cleaner", stack.database().name());
        let sql = &stack.operator.sql;
        sql.batch_execute(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'secret' IN ROLE tailnet_reader;
             GRANT EXECUTE ON FUNCTION tailnet.revoke_peer TO {role}"
        ))
        .await?;
        let url = format!("postgres://{role}:secret@{}/{}", stack.database().address()?, stack.database().name());
        // A run that goes on is known to such a user, too.
        let options = ["--peers=1", "--updates-per-second=1", "--for=1h"];
        let mut running = Running::start("coordinate", &superuser(stack)?, &urls(stack), &options)?;
        running.until_said("==> updates").await?;
        let outcome = async { Ok((clean_up(&url, &["--yes"]).await?, clean_up(&url, &["--yes"]).await?)) };
        let outcome: Result<(Ended, Ended)> = outcome.await;
        sql.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await?;
        running.signal("INT").await?;
        running.end().await?;
        let (first, second) = outcome?;
        assert_eq!(first.code, Some(0), "{}", first.said.join("\n"));
        assert!(first.stdout.contains(" 2 peers: its run goes on\n"), "{}", first.stdout);
        assert!(first.stdout.contains(&format!("\nrevoked {network}, made ")), "{}", first.stdout);
        let good = "SELECT count(*) FROM tailnet.identities WHERE network = $1 AND revoked_at IS NULL";
        assert_eq!(sql.query_one(good, &[&network]).await?.get::<_, i64>(0), 0);
        assert!(second.stdout.contains(&format!("keep {network}, made ")), "{}", second.stdout);
        assert!(second.stdout.contains("all its peers are revoked, and only a superuser may remove it\n"));
        assert!(second.stdout.ends_with("cleanup: nothing to do\n"), "{}", second.stdout);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn cleaning_up_beside_proxies_that_write_is_no_deadlock() {
    run(0, async |stack| {
        let (network, sql) = ("scaletest-7-01234567", &stack.operator.sql);
        stack.operator.create_network(network).await?;
        let [low, high] = [1, 2].map(Uuid::from_u128);
        let beat = "SELECT tailnet.update_agent_connections(ARRAY[$1::uuid], '{NULL}', ARRAY[clock_timestamp()], '{NULL}', '{NULL}')";
        // In the other order than that of their keys.
        for agent in [high, low] {
            sql.execute("SELECT tailnet.create_peer($1, 'agent', id => $2)", &[&network, &agent]).await?;
            sql.execute(beat, &[&agent]).await?;
        }
        let mut proxy = stack.database().connect().await?;
        let batch = proxy.transaction().await?;
        batch.execute(beat, &[&low]).await?;
        let database = superuser(stack)?;
        let cleaning = clean_up(&database, &["--yes"]);
        let goes_on = async {
            let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                                        AND application_name = 'tailnet-scaletest/' || $1)";
            until("the cleanup waits", async || Ok(sql.query_one(waits, &[&network]).await?.get(0))).await?;
            batch.execute(beat, &[&high]).await.context("the proxy was in its way")?;
            anyhow::Ok(batch.commit().await?)
        };
        let (done, went_on) = tokio::join!(cleaning, goes_on);
        let done = done?;
        assert_eq!(done.code, Some(0), "{}", done.said.join("\n"));
        went_on?;
        assert_eq!(left(stack).await?, [0; 5]);
        Ok(())
    })
    .await;
}
