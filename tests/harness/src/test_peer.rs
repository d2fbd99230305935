//! A peer that does what a test says, and records what it is told.

use std::{panic::Location, sync::Arc};

use anyhow::{Context, Result};
use serde_json::Value;
use tailnet_tools::{
    identity::TestIdentity,
    message::{Kind, Message, Request, Update},
    websocket::{Coordinator, Sender},
};
use tokio::{task::JoinHandle, time::timeout};
use tokio_tungstenite::tungstenite;
use uuid::Uuid;

use super::{
    deadline::DEADLINE,
    inbox::{Inbox, Record, Stream},
};

/// A websocket to a proxy.
///
/// Expectations are strict: about each other peer, every update has to be expected, in order. Only nodes may be passed
/// over on the way to the expected one, because updates coalesce. They panic at the line of the test, with all that the
/// peer was told; what was not expected is marked there with `*`.
#[derive(Debug)]
pub struct TestPeer {
    identity: TestIdentity,
    sender: Sender,
    inbox: Arc<Inbox>,
    reader: JoinHandle<()>,
}

impl TestPeer {
    pub(super) fn new(identity: TestIdentity, coordinator: Coordinator) -> Self {
        let (sender, mut receiver) = coordinator.split();
        let inbox = Arc::new(Inbox::default());
        let filled = Arc::clone(&inbox);
        let reader = tokio::spawn(async move {
            loop {
                let message = receiver.next().await;
                let last = matches!(message, Message::Closed { .. });
                filled.push(message);
                if last {
                    break;
                }
            }
        });
        Self { identity, sender, inbox, reader }
    }

    /// Who it is.
    pub fn identity(&self) -> &TestIdentity {
        &self.identity
    }

    /// Its peer id.
    pub fn id(&self) -> Uuid {
        self.identity.id
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When the websocket is gone.
    pub async fn send(&mut self, request: Request) -> Result<()> {
        self.sender.send(&request).await.with_context(|| format!("{} cannot send", self.identity.name))
    }

    /// Announces [`TestIdentity::node`] of this version, and returns it.
    ///
    /// # Errors
    /// When the websocket is gone.
    pub async fn announce(&mut self, version: u64) -> Result<Value> {
        let node = self.identity.node(version);
        self.send(Request::node(&node)).await?;
        Ok(node)
    }

    /// Reports connections in one frame.
    ///
    /// # Errors
    /// When the websocket is gone.
    pub async fn report(&mut self, reports: &[Value]) -> Result<()> {
        self.send(Request::report_connections(reports)).await
    }

    /// Sends a text frame as it is.
    ///
    /// # Errors
    /// When the websocket is gone.
    pub async fn send_text(&mut self, text: &str) -> Result<()> {
        self.send_raw(tungstenite::Message::text(text)).await
    }

    /// Sends any websocket message.
    ///
    /// # Errors
    /// When the websocket is gone.
    pub async fn send_raw(&mut self, message: tungstenite::Message) -> Result<()> {
        self.sender.send_raw(message).await.with_context(|| format!("{} cannot send", self.identity.name))
    }

    /// Says goodbye, and waits until the proxy agrees.
    ///
    /// # Errors
    /// When the websocket is gone.
    #[track_caller]
    pub fn disconnect(mut self) -> impl Future<Output = Result<()>> {
        let at = Location::caller();
        async move {
            self.send(Request::disconnect()).await?;
            self.expect_close_at(at, 1000).await;
            Ok(())
        }
    }

    /// Ends the websocket in good order, without a goodbye.
    ///
    /// # Errors
    /// When the websocket is gone.
    pub async fn close(mut self) -> Result<()> {
        self.send_raw(tungstenite::Message::Close(None)).await
    }

    /// Ends the connection without a word, like a process that is killed.
    ///
    /// # Errors
    /// When the task that reads it failed.
    pub async fn cut(self) -> Result<()> {
        let Self { sender, reader, .. } = self;
        reader.abort();
        match reader.await {
            Err(error) if error.is_panic() => return Err(error).context("the reader of the websocket panicked"),
            _ => {}
        }
        // With both halves the socket is dropped.
        drop(sender);
        Ok(())
    }

    /// Waits for this node of a peer. Older nodes of it on the way are passed over.
    #[track_caller]
    pub fn expect_node<'a>(&'a self, id: Uuid, node: &'a Value) -> impl Future<Output = ()> + 'a {
        self.expect_node_at(Location::caller(), id, node)
    }

    /// Waits for LOST, which must be the next thing told about the peer.
    #[track_caller]
    pub fn expect_lost(&self, id: Uuid) -> impl Future<Output = ()> {
        self.expect(Location::caller(), id, Kind::Lost, |_| true)
    }

    /// Waits for DISCONNECTED, which must be the next thing told about the peer.
    #[track_caller]
    pub fn expect_disconnected(&self, id: Uuid) -> impl Future<Output = ()> {
        self.expect(Location::caller(), id, Kind::Disconnected, |_| true)
    }

    /// Waits for READY_FOR_HANDSHAKE of a peer.
    #[track_caller]
    pub fn expect_ready(&self, id: Uuid) -> impl Future<Output = ()> {
        self.expect(Location::caller(), id, Kind::ReadyForHandshake, |_| true)
    }

    /// Waits for the next error, which must contain all of these texts.
    #[track_caller]
    pub fn expect_error<'a>(&'a self, texts: &'a [&'a str]) -> impl Future<Output = ()> + 'a {
        let at = Location::caller();
        async move {
            let error = self.error(at).await;
            if let Some(missing) = texts.iter().find(|text| !error.contains(**text)) {
                self.fail(at, &format!("expected {missing:?} in the error {error:?}"));
            }
        }
    }

    /// Waits for the next error, and returns it.
    #[track_caller]
    pub fn next_error(&self) -> impl Future<Output = String> {
        self.error(Location::caller())
    }

    /// Waits until all these reports are acknowledged, each of them one time more than was expected before.
    #[track_caller]
    pub fn expect_acknowledged<'a>(&'a self, ids: &'a [Uuid]) -> impl Future<Output = ()> + 'a {
        let at = Location::caller();
        async move {
            let found = self.inbox.wait(|record| record.acknowledge(ids).then_some(()));
            if timeout(DEADLINE, found).await.is_err() {
                self.fail(at, &format!("expected that {} reports are acknowledged: {ids:?}", ids.len()));
            }
        }
    }

    /// Waits until so many reports have been acknowledged since it connected.
    #[track_caller]
    pub fn until_acknowledged(&self, count: usize) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let found = self.inbox.wait(|record| (record.acknowledged().len() >= count).then_some(()));
            if timeout(DEADLINE, found).await.is_err() {
                self.fail(at, &format!("expected that {count} reports are acknowledged"));
            }
        }
    }

    /// The reports that have been acknowledged, in order.
    pub fn acknowledged(&self) -> Vec<Uuid> {
        self.inbox.lock().acknowledged().collect()
    }

    /// Waits for the end of the websocket, which must have this code, and returns the reason.
    #[track_caller]
    pub fn expect_close(&self, code: u16) -> impl Future<Output = String> {
        self.expect_close_at(Location::caller(), code)
    }

    /// Waits for the end of the websocket, whatever its code.
    #[track_caller]
    pub fn expect_end(&self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            self.ended(at).await;
        }
    }

    /// The last that was told of a peer is of this kind. What came before it may be anything, and is accounted for.
    #[track_caller]
    pub fn assert_ended_on(&self, id: Uuid, kind: Kind) {
        let last = self.inbox.lock().last(id, Stream::of(kind));
        if last != Some(kind) {
            self.fail(Location::caller(), &format!("expected {kind:?} as the last word on {id}, not {last:?}"));
        }
        self.forgive(id);
    }

    /// How often it was told this of a peer.
    pub fn count(&self, id: Uuid, kind: Kind) -> usize {
        self.inbox.lock().count(id, kind)
    }

    /// Everything that this peer was told was expected, and it is still connected. Says something about the future
    /// only after a [`super::Marker`] has passed.
    #[track_caller]
    pub fn assert_nothing_else(&self) {
        self.assert_nothing_else_at(Location::caller());
    }

    pub(super) fn assert_nothing_else_at(&self, at: &Location<'_>) {
        let record = self.inbox.lock();
        let fine = record.is_accounted() && record.closed.is_none();
        drop(record);
        if !fine {
            self.fail(at, "expected nothing but what was expected before");
        }
    }

    /// Takes what was told about a peer as expected, whatever it is.
    pub(super) fn forgive(&self, id: Uuid) {
        self.inbox.lock().forgive(id);
    }

    pub(super) async fn expect_node_at(&self, at: &Location<'_>, id: Uuid, node: &Value) {
        self.expect(at, id, Kind::Node, |update| update.node.as_ref() == Some(node)).await;
    }

    async fn expect(&self, at: &Location<'_>, id: Uuid, kind: Kind, is_it: impl Fn(&Update) -> bool) {
        let stream = Stream::of(kind);
        let step = || self.inbox.wait(|record| record.next(id, stream, |update| update.kind == kind));
        let found = async {
            loop {
                let update = step().await;
                if update.kind != kind {
                    self.fail(at, &format!("expected {kind:?} of {id} and got {:?}", update.kind));
                }
                if is_it(&update) {
                    break;
                }
            }
        };
        if timeout(DEADLINE, found).await.is_err() {
            self.fail(at, &format!("expected {kind:?} of {id}"));
        }
    }

    async fn expect_close_at(&self, at: &Location<'_>, expected: u16) -> String {
        let (code, reason) = self.ended(at).await;
        if code != Some(expected) {
            self.fail(at, &format!("expected the close code {expected}"));
        }
        reason
    }

    async fn error(&self, at: &Location<'_>) -> String {
        let error = timeout(DEADLINE, self.inbox.wait(Record::next_error)).await;
        error.unwrap_or_else(|_| self.fail(at, "expected an error"))
    }

    async fn ended(&self, at: &Location<'_>) -> (Option<u16>, String) {
        let closed = timeout(DEADLINE, self.inbox.wait(|record| record.closed.clone())).await;
        closed.unwrap_or_else(|_| self.fail(at, "expected the end of the websocket"))
    }

    fn fail(&self, at: &Location<'_>, what: &str) -> ! {
        panic!("at {at}: {} ({}): {what}. It was told:\n{}", self.identity.name, self.id(), self.inbox.lock());
    }
}
