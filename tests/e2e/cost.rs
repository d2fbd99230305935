//! What a node update costs, counted by Postgres.

use anyhow::{Context, Result};
use tailnet_harness::{LogTap, Proxy, Stack, stack::Setup, statements::Statements, tap::Heard};
use tailnet_tools::message::Request;
use tailnet_wire::{Event, Role};

tests_on! {
    three_proxies: Setup::of(3) => cost_of_an_update;
}

const UPDATES: u64 = 20;

/// What the admin listener shows of the log.
const PAYLOADS: &str = "tailnet_log_payloads_total";

async fn cost_of_an_update(stack: &Stack) -> Result<()> {
    let [writing, interested, other] = stack.proxies() else { unreachable!("three were started") };
    let (client, agent) = stack.create_pair().await?;
    let mut agent = writing.connect(&agent).await?;
    let mut client = interested.connect(&client).await?;
    let mut bystander = other.connect(&stack.create(Role::Client).await?).await?;
    let mut lone = writing.connect(&stack.create(Role::Agent).await?).await?;
    agent.announce(1).await?;
    client.announce_with(1, Request::add_tunnel(agent.id())).await?;
    client.expect_each_other(&agent).await;
    stack.bind(&mut bystander, 1).await?;
    stack.bind(&mut lone, 1).await?;
    // That the two agents connected is written a moment later, by a statement of its own.
    let written = "SELECT count(*) = 2 FROM tailnet.agent_connections WHERE first_connected_at IS NOT NULL";
    stack.operator.until("the connects of the agents are written", written, &[]).await?;
    let mut cost = Cost::begin(stack).await?;

    for version in 2..2 + UPDATES {
        agent.announce_to(version, &[&client]).await?;
    }
    let heard = cost.end(stack).await?;
    cost.assert_one_bind_an_update(writing);
    assert_eq!(cost.statements(interested), [], "{}: what is told is not asked for", interested.name());
    assert_eq!(cost.statements(other), [], "{}: no interest, no work", other.name());
    let payloads: Vec<_> = heard.iter().map(|heard| heard.payloads as u64).collect();
    assert_eq!(payloads, [0, UPDATES, 0], "one payload an update, to the interested proxy only");
    assert_eq!(cost.payloads_received, payloads, "as the proxies count them");
    let changes = heard[1].events.iter().filter(|event| matches!(event, Event::Changed { .. })).count();
    assert_eq!((changes, heard[1].events.len()), (payloads[1] as usize, changes), "and nothing else in it");

    // Nobody is interested in these.
    let mut cost = Cost::begin(stack).await?;
    for version in 2..2 + UPDATES {
        stack.bind(&mut lone, version).await?;
    }
    let heard = cost.end(stack).await?;
    cost.assert_one_bind_an_update(writing);
    assert_eq!((cost.statements(interested), cost.statements(other)), (vec![], vec![]));
    assert_eq!(heard.iter().map(|heard| heard.payloads).sum::<usize>(), 0, "{heard:?}");
    assert_eq!(cost.payloads_received, [0, 0, 0]);
    Ok(())
}

/// What is counted between two moments.
struct Cost {
    tap: LogTap,
    before: Statements,
    after: Statements,
    payloads_received: Vec<u64>,
}

impl Cost {
    async fn begin(stack: &Stack) -> Result<Self> {
        let mut tap = LogTap::open(stack).await?;
        tap.take().await?;
        let payloads_received = payloads(stack).await?;
        let before = Statements::count(stack).await?;
        Ok(Self { tap, before, after: Statements::default(), payloads_received })
    }

    /// What each proxy was told since.
    async fn end(&mut self, stack: &Stack) -> Result<Vec<Heard>> {
        self.after = Statements::count(stack).await?;
        let now = payloads(stack).await?;
        self.payloads_received = now.iter().zip(&self.payloads_received).map(|(now, before)| now - before).collect();
        self.tap.take().await
    }

    fn statements(&self, proxy: &Proxy) -> Vec<(&str, i64)> {
        self.after.since(&self.before, proxy)
    }

    /// Each update was awaited before the next, so no two of them could share a call.
    fn assert_one_bind_an_update(&self, writing: &Proxy) {
        let statements = self.statements(writing);
        let [(statement, calls)] = statements[..] else { panic!("expected one statement: {statements:?}") };
        assert!(statement.contains("tailnet.bind_peers"), "{statement}");
        assert_eq!(calls, UPDATES as i64, "one call an update");
    }
}

async fn payloads(stack: &Stack) -> Result<Vec<u64>> {
    let mut payloads = Vec::new();
    for proxy in stack.proxies() {
        payloads.push(proxy.metric(PAYLOADS).await.context("the proxies count payloads")?);
    }
    Ok(payloads)
}
