//! `tailnet-peer` itself: the main job, from a token to bytes through WireGuard.

use anyhow::{Context, Result};
use tailnet_harness::{Proxy, Stack, deadline::DEADLINE, process, process_tree, run};
use tailnet_tools::{identity::TestIdentity, websocket::Protocol};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

on_one_proxy_and_on_two! {
    real_peers_echo_through_wireguard,
    real_peers_find_an_agent_that_comes_later,
}

const BYTES: u64 = 1 << 20;

pub async fn real_peers_echo_through_wireguard(stack: &Stack) -> Result<()> {
    let (client, agent) = stack.create_pair().await?;
    let second = stack.create(tailnet_wire::Role::Client).await?;
    stack.operator.grant_tunnel(second.id, agent.id).await?;
    let serving = Serving::start(stack.right(), &agent).await?;

    // Both at once.
    let (one, two) =
        tokio::join!(echo(stack.left(), &client, &agent, "60s"), echo(stack.right(), &second, &agent, "60s"));
    for (succeeded, stdout, stderr) in [one?, two?] {
        assert!(succeeded, "{stderr}");
        assert!(stdout.starts_with(&format!("echo ok sent={BYTES} received={BYTES} handshake=")), "{stdout}");
        assert_eq!(stderr, "", "no progress bar without a terminal");
    }
    assert_eq!(serving.stop().await?, format!("served received={0} sent={0}\n", 2 * BYTES));
    assert_eq!(stack.operator.binding(agent.id).await?, None, "it said goodbye");
    Ok(())
}

async fn real_peers_find_an_agent_that_comes_later(stack: &Stack) -> Result<()> {
    let (client, agent) = stack.create_pair().await?;
    let echo = echo(stack.left(), &client, &agent, "60s");
    let serve = async {
        stack.operator.until_tunnel(client.id, agent.id, true).await?;
        Serving::start(stack.right(), &agent).await
    };
    let (echo, serving) = tokio::join!(echo, serve);
    let (succeeded, stdout, stderr) = echo?;
    assert!(succeeded && stdout.starts_with("echo ok "), "{stdout}{stderr}");
    serving?.stop().await?;
    Ok(())
}

#[tokio::test]
async fn real_peers_say_what_went_wrong() {
    run(1, async |stack: &Stack| {
        let (client, agent) = stack.create_pair().await?;
        let (succeeded, _, stderr) = echo(stack.left(), &client, &agent, "1s").await?;
        assert!(!succeeded, "the agent is not there");
        assert!(stderr.contains(&format!("not done after 1s: waiting for the node of agent {}", agent.id)), "{stderr}");

        let stranger = TestIdentity { token: "nonsense".to_owned(), ..client.clone() };
        let (succeeded, _, stderr) = echo(stack.left(), &stranger, &agent, "60s").await?;
        assert!(!succeeded && stderr.contains("401"), "{stderr}");

        let other = stack.create(tailnet_wire::Role::Agent).await?;
        let (succeeded, _, stderr) = echo(stack.left(), &client, &other, "60s").await?;
        assert!(!succeeded && stderr.contains("the proxy refused a request"), "{stderr}");
        Ok(())
    })
    .await;
}

/// `tailnet-peer serve`, announced.
struct Serving {
    child: Child,
    stdout: BufReader<tokio::process::ChildStdout>,
}

impl Serving {
    async fn start(proxy: &Proxy, agent: &TestIdentity) -> Result<Self> {
        let mut child = tailnet_peer(proxy, agent)?.arg("serve").spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("stdout is piped")?);
        let mut line = String::new();
        timeout(DEADLINE, stdout.read_line(&mut line)).await.context("the agent did not start in time")??;
        assert!(line.starts_with("serving fd7a:115c:a1e0:"), "{line:?}");
        Ok(Self { child, stdout })
    }

    /// Asks it to end, and returns its last words.
    async fn stop(mut self) -> Result<String> {
        process_tree::signal("TERM", &[self.child.id().context("the agent has ended")?]).await?;
        let mut words = String::new();
        timeout(DEADLINE, self.stdout.read_to_string(&mut words)).await.context("the agent did not end in time")??;
        let status = self.child.wait().await?;
        assert!(status.success(), "{status}");
        Ok(words)
    }
}

/// Runs `tailnet-peer echo`: whether it succeeded, and what it wrote.
async fn echo(
    proxy: &Proxy,
    client: &TestIdentity,
    to: &TestIdentity,
    patience: &str,
) -> Result<(bool, String, String)> {
    let (to, bytes) = (to.id.to_string(), BYTES.to_string());
    let arguments = ["echo", "--to", &to, "--bytes", &bytes, "--timeout", patience];
    let output = timeout(2 * DEADLINE, tailnet_peer(proxy, client)?.args(arguments).output());
    let output = output.await.context("the client did not end in time")??;
    Ok((output.status.success(), String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
}

fn tailnet_peer(proxy: &Proxy, identity: &TestIdentity) -> Result<Command> {
    let mut command = process::program("tailnet-peer")?;
    command
        .env("TAILNET_TOKEN", &identity.token)
        .env("TAILNET_PEER_ID", identity.id.to_string())
        .env("TAILNET_URL", proxy.url())
        .env("TAILNET_PROTOCOL", if identity.protocol == Protocol::V2 { "v2" } else { "v1" });
    Ok(command)
}
