//! A real peer on the command line: `serve` is an agent that echoes, `echo` a client that checks it.

use std::{env, io::IsTerminal, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use tailnet_tools::{
    peer::{
        agent,
        client::{self, Echoed, Errand},
        identity::Identity,
    },
    program::{Signals, exit},
    websocket::Protocol,
};
use uuid::Uuid;

/// Not an option: the command line of a process is readable by everyone on the machine.
const TOKEN: &str = "TAILNET_TOKEN";

/// A tailnet peer with WireGuard and TCP in user space. The peer's token is read from TAILNET_TOKEN.
#[derive(Debug, Parser)]
#[command(name = "tailnet-peer", version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Be an agent: wait for peers and echo what they send, until SIGTERM or Ctrl-C
    Serve {
        #[command(flatten)]
        peer: PeerOptions,
    },
    /// Be a client: send bytes to an agent through WireGuard and check that each comes back
    Echo {
        #[command(flatten)]
        peer: PeerOptions,
        /// The agent's id
        #[arg(long, env = "TAILNET_TO", value_name = "UUID")]
        to: Uuid,
        /// How many bytes to send
        #[arg(long, default_value_t = 1 << 20, value_parser = clap::value_parser!(u64).range(1..))]
        bytes: u64,
        /// Decides which bytes are sent
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Give up after this long
        #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = humantime::parse_duration)]
        timeout: Duration,
        /// Stay connected when all bytes came back, until SIGTERM or Ctrl-C
        #[arg(long)]
        hold: bool,
    },
}

#[derive(Debug, Args)]
struct PeerOptions {
    /// The peer's id
    #[arg(long, env = "TAILNET_PEER_ID", value_name = "UUID")]
    id: Uuid,
    /// A proxy of the network: ws://host:port
    #[arg(long, env = "TAILNET_URL")]
    url: String,
    /// What the peer speaks to the proxy
    #[arg(long, env = "TAILNET_PROTOCOL", value_enum, default_value_t)]
    protocol: Protocol,
}

impl PeerOptions {
    fn identity(self) -> Result<Identity> {
        let token = env::var(TOKEN).with_context(|| format!("{TOKEN} must hold the token of peer {}", self.id))?;
        Ok(Identity { id: self.id, token, url: self.url, traceparent: None, protocol: self.protocol })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // What WireGuard says of itself is for those who work on it.
    tracing_subscriber::fmt().with_env_filter("tailnet_tools=warn").with_writer(std::io::stderr).without_time().init();
    exit("tailnet-peer", run(Options::parse()).await)
}

async fn run(options: Options) -> Result<()> {
    match options.command {
        Command::Serve { peer } => serve(&peer.identity()?).await,
        Command::Echo { peer, to, bytes, seed, timeout, hold } => {
            echo(&peer.identity()?, Errand { to, bytes, seed, timeout }, hold).await
        }
    }
}

async fn serve(identity: &Identity) -> Result<()> {
    let mut stop = Signals::new()?;
    let served = agent::serve(identity, |address| println!("serving {address}"), stop.next()).await?;
    println!("served received={} sent={}", served.received, served.sent);
    Ok(())
}

async fn echo(identity: &Identity, errand: Errand, hold: bool) -> Result<()> {
    let progress = progress_bar(errand.bytes);
    let done = |echoed: &Echoed| {
        progress.finish_and_clear();
        let Echoed { sent, received, handshake } = echoed;
        println!("echo ok sent={sent} received={received} handshake={}ms", handshake.as_millis());
    };
    let mut stop = hold.then(Signals::new).transpose()?;
    let stay = async {
        if let Some(stop) = &mut stop {
            stop.next().await;
        }
    };
    client::echo(identity, errand, |received| progress.set_position(received), done, stay).await
}

fn progress_bar(bytes: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}")
        .expect("the template is well-formed");
    ProgressBar::new(bytes).with_style(style)
}
