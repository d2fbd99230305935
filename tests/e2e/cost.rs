//! What a node update costs, counted by Postgres.

use anyhow::{Context, Result};
use tailnet_harness::{LogTap, Proxy, Stack, run, statements::Statements, tap::Heard};
use tailnet_tools::message::Request;
use tailnet_wire::{Event, Role};

const UPDATES: u64 = 20;

/// What the admin listener shows of the log.
const PAYLOADS: &str = "tailnet_log_payloads_total";

#[tokio::test]
async fn cost_of_an_update_with_one_interested_proxy() {
    run(3, async |stack: &Stack| {
        let [writing, interested, other] = stack.proxies() else { unreachable!("three were started") };
        let (client, agent) = stack.create_pair().await?;
        let mut agent = writing.connect(&agent).await?;
        let mut client = interested.connect(&client).await?;
        let mut bystander = other.connect(&stack.create(Role::Client).await?).await?;
        let nodes = (agent.announce(1).await?, client.announce(1).await?, bystander.announce(1).await?);
        client.send(Request::add_tunnel(agent.id())).await?;
        client.expect_node(agent.id(), &nodes.0).await;
        agent.expect_node(client.id(), &nodes.1).await;
        stack.operator.until_bound(bystander.id(), &nodes.2).await?;
        let mut cost = Cost::begin(stack).await?;

        for version in 2..2 + UPDATES {
            let node = agent.announce(version).await?;
            client.expect_node(agent.id(), &node).await;
        }
        let heard = cost.end(stack).await?;
        assert_one_bind_an_update(&cost, writing);
        assert_eq!(cost.statements(interested), [], "{}: what is told is not asked for", interested.name());
        assert_eq!(cost.statements(other), [], "{}: no interest, no work", other.name());
        let payloads: Vec<_> = heard.iter().map(|heard| heard.payloads as u64).collect();
        assert_eq!(payloads, [0, UPDATES, 0], "one payload an update, to the interested proxy only");
        assert_eq!(cost.payloads_received, payloads, "as the proxies count them");
        let changes = heard[1].events.iter().filter(|event| matches!(event, Event::Changed { .. })).count();
        assert_eq!((changes, heard[1].events.len()), (payloads[1] as usize, changes), "and nothing else in it");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn cost_of_an_update_that_interests_nobody() {
    run(2, async |stack: &Stack| {
        let mut agent = stack.left().connect(&stack.create(Role::Agent).await?).await?;
        let mut bystander = stack.right().connect(&stack.create(Role::Client).await?).await?;
        let nodes = (agent.announce(1).await?, bystander.announce(1).await?);
        stack.operator.until_bound(agent.id(), &nodes.0).await?;
        stack.operator.until_bound(bystander.id(), &nodes.1).await?;
        let mut cost = Cost::begin(stack).await?;

        for version in 2..2 + UPDATES {
            let node = agent.announce(version).await?;
            stack.operator.until_bound(agent.id(), &node).await?;
        }
        let heard = cost.end(stack).await?;
        assert_one_bind_an_update(&cost, stack.left());
        assert_eq!(cost.statements(stack.right()), []);
        assert_eq!(heard.iter().map(|heard| heard.payloads).sum::<usize>(), 0, "{heard:?}");
        assert_eq!(cost.payloads_received, [0, 0]);
        Ok(())
    })
    .await;
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
        let mut tap = LogTap::open(stack, &stack.proxies().iter().collect::<Vec<_>>()).await?;
        tap.take().await?;
        let payloads_received = payloads(stack).await?;
        Ok(Self {
            tap,
            before: Statements::count(stack).await?,
            after: Statements::count(stack).await?,
            payloads_received,
        })
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
}

/// Each update was awaited before the next, so no two of them could share a call.
fn assert_one_bind_an_update(cost: &Cost, writing: &Proxy) {
    let statements = cost.statements(writing);
    let [(statement, calls)] = statements[..] else { panic!("expected one statement: {statements:?}") };
    assert!(statement.contains("tailnet.bind_peers"), "{statement}");
    assert_eq!(calls, i64::try_from(UPDATES).expect("a small number"), "one call an update");
}

async fn payloads(stack: &Stack) -> Result<Vec<u64>> {
    let mut payloads = Vec::new();
    for proxy in stack.proxies() {
        payloads.push(proxy.metric(PAYLOADS).await.context("the proxies count payloads")?);
    }
    Ok(payloads)
}
