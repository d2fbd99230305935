//! One real proxy process.

use std::{
    fs,
    net::SocketAddr,
    panic::Location,
    process::ExitStatus,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result, bail, ensure};
use tailnet_tools::{
    identity::TestIdentity,
    message::Message,
    websocket::{ConnectError, Coordinator, Credentials},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Child,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    deadline::{DEADLINE, until},
    http,
    operator::TestKey,
    process, process_tree,
    test_peer::TestPeer,
};

/// A `tailnet-proxy` on ports of its own. Killed when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    name: String,
    role: String,
    child: Mutex<Child>,
    /// The test ended it.
    was_ended: AtomicBool,
    public: SocketAddr,
    admin: SocketAddr,
    log: Log,
    readers: Vec<JoinHandle<()>>,
}

pub type ProxyOption<'a> = (&'a str, &'a str);

/// What the process wrote to stderr.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Proxy {
    /// Starts one that logs in with `role` by `database_url`, and waits until it is ready.
    pub async fn start(name: &str, role: &str, database_url: &str) -> Result<Self> {
        Self::start_with(name, role, database_url, &[]).await
    }

    /// Starts one with more options, such as `("--ping-interval", "1s")`.
    pub async fn start_with(name: &str, role: &str, database_url: &str, options: &[ProxyOption<'_>]) -> Result<Self> {
        let proxy = Self::launch(name, role, database_url, options).await?;
        let ready = proxy.until_ready(true).await;
        ready.with_context(|| format!("proxy {name} wrote:\n{}", proxy.log()))?;
        Ok(proxy)
    }

    /// Starts one, and waits only until it listens. The error shows what it wrote.
    pub async fn launch(name: &str, role: &str, database_url: &str, options: &[ProxyOption<'_>]) -> Result<Self> {
        let mut child = process::program("tailnet-proxy")?
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--name", name])
            .args(options.iter().flat_map(|(name, value)| [name, value]))
            .env("TAILNET_DATABASE_URL", database_url)
            .spawn()
            .context("cannot run setpriv")?;
        let log = Log::default();
        let mut stderr = tokio::spawn(log.clone().read(child.stderr.take().context("stderr is piped")?));
        let mut stdout = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
        let line = timeout(DEADLINE, stdout.next_line()).await.unwrap_or(Ok(None))?;
        let Some((public, admin)) = line.as_deref().and_then(addresses) else {
            child.kill().await.context("cannot end the process")?;
            let _ = timeout(DEADLINE, &mut stderr).await;
            bail!("proxy {name} said {line:?} and not where it listens; it wrote:\n{}", log.text());
        };
        let readers = vec![stderr, tokio::spawn(log.clone().read(stdout.into_inner()))];
        let (name, role) = (name.to_owned(), role.to_owned());
        let (child, was_ended) = (Mutex::new(child), AtomicBool::new(false));
        Ok(Self { name, role, child, was_ended, public, admin, log, readers })
    }

    /// Waits until it serves peers, or serves none.
    pub async fn until_ready(&self, ready: bool) -> Result<()> {
        let (what, status) = if ready { ("ready", 200) } else { ("not ready", 503) };
        let is_so = async || Ok(self.get("/readyz", &[]).await?.0 == status);
        until(&format!("proxy {} is {what}", self.name), is_so).await
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, as long as it lives.
    pub fn pid(&self) -> Result<u32> {
        let pid = self.child.lock().unwrap_or_else(PoisonError::into_inner).id();
        pid.with_context(|| format!("proxy {} has ended", self.name))
    }

    pub fn role(&self) -> &str {
        &self.role
    }

    /// Where it listens for peers.
    pub fn public(&self) -> SocketAddr {
        self.public
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.public)
    }

    /// Connects a peer with its token.
    pub async fn connect(&self, identity: &TestIdentity) -> Result<TestPeer> {
        self.connect_traced(identity, None).await
    }

    /// Connects a peer that comes back: it sees its partner at once, and announces a node, of which the partner is told.
    #[track_caller]
    pub fn reconnect<'a>(
        &'a self,
        identity: &'a TestIdentity,
        version: u64,
        partner: &'a TestPeer,
    ) -> impl Future<Output = Result<TestPeer>> {
        let at = Location::caller();
        async move {
            let mut peer = self.connect(identity).await?;
            peer.expect_announced(at, partner).await;
            peer.announce(version).await?;
            partner.expect_announced(at, &peer).await;
            Ok(peer)
        }
    }

    /// Connects a peer with its token and this `traceparent`.
    pub async fn connect_traced(&self, identity: &TestIdentity, traceparent: Option<String>) -> Result<TestPeer> {
        let coordinator = self
            .try_connect(&Credentials::header(&identity.token).traced(traceparent).speaking(identity.protocol))
            .await
            .with_context(|| format!("{} cannot connect to {}", identity.name, self.name))?;
        Ok(TestPeer::new(identity.clone(), coordinator))
    }

    /// Connects with the token of a shared key, and with a resume token (empty: as a new peer). Returns the peer, and its next
    /// resume token.
    pub async fn connect_with_key(&self, key: &TestKey, resume: &str) -> Result<(TestPeer, String)> {
        let credentials = Credentials::header(&key.token).resuming(resume);
        let mut coordinator = self.try_connect(&credentials).await.context("cannot connect with a key")?;
        match coordinator.next().await {
            Message::Resume { id, token } => {
                let name = format!("{} of a key", key.role);
                let identity = TestIdentity::new(id, key.role, key.token.clone(), name);
                Ok((TestPeer::new(identity, coordinator), token))
            }
            other => bail!("expected a resume token first, got {other:?}"),
        }
    }

    /// Connects with any credentials, to see how the proxy answers.
    pub async fn try_connect(&self, credentials: &Credentials) -> Result<Coordinator, ConnectError> {
        Coordinator::connect(&self.url(), credentials).await
    }

    /// Status and body of a plain GET of the public listener, with these headers.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<(u16, String)> {
        http::get(self.public, path, headers).await
    }

    /// The value of a metric; with labels, as in `name{worker="reporter"}`, if it has some.
    pub async fn metric(&self, name: &str) -> Result<u64> {
        let (_, text) = http::get(self.admin, "/metrics", &[]).await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.with_context(|| format!("proxy {} shows no {name}:\n{text}", self.name))?;
        value.trim().parse().with_context(|| format!("{name} is {value:?}"))
    }

    pub fn resident_kib(&self) -> Result<u64> {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid()?)).context("cannot look at its memory")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the status has no VmRSS")?;
        line.trim().trim_end_matches(" kB").parse().context("VmRSS is no number")
    }

    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Stops the process as the kernel stops one: it keeps its sockets and does nothing.
    pub async fn stall(&self) -> Result<()> {
        self.signal("STOP").await?;
        let pid = self.pid()?;
        until(&format!("proxy {} has stopped", self.name), async || process_tree::is_stopped(pid)).await
    }

    /// Lets a stalled process go on.
    pub async fn go_on(&self) -> Result<()> {
        self.signal("CONT").await
    }

    /// Ends the process as a crash does.
    pub async fn kill(&self) -> Result<()> {
        self.end("KILL").await.map(drop)
    }

    /// Asks the process to end. Returns when it has ended in good order and all that it wrote is in the log.
    pub async fn terminate(&self) -> Result<()> {
        let status = self.end("TERM").await?;
        ensure!(status.success(), "proxy {} ended with {status}; it wrote:\n{}", self.name, self.log());
        Ok(())
    }

    async fn end(&self, signal: &str) -> Result<ExitStatus> {
        self.signal(signal).await?;
        self.was_ended.store(true, Ordering::Relaxed);
        let look = || self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait();
        until(&format!("proxy {} has ended", self.name), async || Ok(look()?.is_some())).await?;
        let read = || self.readers.iter().all(JoinHandle::is_finished);
        until(&format!("what proxy {} wrote is read", self.name), async || Ok(read())).await?;
        look()?.context("it has ended")
    }

    async fn signal(&self, signal: &str) -> Result<()> {
        let sent = process_tree::signal(signal, &[self.pid()?]).await;
        sent.with_context(|| format!("cannot send SIG{signal} to proxy {}", self.name))
    }

    /// Ends the process. An error says that it had ended by itself, or that a task of it panicked: then the test proved
    /// nothing.
    pub async fn stop(mut self) -> Result<()> {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let ended = child.try_wait().context("cannot look at the process")?;
        if ended.is_none() {
            child.kill().await.context("cannot end the process")?;
        }
        for reader in &mut self.readers {
            reader.await.context("the task that reads the log failed")?;
        }
        if let Some(status) = ended.filter(|_| !self.was_ended.load(Ordering::Relaxed)) {
            bail!("proxy {} ended by itself with {status}; it wrote:\n{}", self.name, self.log());
        }
        if self.log().contains("panicked at") {
            bail!("a task of proxy {} panicked; it wrote:\n{}", self.name, self.log());
        }
        Ok(())
    }
}

impl Log {
    async fn read(self, from: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

/// Reads `listening public=ADDR admin=ADDR`.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (public, admin) = line.strip_prefix("listening public=")?.split_once(" admin=")?;
    Some((public.parse().ok()?, admin.parse().ok()?))
}
