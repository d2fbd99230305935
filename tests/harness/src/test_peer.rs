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

use crate::{
    deadline::DEADLINE,
    inbox::{Inbox, Record},
};

/// A websocket to a proxy.
///
/// Expectations are strict: a test has to expect every update about each other peer, in order. Only nodes may be passed
/// over on the way to the expected one, because updates coalesce. An expectation panics at the line of the test, and shows
/// all that the peer was told; a `*` marks what the test did not expect.
#[derive(Debug)]
pub struct TestPeer {
    identity: TestIdentity,
    node: Option<Value>,
    sender: Sender,
    inbox: Arc<Inbox>,
    reader: JoinHandle<()>,
}

impl TestPeer {
    pub(crate) fn new(identity: TestIdentity, coordinator: Coordinator) -> Self {
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
        Self { identity, node: None, sender, inbox, reader }
    }

    pub fn identity(&self) -> &TestIdentity {
        &self.identity
    }

    pub fn id(&self) -> Uuid {
        self.identity.id
    }

    pub async fn send(&mut self, request: Request) -> Result<()> {
        self.sender.send(&request).await.with_context(|| format!("{} cannot send", self.identity.name))
    }

    /// Announces [`TestIdentity::node`] of this version, and returns it.
    pub async fn announce(&mut self, version: u64) -> Result<Value> {
        self.announce_with(version, Request::default()).await
    }

    /// Announces a node, and asks for more in the same frame.
    pub async fn announce_with(&mut self, version: u64, more: Request) -> Result<Value> {
        let node = self.identity.node(version);
        self.send(more.and_node(&node)).await?;
        self.node = Some(node.clone());
        Ok(node)
    }

    /// Announces a node, and waits until these partners are told of it.
    #[track_caller]
    pub fn announce_to<'a>(&'a mut self, version: u64, partners: &'a [&Self]) -> impl Future<Output = Result<()>> {
        let at = Location::caller();
        async move {
            self.announce(version).await?;
            for partner in partners {
                partner.expect_announced(at, self).await;
            }
            Ok(())
        }
    }

    pub async fn open_tunnel(&mut self, to: Uuid) -> Result<()> {
        self.send(Request::add_tunnel(to)).await
    }

    pub async fn close_tunnel(&mut self, to: Uuid) -> Result<()> {
        self.send(Request::remove_tunnel(to)).await
    }

    /// Reports connections in one frame.
    pub async fn report(&mut self, reports: &[Value]) -> Result<()> {
        self.send(Request::report_connections(reports)).await
    }

    pub async fn send_raw(&mut self, message: tungstenite::Message) -> Result<()> {
        self.sender.send_raw(message).await.with_context(|| format!("{} cannot send", self.identity.name))
    }

    /// Says goodbye, and waits until the proxy agrees.
    #[track_caller]
    pub fn disconnect(mut self) -> impl Future<Output = Result<()>> {
        let at = Location::caller();
        async move {
            self.send(Request::disconnect()).await?;
            self.expect_close_at(at, 1000).await;
            Ok(())
        }
    }

    /// Ends the websocket without a goodbye: in good order, or as [`Self::cut`] does.
    pub async fn end(mut self, cut: bool) -> Result<()> {
        if cut { self.cut().await } else { self.send_raw(tungstenite::Message::Close(None)).await }
    }

    /// Ends the connection without a word, like a process that is killed.
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

    /// Waits for the node that another peer announced last.
    #[track_caller]
    pub fn expect_node_of<'a>(&'a self, other: &'a Self) -> impl Future<Output = ()> + 'a {
        self.expect_announced(Location::caller(), other)
    }

    /// Waits until each of two peers is told of the node that the other announced last.
    #[track_caller]
    pub fn expect_each_other<'a>(&'a self, other: &'a Self) -> impl Future<Output = ()> + 'a {
        let (one, two) = (self.expect_node_of(other), other.expect_node_of(self));
        async move {
            one.await;
            two.await;
        }
    }

    /// Waits for LOST, which must be the next update about the peer.
    #[track_caller]
    pub fn expect_lost(&self, id: Uuid) -> impl Future<Output = ()> {
        self.expect_update(Location::caller(), id, Kind::Lost, |_| true)
    }

    /// Waits for DISCONNECTED, which must be the next update about the peer.
    #[track_caller]
    pub fn expect_disconnected(&self, id: Uuid) -> impl Future<Output = ()> {
        self.expect_update(Location::caller(), id, Kind::Disconnected, |_| true)
    }

    #[track_caller]
    pub fn expect_ready(&self, id: Uuid) -> impl Future<Output = ()> {
        self.expect_update(Location::caller(), id, Kind::ReadyForHandshake, |_| true)
    }

    #[track_caller]
    pub fn next_error(&self) -> impl Future<Output = String> {
        self.expect(Location::caller(), "an error", Record::take_error)
    }

    /// Waits for the next error, which must contain all of these texts.
    #[track_caller]
    pub fn expect_error<'a>(&'a self, texts: &'a [&'a str]) -> impl Future<Output = ()> + 'a {
        let at = Location::caller();
        async move {
            let error = self.expect(at, "an error", Record::take_error).await;
            if let Some(missing) = texts.iter().find(|text| !error.contains(**text)) {
                self.fail(at, &format!("{missing:?} in the error {error:?}"));
            }
        }
    }

    /// Waits for an error with these texts, and for the end of the websocket with this code.
    #[track_caller]
    pub fn expect_refusal<'a>(&'a self, texts: &'a [&'a str], code: u16) -> impl Future<Output = ()> + 'a {
        let (error, close) = (self.expect_error(texts), self.expect_close(code));
        async move {
            error.await;
            close.await;
        }
    }

    /// Waits until all these reports are acknowledged, each of them one time more than was expected before.
    #[track_caller]
    pub fn expect_acknowledged<'a>(&'a self, ids: &'a [Uuid]) -> impl Future<Output = ()> + 'a {
        self.expect(Location::caller(), "acknowledged reports", |record| record.take_acknowledged(ids).then_some(()))
    }

    /// Waits until so many reports have been acknowledged since it connected.
    #[track_caller]
    pub fn until_acknowledged(&self, count: usize) -> impl Future<Output = ()> {
        self.expect(Location::caller(), "acknowledged reports", move |record| {
            (record.acknowledged().len() >= count).then_some(())
        })
    }

    pub fn acknowledged(&self) -> Vec<Uuid> {
        self.inbox.lock().acknowledged().collect()
    }

    /// Waits for the end of the websocket, which must have this code, and returns the reason.
    #[track_caller]
    pub fn expect_close(&self, code: u16) -> impl Future<Output = String> {
        self.expect_close_at(Location::caller(), code)
    }

    #[track_caller]
    pub fn expect_end(&self) -> impl Future<Output = ()> {
        self.expect(Location::caller(), "the end of the websocket", |record| record.closed.is_some().then_some(()))
    }

    /// The last update about a peer is of this kind. The updates before it may be anything, and are taken as expected.
    #[track_caller]
    pub fn assert_ended_on(&self, id: Uuid, kind: Kind) {
        let last = self.inbox.lock().last(id, kind);
        if last != Some(kind) {
            self.fail(Location::caller(), &format!("{kind:?} as the last word on {id}, not {last:?}"));
        }
        self.forgive(id);
    }

    pub fn count(&self, id: Uuid, kind: Kind) -> usize {
        self.inbox.lock().count(id, kind)
    }

    /// The test expected everything that this peer was told, and the peer is still connected. Says something about the
    /// future only after a marker has passed.
    #[track_caller]
    pub fn assert_nothing_else(&self) {
        self.assert_nothing_else_at(Location::caller());
    }

    pub(crate) fn assert_nothing_else_at(&self, at: &Location<'_>) {
        let record = self.inbox.lock();
        let fine = record.is_expected() && record.closed.is_none();
        drop(record);
        if !fine {
            self.fail(at, "nothing but what was expected before");
        }
    }

    /// Takes everything that was told about a peer as expected.
    pub(crate) fn forgive(&self, id: Uuid) {
        self.inbox.lock().forgive(id);
    }

    pub(crate) async fn expect_announced(&self, at: &Location<'_>, other: &Self) {
        let node = other.node.as_ref().expect("it has announced a node");
        self.expect_node_at(at, other.id(), node).await;
    }

    pub(crate) async fn expect_node_at(&self, at: &Location<'_>, id: Uuid, node: &Value) {
        self.expect_update(at, id, Kind::Node, |update| update.node.as_ref() == Some(node)).await;
    }

    async fn expect_update(&self, at: &Location<'_>, id: Uuid, kind: Kind, is_it: impl Fn(&Update) -> bool) {
        let what = format!("{kind:?} of {id}");
        if let Err(other) = self.expect(at, &what, |record| record.take(id, kind, &is_it)).await {
            self.fail(at, &format!("{what}, got {other:?}"));
        }
    }

    async fn expect_close_at(&self, at: &Location<'_>, expected: u16) -> String {
        let (code, reason) = self.expect(at, "the end of the websocket", |record| record.closed.clone()).await;
        if code != Some(expected) {
            self.fail(at, &format!("the close code {expected}"));
        }
        reason
    }

    async fn expect<T>(&self, at: &Location<'_>, what: &str, look: impl Fn(&mut Record) -> Option<T>) -> T {
        let found = timeout(DEADLINE, self.inbox.wait(look)).await;
        found.unwrap_or_else(|_| self.fail(at, what))
    }

    fn fail(&self, at: &Location<'_>, expected: &str) -> ! {
        let (name, id) = (&self.identity.name, self.id());
        panic!("at {at}: {name} ({id}): expected {expected}. It was told:\n{}", self.inbox.lock());
    }
}
