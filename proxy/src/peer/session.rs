//! One connected peer, one task.
//!
//! A session hears what its peer asks and hands it to the switchboard, delivers what its outbox holds, and finds out when the
//! peer is gone. It hears no more asks while many of its requests wait: a peer cannot fill the memory of the proxy faster
//! than Postgres empties it.

use std::{pin::pin, sync::Arc, time::Duration};

use tailnet_wire::{Role, SessionId};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    batch::request::{Admitted, Sighting},
    message::{Ask, Delivery, Ending, Malformed, MalformedKind, Refused},
    observe::trace::Closing,
    peer::codec::{Codec, HearError, Heard, WriteError},
    state::{
        outbox::Outbox,
        switchboard::{Joined, Switchboard},
    },
};

/// The most requests of one session that wait.
const MAX_WAITING: usize = 4096;

/// A peer that leaves so many pings unanswered is gone.
const MAX_UNANSWERED: u32 = 2;

/// What all sessions have in common.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often the peer is pinged.
    pub ping_interval: Duration,
    /// Ends the session: the proxy shuts down.
    pub shutdown: CancellationToken,
}

impl Options {
    /// How long a write may take.
    fn patience(&self) -> Duration {
        self.ping_interval * MAX_UNANSWERED
    }
}

/// Serves a connection that has just opened, to its end.
///
/// There are tens of thousands of idle peers, so the task is kept small. The session is boxed, because an async function
/// stores its arguments twice. The futures of what happens rarely are boxed, because a task has room for the largest future
/// that it may ever wait for.
pub fn run<C: Codec>(
    codec: C,
    switchboard: Arc<Switchboard>,
    admitted: Admitted,
    options: Options,
) -> impl Future<Output = ()> + Send {
    switchboard.metrics.session_began(C::PROTOCOL);
    let begun = match switchboard.join(admitted.id, admitted.proof.clone(), admitted.only) {
        Some(joined) => Ok(Box::new(Session::new(codec, switchboard, admitted, joined, options))),
        // A newer session of the peer is here already.
        None => {
            switchboard.end_trace(admitted.id, closing::<C>(&switchboard, &Ending::Superseded));
            Err(Box::pin(codec.end(Ending::Superseded, options.patience())))
        }
    };
    async move {
        match begun {
            Ok(mut session) => {
                let Err(end) = session.serve().await;
                Box::pin(session.end(end)).await;
            }
            Err(ending) => ending.await,
        }
    }
}

/// A connection whose session has begun.
#[derive(Debug)]
struct Session<C> {
    codec: C,
    switchboard: Arc<Switchboard>,
    id: SessionId,
    role: Role,
    outbox: Arc<Outbox>,
    /// Pending until Postgres knows of the session. No ask is heard before, so that all come after the attach.
    attached: Option<oneshot::Receiver<()>>,
    /// Is offered to the peer at the beginning.
    resume: Option<String>,
    /// Postgres has known of the session.
    connected: bool,
    waiting: Arc<Semaphore>,
    /// Asks for which there are not permits enough yet.
    stalled: Option<Vec<Ask>>,
    /// The connection ended while asks were stalled. The session ends once they are handled.
    left: bool,
    ping: Interval,
    /// Pings since the peer was last heard.
    unanswered: u32,
    options: Options,
}

/// Why a session ends.
#[derive(Debug)]
enum End {
    /// The peer is gone, or the connection is broken.
    Gone,
    /// The peer answers no pings, or takes nothing that is written.
    Silent,
    /// The proxy ends it.
    Ended(Ending),
}

impl From<WriteError> for End {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Gone => Self::Gone,
            WriteError::Silent => Self::Silent,
        }
    }
}

impl<C: Codec> Session<C> {
    fn new(codec: C, switchboard: Arc<Switchboard>, admitted: Admitted, joined: Joined, options: Options) -> Self {
        let Admitted { id, role, resume, .. } = admitted;
        let mut ping = interval_at(Instant::now() + options.ping_interval, options.ping_interval);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (outbox, attached) = (joined.outbox, Some(joined.attached));
        let waiting = Arc::new(Semaphore::new(MAX_WAITING));
        let (connected, stalled, left, unanswered) = (false, None, false, 0);
        Self {
            codec,
            switchboard,
            id,
            role,
            outbox,
            attached,
            resume,
            connected,
            waiting,
            stalled,
            left,
            ping,
            unanswered,
            options,
        }
    }

    async fn end(self: Box<Self>, end: End) {
        tracing::debug!(id = %self.id, trace_id = self.switchboard.traces.id(self.id), ?end, "session ended");
        // Without effect after a goodbye, or when the switchboard ended the session itself.
        self.switchboard.lose(self.id);
        self.record(&end);
        // A superseded peer is still connected. A peer that never attached was never connected.
        if self.connected && !matches!(end, End::Ended(Ending::Superseded)) {
            self.sighted(Sighting::gone());
        }
        if let End::Ended(ending) = end {
            self.codec.end(ending, self.options.patience()).await;
        }
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        // First of all: updates of partners may come as soon as the session is attached.
        if let Some(token) = self.resume.take() {
            Box::pin(self.codec.offer_resume(&token, self.options.patience())).await?;
        }
        // All sessions wait for it, and to begin to wait takes a lock that they share.
        let mut shutdown = pin!(self.options.shutdown.clone().cancelled_owned());
        loop {
            let hears = self.attached.is_none() && self.stalled.is_none();
            tokio::select! {
                () = &mut shutdown => return Err(End::Ended(Ending::Shutdown)),
                delivery = self.outbox.next(self.codec.takes_updates()) => {
                    Box::pin(self.deliver(delivery)).await?;
                }
                attached = attached(&mut self.attached) => {
                    self.attached = None;
                    if attached.is_err() {
                        // The session ended before it was attached: the outbox says why.
                        let delivery = self.outbox.take();
                        Box::pin(self.deliver(delivery)).await?;
                        return Err(End::Gone);
                    }
                    self.connected = true;
                    self.sighted(Sighting::connected());
                }
                (permit, room) = permits(&self.waiting, &self.switchboard.room, self.stalled.as_deref()) => {
                    if let Some(asks) = self.stalled.take() {
                        Box::pin(self.handle(asks, permit, room)).await?;
                    }
                    if self.left {
                        return Err(End::Gone);
                    }
                }
                heard = self.codec.hear(hears), if !self.left => {
                    self.unanswered = 0;
                    if let Some(asks) = self.hear(heard)? {
                        match permits_now(&self.waiting, &self.switchboard.room, &asks) {
                            Some((permit, room)) => Box::pin(self.handle(asks, permit, room)).await?,
                            None => self.stalled = Some(asks),
                        }
                    }
                }
                _ = self.ping.tick(), if !self.left => {
                    if self.unanswered >= MAX_UNANSWERED {
                        return Err(End::Silent);
                    }
                    let asked = Box::pin(self.codec.ping(self.options.patience())).await?;
                    // The silence of a peer means nothing while it is not read.
                    self.unanswered = if hears { self.unanswered + u32::from(asked) } else { 0 };
                }
            }
        }
    }

    fn hear(&mut self, heard: Result<Heard, HearError>) -> Result<Option<Vec<Ask>>, End> {
        match heard {
            Ok(Heard::Asks(asks)) => {
                self.switchboard.metrics.messages.inc();
                return Ok(Some(asks));
            }
            Ok(Heard::Life) => self.sighted(Sighting::heard()),
            Ok(Heard::Nothing) => {}
            Err(HearError::Gone) if self.stalled.is_some() => self.left = true,
            Err(HearError::Gone) => return Err(End::Gone),
            Err(HearError::Malformed(malformed)) => {
                self.switchboard.metrics.messages.inc();
                return Err(End::Ended(Ending::Malformed(malformed)));
            }
        }
        Ok(None)
    }

    async fn handle(
        &mut self,
        asks: Vec<Ask>,
        permit: OwnedSemaphorePermit,
        room: OwnedSemaphorePermit,
    ) -> Result<(), End> {
        let (permit, room) = (Arc::new(permit), Arc::new(room));
        let id = self.id;
        for ask in asks {
            match ask {
                Ask::Report(_) if self.role != Role::Agent => {
                    let problem = C::words(&Refused::ReportByRole(self.role));
                    return Err(End::Ended(Ending::Malformed(Malformed { kind: MalformedKind::Form, problem })));
                }
                Ask::Report(reports) => self.switchboard.report(id, reports, &room),
                Ask::Announce(node) => self.switchboard.announce(id, node, Arc::clone(&permit)),
                Ask::Tunnel { dst, wish } => self.switchboard.tunnel(id, dst, wish, Arc::clone(&permit)),
                Ask::Goodbye => return Err(self.disconnect().await),
                Ask::Ready(dsts) => {
                    for dst in dsts {
                        self.switchboard.handshake(id, dst, Arc::clone(&permit));
                    }
                }
            }
        }
        Ok(())
    }

    /// The goodbye is answered when Postgres knows. Until then the peer is told nothing more.
    async fn disconnect(&mut self) -> End {
        let Some(committed) = self.switchboard.disconnect(self.id) else {
            // The session ended already: the outbox says why.
            return self.outbox.take().ending.map_or(End::Gone, End::Ended);
        };
        tokio::select! {
            _ = committed => End::Ended(Ending::Goodbye),
            () = self.options.shutdown.cancelled() => End::Ended(Ending::Shutdown),
        }
    }

    async fn deliver(&mut self, delivery: Delivery) -> Result<(), End> {
        for refused in &delivery.refused {
            self.switchboard.traces.error(self.id, || C::words(refused));
        }
        self.codec.deliver(&delivery, self.options.patience()).await?;
        self.switchboard.metrics.updates.inc_by(delivery.updates.len() as u64);
        delivery.ending.map_or(Ok(()), |ending| Err(End::Ended(ending)))
    }

    /// Counts the end, and ends the trace.
    fn record(&self, end: &End) {
        let metrics = &self.switchboard.metrics;
        let closing = match end {
            End::Gone => {
                metrics.session_ended(C::PROTOCOL, "gone");
                Closing::Gone
            }
            End::Silent => {
                metrics.session_ended(C::PROTOCOL, "silent");
                Closing::Silent
            }
            End::Ended(ending) => closing::<C>(&self.switchboard, ending),
        };
        if let End::Ended(Ending::Malformed(malformed)) = end {
            self.switchboard.traces.error(self.id, || malformed.to_string());
        }
        self.switchboard.end_trace(self.id, closing);
    }

    /// Only the connections of agents are kept.
    fn sighted(&self, sighting: Sighting) {
        if self.role == Role::Agent {
            self.switchboard.sighted(self.id.peer, sighting);
        }
    }
}

/// Counts an ending, and says what a trace says of it.
fn closing<C: Codec>(switchboard: &Switchboard, ending: &Ending) -> Closing {
    switchboard.metrics.session_ended(C::PROTOCOL, C::code(ending));
    Closing::Closed { code: C::code(ending), wanted: ending.is_wanted() }
}

/// Pending when there is nothing to wait for.
async fn attached(attached: &mut Option<oneshot::Receiver<()>>) -> Result<(), oneshot::error::RecvError> {
    match attached {
        Some(attached) => attached.await,
        None => std::future::pending().await,
    }
}

/// One permit for all requests of the asks, and room for their reports; None: they must wait for it.
fn permits_now(
    waiting: &Arc<Semaphore>,
    room: &Arc<Semaphore>,
    asks: &[Ask],
) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
    let (requests, reports) = needed(asks);
    let acquire = |semaphore: &Arc<Semaphore>, count| Arc::clone(semaphore).try_acquire_many_owned(count).ok();
    Some((acquire(waiting, requests)?, acquire(room, reports)?))
}

/// How many requests wait with these asks, at most as many as may wait, and how many reports.
fn needed(asks: &[Ask]) -> (u32, u32) {
    let requests = asks.iter().map(Ask::requests).sum::<usize>().min(MAX_WAITING);
    let reports = asks.iter().map(Ask::reports).sum::<usize>();
    let count = |count: usize| u32::try_from(count).expect("the counts are bounded");
    (count(requests), count(reports))
}

/// The permits of [`permits_now`], as soon as they are there. Pending when there are no asks.
async fn permits(
    waiting: &Arc<Semaphore>,
    room: &Arc<Semaphore>,
    asks: Option<&[Ask]>,
) -> (OwnedSemaphorePermit, OwnedSemaphorePermit) {
    let Some(asks) = asks else { return std::future::pending().await };
    let acquire = async |semaphore: &Arc<Semaphore>, count| {
        Arc::clone(semaphore).acquire_many_owned(count).await.expect("the semaphores are never closed")
    };
    Box::pin(async move {
        let (requests, reports) = needed(asks);
        (acquire(waiting, requests).await, acquire(room, reports).await)
    })
    .await
}
