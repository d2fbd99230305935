//! The binary: options, logs, signals.

use std::{
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    process::ExitCode,
};

use tailnet_proxy::{
    config::{Config, LogFormat},
    run::{Proxy, StartError},
};
use tailnet_wire::Chain;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Many peers that come and go at once leave holes in the heap. The allocator of glibc does not give them back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc gives freed pages back to the system after a delay, and only when the same segment frees another page later.
/// Give them back at once, so that the memory of a storm of connects does not stay with the proxy.
fn give_back_at_once() {
    /// `mi_option_purge_delay` of mimalloc 2 and 3, in milliseconds. The binding has no name for it.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: sets a number that mimalloc reads when it frees a page; no other thread runs yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) };
}

fn main() -> ExitCode {
    give_back_at_once();
    let (config, warnings) = Config::read();
    start_log(&config);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    match run(config) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{}", Chain(&error));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(config: Config) -> Result<ExitCode, StartError> {
    let mut signals = Signals::new().map_err(StartError::Signals)?;
    let proxy = Proxy::bind(config).await?;
    let (public, admin) = proxy.addresses()?;
    announce(public, admin).map_err(StartError::Stdout)?;

    let shutdown = CancellationToken::new();
    let mut running = std::pin::pin!(proxy.run(shutdown.clone()));
    loop {
        tokio::select! {
            () = &mut running => return Ok(ExitCode::SUCCESS),
            () = signals.next() => {
                if shutdown.is_cancelled() {
                    tracing::warn!("second signal: ending at once");
                    return Ok(ExitCode::FAILURE);
                }
                tracing::info!("draining");
                shutdown.cancel();
            }
        }
    }
}

/// Writes the addresses for the program that started the proxy. It may have asked for any free port.
fn announce(public: SocketAddr, admin: SocketAddr) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening public={public} admin={admin}")?;
    stdout.flush()
}

fn start_log(config: &Config) {
    let filter: EnvFilter = config.log.parse().expect("checked when the options were read");
    let colors = io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colors).with_writer(io::stderr);
    match config.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

/// The signals that end the proxy.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
