//! A peer that works without being told what to expect: it keeps [books](Account) for the [oracle](super::oracle).
//!
//! Thousands of them fit into one process. What it may do to its proxy is what real peers do: also to vanish, to stop
//! reading, and to come back while its earlier websocket still stands.

use std::{
    io::ErrorKind,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use rand::{RngExt as _, rngs::StdRng};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::{
    account::{Account, Closing, Ended},
    books::Books,
    watched::Watched,
};
use crate::identity::TestIdentity;
use crate::{
    message::Request,
    websocket::{ConnectError, Coordinator, Credentials, Protocol, Sender},
};

/// Longer than a proxy may wait for Postgres, so only a proxy that is stopped is given up on.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// A proxy that takes longer to agree to a goodbye, or to take a frame, is left without an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits between two attempts to connect; a proxy that is not ready asks for two seconds.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A proxy as peers know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// Under which it is registered.
    pub name: String,
    /// `ws://host:port`.
    pub url: String,
    /// What is spoken there.
    pub protocol: Protocol,
}

/// Is or was connected, and does what it is told.
#[derive(Debug)]
pub struct LightPeer {
    /// Sent when it connects: the span that the connection belongs to.
    pub traceparent: Option<String>,
    watched: Arc<Watched>,
    socket: Option<Socket>,
    /// Readers of earlier websockets that the proxy has still to close.
    retired: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Socket {
    sender: Sender,
    reader: JoinHandle<()>,
}

/// Whether the token was sent: then the proxy may open a session whose peer is gone.
fn may_be_served(error: &ConnectError) -> bool {
    match error {
        ConnectError::Unreachable(error) => error.kind() != ErrorKind::ConnectionRefused,
        ConnectError::Socket(_) => true,
        ConnectError::Url(_) | ConnectError::Refused(_) | ConnectError::Subprotocol(_) => false,
    }
}

impl LightPeer {
    /// A peer that is not connected.
    pub fn new(identity: TestIdentity) -> Self {
        let account = Mutex::new(Account::new(identity));
        let watched = Watched { account, closed: Notify::new(), reading: watch::Sender::new(true) };
        Self { traceparent: None, watched: Arc::new(watched), socket: None, retired: Vec::new() }
    }

    /// For the oracle.
    pub fn watched(&self) -> &Arc<Watched> {
        &self.watched
    }

    /// Its books.
    pub fn account(&self) -> MutexGuard<'_, Account> {
        self.watched.account()
    }

    /// Whether its websocket stands, as far as it knows.
    pub fn is_connected(&self) -> bool {
        self.account().proxy.is_some()
    }

    /// Makes one attempt to connect. A websocket that stands is superseded by the new one.
    ///
    /// # Errors
    /// When the proxy does not let it in.
    pub async fn connect(&mut self, door: &Door) -> Result<()> {
        self.connect_within(door, CONNECT_TIMEOUT).await
    }

    /// The same with another time for the proxy to answer: in a storm of thousands it may need more.
    ///
    /// # Errors
    /// When the proxy does not let it in.
    pub async fn connect_within(&mut self, door: &Door, patience: Duration) -> Result<()> {
        let (takes_over, credentials) = {
            let mut account = self.account();
            account.wants_socket = true;
            account.taking_over = account.proxy.is_some();
            let credentials = Credentials::header(&account.identity.token);
            let credentials = credentials.traced(self.traceparent.clone()).speaking(door.protocol);
            (account.taking_over, credentials)
        };
        let attempt = timeout(patience, Coordinator::connect(&door.url, &credentials)).await;
        let mut account = self.watched.account();
        account.taking_over = false;
        let coordinator = match attempt {
            Ok(Ok(coordinator)) => coordinator,
            Ok(Err(error)) => {
                account.doings.was_away |= account.proxy.is_none();
                account.doings.abandoned |= may_be_served(&error);
                return Err(error.into());
            }
            Err(_) => {
                account.doings.was_away |= account.proxy.is_none();
                account.doings.abandoned = true;
                bail!("{} did not answer in {patience:?}", door.name);
            }
        };
        account.doings.took_over |= takes_over;
        if account.proxy.is_some() {
            account.retired += 1;
        }
        account.connected(&door.name, door.protocol);
        let serial = account.serial;
        drop(account);
        let (sender, receiver) = coordinator.split();
        let books = Books { watched: Arc::clone(&self.watched), serial, proxy: door.name.clone() };
        // The reader of an earlier websocket goes on until that is closed.
        let earlier = self.socket.replace(Socket { sender, reader: tokio::spawn(books.keep(receiver)) });
        self.retired.retain(|reader| !reader.is_finished());
        self.retired.extend(earlier.map(|socket| socket.reader));
        Ok(())
    }

    /// Connects to any of these proxies: again and again, with growing waits, as real peers do.
    ///
    /// # Errors
    /// After the deadline: why the last attempt failed.
    pub async fn connect_any(
        &mut self,
        doors: &watch::Receiver<Vec<Door>>,
        rng: &mut StdRng,
        deadline: Duration,
    ) -> Result<()> {
        let (begun, (mut wait, longest)) = (Instant::now(), BACKOFF);
        loop {
            let door = {
                let doors = doors.borrow();
                if doors.is_empty() { None } else { Some(doors[rng.random_range(0..doors.len())].clone()) }
            };
            let error = match door {
                Some(door) => match self.connect(&door).await {
                    Ok(()) => return Ok(()),
                    Err(error) => error,
                },
                None => anyhow::anyhow!("there is no proxy"),
            };
            if begun.elapsed() > deadline {
                return Err(error);
            }
            sleep(wait.mul_f64(rng.random_range(0.5..1.0))).await;
            wait = (wait * 2).min(longest);
        }
    }

    /// Announces a node of this version.
    pub async fn announce(&mut self, version: u64) {
        let node = self.account().identity.node(version);
        self.send(Request::node(&node), |account| account.announced(&node)).await;
    }

    /// Announces a node and opens a tunnel in one frame.
    pub async fn announce_and_open(&mut self, version: u64, dst: Uuid) {
        let node = self.account().identity.node(version);
        self.send(Request::node(&node).and_add_tunnel(dst), |account| {
            account.announced(&node);
            account.asked(dst, true);
        })
        .await;
    }

    /// Opens a tunnel.
    pub async fn open(&mut self, dst: Uuid) {
        self.send(Request::add_tunnel(dst), |account| account.asked(dst, true)).await;
    }

    /// Closes a tunnel.
    pub async fn close(&mut self, dst: Uuid) {
        self.send(Request::remove_tunnel(dst), |account| account.asked(dst, false)).await;
    }

    /// Says that it is ready to shake hands with others.
    pub async fn ready(&mut self, others: &[Uuid]) {
        self.send(Request::ready_for_handshake(others), |_| {}).await;
    }

    /// Says goodbye, and waits for the answer for a while.
    pub async fn disconnect(&mut self) {
        self.account().wants_socket = false;
        self.send(Request::disconnect(), |_| {}).await;
        let Some(Socket { mut reader, sender }) = self.socket.take() else { return };
        let heard = timeout(PATIENCE, &mut reader).await.is_ok();
        reader.abort();
        drop(sender);
        let agreed = |closing: &mut Closing| heard && closing.code == Some(1000);
        let goodbye = self.account().doings.closings.pop_if(agreed).is_some();
        if !goodbye {
            self.drop_retired().await;
        }
        self.account().ended(if goodbye { Ended::Goodbye } else { Ended::UnheardGoodbye });
    }

    /// Ends the connection without a word, like a process that is killed.
    pub async fn vanish(&mut self) {
        let Some(Socket { reader, sender }) = self.socket.take() else { return };
        self.account().wants_socket = false;
        reader.abort();
        // Aborted, or at its end already. With both halves the socket is dropped.
        let _ = reader.await;
        drop(sender);
        self.drop_retired().await;
        let mut account = self.account();
        if account.proxy.is_some() {
            account.ended(Ended::Lost);
        }
    }

    /// Who ends without being heard takes its earlier websockets with it: nobody supersedes them if the last was never
    /// attached.
    async fn drop_retired(&mut self) {
        for reader in self.retired.drain(..) {
            reader.abort();
            if reader.await.is_err() {
                self.watched.account().retired -= 1;
            }
        }
    }

    /// Books a request and sends it. When the websocket is gone, the reader learns of that too.
    async fn send(&mut self, request: Request, book: impl FnOnce(&mut Account)) {
        let Some(socket) = &mut self.socket else { return };
        {
            let mut account = self.watched.account();
            if account.proxy.is_none() {
                return;
            }
            account.requests += 1;
            book(&mut account);
        }
        // A frame that was cut off in the middle spoils the websocket: the proxy will close it, and should.
        let _ = timeout(PATIENCE, socket.sender.send(&request)).await;
    }
}
