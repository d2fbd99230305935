//! One peer of a run.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use futures_util::FutureExt as _;
use tailnet_tools::{
    checking::{
        LightPeer,
        light_peer::Door,
        received::{Hook, Parting},
    },
    identity::TestIdentity,
    message::{Kind, Update},
};
use tracing::Instrument as _;
use uuid::Uuid;

use super::figures::Coordination;
use crate::{
    record::Record,
    trace::{Runner, Trace},
    who::Who,
};

/// A peer, its proxy, and what its log lines begin with.
#[derive(Debug)]
pub struct Member {
    pub peer: LightPeer,
    pub id: Uuid,
    /// Says who it is.
    pub span: tracing::Span,
    trace: Runner,
    pair: Option<usize>,
    door: Door,
}

/// What is told of another peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// That it has a node of this version.
    Node(u64),
    /// That it has left, or that there is no tunnel any more.
    Disconnected,
}

impl Member {
    /// One that is not connected. Without a pair it is the hub.
    pub fn new(identity: TestIdentity, pair: Option<usize>, door: Door, trace: &Trace) -> Self {
        let who = Who::new(&identity, pair);
        let (id, span, trace) = (who.peer, who.span(), trace.runner(&who));
        Self { peer: LightPeer::new(identity), id, span, trace, pair, door }
    }

    /// What it connects to.
    pub fn url(&self) -> &str {
        &self.door.url
    }

    /// Calls `heard` with what it is told.
    pub fn hear(&self, heard: impl Fn(Uuid, News) + Send + 'static) {
        let hook = move |update: &Update| {
            let version = update.node.as_ref().and_then(|node| node["id"].as_u64());
            let news = match (update.kind, version) {
                (Kind::Node, Some(version)) => News::Node(version),
                (Kind::Disconnected, _) => News::Disconnected,
                _ => return,
            };
            heard(update.id, news);
        };
        self.peer.account().received.hook = Some(Hook(Box::new(hook)));
    }

    /// Nobody wants to know any more.
    pub fn stop_hearing(&self) {
        self.peer.account().received.hook = None;
    }

    /// Opens its websocket; returns how long that took.
    ///
    /// # Errors
    /// When the proxy does not let it in.
    pub async fn connect(&mut self, patience: Duration) -> Result<Duration> {
        let begun = Instant::now();
        self.peer.traceparent = self.trace.connects(&self.door.url);
        let connecting = self.peer.connect_within(&self.door, patience).instrument(self.span.clone());
        connecting.await.with_context(|| format!("cannot connect to {}", self.door.url))?;
        self.trace.connected();
        self.span.in_scope(|| tracing::debug!(proxy = self.door.url, "connected"));
        Ok(begun.elapsed())
    }

    /// Ends its websocket, with a goodbye or without a word.
    pub async fn leave(&mut self, says_goodbye: bool) {
        match says_goodbye {
            true => self.peer.disconnect().await,
            false => self.peer.vanish().await,
        }
        // That it is closed is no news.
        let _ = self.peer.watched().closed.notified().now_or_never();
        self.span.in_scope(|| tracing::debug!(says_goodbye, "left"));
    }

    /// Returns when the proxy closes its websocket.
    pub async fn closed(&self) {
        self.peer.watched().closed.notified().await;
    }

    /// What should not have happened to it. It may be told that those left whom `has_left` knows.
    pub fn trouble(&self, has_left: impl Fn(Uuid) -> bool) -> Option<anyhow::Error> {
        let account = self.peer.account();
        let error = account.doings.errors.first().map(|error| format!(", which said: {error}")).unwrap_or_default();
        if let Some(closing) = account.doings.closings.first() {
            let code = closing.code.map(|code| format!(" with {code}")).unwrap_or_default();
            return Some(anyhow!("closed{code} by {} ({}){error}", closing.proxy, closing.reason));
        }
        if !error.is_empty() {
            return Some(anyhow!("connected to {}{error}", self.door.url));
        }
        if let Some(fault) = account.received.faults.first() {
            return Some(anyhow!("told {fault}"));
        }
        let parting = account.received.partings.iter().find(|parting| !has_left(parting.of));
        parting.map(|Parting { of, kind }| anyhow!("told {kind:?} of {of}, which stayed"))
    }

    /// Notes a failure of it.
    pub fn fail(&self, record: &Record<Coordination>, error: &anyhow::Error) {
        let who = Who::new(&self.peer.account().identity, self.pair);
        self.trace.failed(error);
        record.fail(who, &self.span, error);
    }
}
