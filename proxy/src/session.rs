//! One websocket, one task.
//!
//! Reads requests and hands them to the hub, writes what its outbox holds, and finds out when the other end is gone.
//! It reads no further while its own requests wait in numbers: a peer cannot fill the proxy's memory faster than
//! Postgres empties it.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use tailnet_wire::Role;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, Interval, MissedTickBehavior, interval_at, timeout},
};
use tokio_tungstenite::tungstenite::{
    Error as SocketError, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};
use tokio_util::sync::CancellationToken;

use crate::{
    close::Close,
    frame::{self, Fault, Frame},
    heartbeater::Heartbeat,
    hub::{Hub, Joined},
    id::{Identity, SessionId},
    outbox::{Delivery, Outbox},
    trace::Closing,
    upgrade::Socket,
    wishes::Wish,
};

/// The most requests of one session that wait.
const MAX_WAITING: usize = 4096;

/// A peer that leaves this many pings unanswered is gone.
const MAX_UNANSWERED: u32 = 2;

/// How long the peer may take to answer a close.
const LINGER: Duration = Duration::from_secs(2);

/// What all sessions have in common.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often the peer is pinged.
    pub ping_interval: Duration,
    /// Ends the session: the proxy shuts down.
    pub shutdown: CancellationToken,
}

/// Serves a websocket that has just opened, to its end.
///
/// There are tens of thousands of idle peers, so their tasks have room for what they wait for and no more: the session is
/// boxed, because a future keeps what it is given a second time, and so is what it awaits now and then.
pub fn run(socket: Socket, hub: Arc<Hub>, identity: Identity, options: Options) -> impl Future<Output = ()> + Send {
    let begun = match hub.join(identity.id) {
        Some(joined) => Ok(Box::new(Session::new(socket, hub, identity, joined, options))),
        // A newer session of its peer is here already.
        None => {
            hub.end_trace(identity.id, Closing::Closed(Close::Superseded));
            Err(Box::pin(close(socket, Close::Superseded, options.ping_interval)))
        }
    };
    async move {
        match begun {
            Ok(mut session) => {
                let Err(end) = session.serve().await;
                Box::pin(session.end(end)).await;
            }
            Err(closing) => closing.await,
        }
    }
}

/// A websocket whose session has begun.
#[derive(Debug)]
struct Session {
    socket: Socket,
    hub: Arc<Hub>,
    id: SessionId,
    role: Role,
    outbox: Arc<Outbox>,
    /// Pending until Postgres knows of the session: no request is read before, so that all come after it.
    attached: Option<oneshot::Receiver<()>>,
    /// Postgres has known of it.
    connected: bool,
    waiting: Arc<Semaphore>,
    /// A frame for which there are not permits enough.
    stalled: Option<Frame>,
    ping: Interval,
    /// Pings since the peer was last heard.
    unanswered: u32,
    shutdown: CancellationToken,
}

/// Why the websocket ends.
#[derive(Debug)]
enum End {
    /// The other end is gone, or the socket is broken.
    Gone,
    /// It answers no pings, or takes nothing that is written.
    Silent,
    /// The proxy says so.
    Closed(Close),
    /// The peer sent what cannot be read.
    Fault(Fault),
}

impl End {
    fn closing(&self) -> Closing {
        match self {
            Self::Gone => Closing::Gone,
            Self::Silent => Closing::Silent,
            Self::Closed(close) | Self::Fault(Fault { close, .. }) => Closing::Closed(*close),
        }
    }
}

impl Session {
    /// A session that has joined the hub.
    fn new(socket: Socket, hub: Arc<Hub>, identity: Identity, joined: Joined, options: Options) -> Self {
        let Identity { id, role } = identity;
        let Options { ping_interval, shutdown } = options;
        let mut ping = interval_at(Instant::now() + ping_interval, ping_interval);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (outbox, attached) = (joined.outbox, Some(joined.attached));
        let waiting = Arc::new(Semaphore::new(MAX_WAITING));
        let (connected, stalled, unanswered) = (false, None, 0);
        Self { socket, hub, id, role, outbox, attached, connected, waiting, stalled, ping, unanswered, shutdown }
    }

    async fn end(mut self: Box<Self>, end: End) {
        tracing::debug!(id = %self.id, trace_id = self.hub.traces.id(self.id), ?end, "session ended");
        // Without effect after a disconnect, or when the hub ended the session itself.
        self.hub.lose(self.id);
        self.end_trace(&end);
        // Who was superseded is connected all the same; who never attached was never connected.
        if self.connected && !matches!(end, End::Closed(Close::Superseded)) {
            self.beat(Heartbeat::gone());
        }
        let patience = self.patience();
        match end {
            End::Gone | End::Silent => {}
            End::Closed(reason) => close(self.socket, reason, patience).await,
            End::Fault(fault) => {
                let text = Message::text(frame::error(&fault.error));
                if matches!(timeout(patience, self.socket.send(text)).await, Ok(Ok(()))) {
                    close(self.socket, fault.close, patience).await;
                }
            }
        }
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        loop {
            let reading = self.attached.is_none() && self.stalled.is_none();
            tokio::select! {
                () = self.shutdown.cancelled() => return Err(End::Closed(Close::Shutdown)),
                delivery = self.outbox.next() => Box::pin(self.deliver(delivery)).await?,
                attached = attached(&mut self.attached) => {
                    self.attached = None;
                    if attached.is_err() {
                        // The session ended before it was attached: the outbox says why.
                        let delivery = self.outbox.take();
                        Box::pin(self.deliver(delivery)).await?;
                        return Err(End::Gone);
                    }
                    self.connected = true;
                    self.beat(Heartbeat::connected());
                }
                (permit, room) = permits(&self.waiting, &self.hub.room, self.stalled.as_ref()) => {
                    if let Some(frame) = self.stalled.take() {
                        Box::pin(self.handle(frame, permit, room)).await?;
                    }
                }
                message = self.socket.next(), if reading => {
                    self.unanswered = 0;
                    self.read(message)?;
                }
                _ = self.ping.tick() => {
                    if self.unanswered >= MAX_UNANSWERED {
                        return Err(End::Silent);
                    }
                    // Who is not read is not heard: that says nothing of the peer.
                    self.unanswered = if reading { self.unanswered + 1 } else { 0 };
                    Box::pin(self.write(Message::Ping(Default::default()))).await?;
                }
            }
        }
    }

    fn read(&mut self, message: Option<Result<Message, SocketError>>) -> Result<(), End> {
        match message {
            Some(Ok(Message::Text(text))) => {
                self.hub.metrics.frames.inc();
                self.stalled = Some(Frame::parse(&text).map_err(End::Fault)?);
                Ok(())
            }
            Some(Ok(Message::Binary(_))) => Err(End::Fault(Fault::binary())),
            Some(Ok(Message::Pong(_))) => {
                self.beat(Heartbeat::heard());
                Ok(())
            }
            Some(Ok(Message::Ping(_) | Message::Frame(_))) => Ok(()),
            Some(Err(SocketError::Capacity(_))) => Err(End::Fault(Fault::too_large())),
            Some(Err(SocketError::Utf8(_))) => Err(End::Fault(Fault::not_utf8())),
            Some(Ok(Message::Close(_)) | Err(_)) | None => Err(End::Gone),
        }
    }

    async fn handle(
        &mut self,
        frame: Frame,
        permit: OwnedSemaphorePermit,
        room: OwnedSemaphorePermit,
    ) -> Result<(), End> {
        if !frame.report_connections.is_empty() {
            if self.role != Role::Agent {
                let error = format!("report_connections is refused: a {} does not send it, only an agent", self.role);
                return Err(End::Fault(Fault { error, close: Close::Policy }));
            }
            self.hub.report(self.id, frame.report_connections, &Arc::new(room));
        }
        let (hub, id, permit) = (&self.hub, self.id, Arc::new(permit));
        if let Some(update) = frame.update_self {
            hub.announce(id, update.node, Arc::clone(&permit));
        }
        if let Some(target) = frame.add_tunnel {
            hub.tunnel(id, target.id, Wish::Open, Arc::clone(&permit));
        }
        if let Some(target) = frame.remove_tunnel {
            hub.tunnel(id, target.id, Wish::Close, Arc::clone(&permit));
        }
        if frame.disconnect.is_some() {
            return Err(self.disconnect().await);
        }
        for target in frame.ready_for_handshake {
            hub.shake(id, target.0.id, Arc::clone(&permit));
        }
        Ok(())
    }

    /// The goodbye is answered when Postgres has it. Until then the peer is told nothing more.
    async fn disconnect(&mut self) -> End {
        let Some(committed) = self.hub.disconnect(self.id) else {
            // It ended already: the outbox says why.
            return self.outbox.take().close.map_or(End::Gone, End::Closed);
        };
        tokio::select! {
            _ = committed => End::Closed(Close::Goodbye),
            () = self.shutdown.cancelled() => End::Closed(Close::Shutdown),
        }
    }

    async fn deliver(&mut self, delivery: Delivery) -> Result<(), End> {
        if !delivery.updates.is_empty() {
            self.write(Message::text(frame::updates(&delivery.updates))).await?;
            self.hub.metrics.updates.inc_by(delivery.updates.len() as u64);
        }
        if !delivery.acknowledged.is_empty() {
            self.write(Message::text(frame::acknowledged(&delivery.acknowledged))).await?;
        }
        for error in &delivery.errors {
            self.hub.traces.error(self.id, error);
            self.write(Message::text(frame::error(error))).await?;
        }
        delivery.close.map_or(Ok(()), |reason| Err(End::Closed(reason)))
    }

    async fn write(&mut self, message: Message) -> Result<(), End> {
        match timeout(self.patience(), self.socket.send(message)).await {
            Ok(sent) => sent.map_err(|_| End::Gone),
            Err(_) => Err(End::Silent),
        }
    }

    fn end_trace(&self, end: &End) {
        if let End::Fault(fault) = end {
            self.hub.traces.error(self.id, &fault.error);
        }
        self.hub.end_trace(self.id, end.closing());
    }

    /// Only the connections of agents are kept.
    fn beat(&self, heartbeat: Heartbeat) {
        if self.role == Role::Agent {
            self.hub.beat(self.id.peer, heartbeat);
        }
    }

    /// How long a write may take.
    fn patience(&self) -> Duration {
        self.ping.period() * MAX_UNANSWERED
    }
}

/// Pending when there is nothing to wait for.
async fn attached(attached: &mut Option<oneshot::Receiver<()>>) -> Result<(), oneshot::error::RecvError> {
    match attached {
        Some(attached) => attached.await,
        None => std::future::pending().await,
    }
}

/// A permit for all requests of the frame, and room for its reports; pending when there is none.
async fn permits(
    waiting: &Arc<Semaphore>,
    room: &Arc<Semaphore>,
    frame: Option<&Frame>,
) -> (OwnedSemaphorePermit, OwnedSemaphorePermit) {
    let Some(frame) = frame else { return std::future::pending().await };
    let acquire = async |semaphore: &Arc<Semaphore>, count: usize| {
        let count = u32::try_from(count).expect("the counts are bounded");
        Arc::clone(semaphore).acquire_many_owned(count).await.expect("the semaphores are never closed")
    };
    Box::pin(async move {
        let permit = acquire(waiting, frame.requests().min(MAX_WAITING)).await;
        (permit, acquire(room, frame.report_connections.len()).await)
    })
    .await
}

/// Closes the websocket in such a way that the peer sees the reason.
async fn close(mut socket: Socket, reason: Close, patience: Duration) {
    let frame = CloseFrame { code: CloseCode::from(reason.code()), reason: reason.reason().into() };
    if !matches!(timeout(patience, socket.close(Some(frame))).await, Ok(Ok(()))) {
        return;
    }
    // TCP resets a connection that is closed with unread data, and the peer loses what it has not read yet.
    let stream = socket.get_mut();
    let drain = async {
        stream.shutdown().await?;
        let mut rest = vec![0; 4096]; // not in the task itself: it would be there for the whole session
        while stream.read(&mut rest).await? > 0 {}
        Ok::<(), std::io::Error>(())
    };
    let _ = timeout(LINGER, drain).await;
}
