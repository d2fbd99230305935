//! The connection of a peer that speaks tailnet v2.
//!
//! It is always read, so that pings are answered and windows are heard of, whatever the peer does not read itself. What it
//! sends waits in [`Calls`] or in the coordination, both bounded. What is sent to it waits in the outbox, where it conflates,
//! as long as the peer reads its updates slowly.

use std::{
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::{Duration, SystemTime},
};

use tailnet_v2::{
    calls::{Broken, Event},
    yamux::StreamId,
};
use tailnet_wire::Role;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message as Frame};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    batch::request::AgentInfo,
    message::{Ask, Delivery, Ending, Malformed, MalformedKind, Refused},
    peer::{
        codec::{Codec, HearError, Heard, WriteError},
        socket::{self, Socket},
        v2::{
            agent::{self, Told},
            close,
            coordination::{Coordination, LEFT},
            map_calls::MapCalls,
            reports::Reports,
            to_peer,
            unary::{self, Method},
            wire::{Step, Wire},
        },
    },
    state::{derp_maps::Maps, switchboard::Switchboard},
};

/// The largest message of the websocket: a frame of yamux with the largest message of dRPC, and their headers.
pub const MAX_FRAME: usize = tailnet_v2::calls::MAX_MESSAGE + 4096;

/// The most bytes that wait to be written: a peer that asks and asks, and reads no answer, reaches it.
const MAX_OUTPUT: usize = 512 * 1024;

/// A peer that leaves so many pings unanswered, or takes nothing for so many intervals of pings, is gone.
const MAX_UNANSWERED: u32 = 2;

/// After so many intervals of pings without a byte a client or a hub is pinged, in each that follows: it pings itself every
/// 30 s. An agent is pinged after one, because the proxy writes down when it was heard.
const CLIENT_QUIET: u32 = 2;

/// A connection whose session has ended stays open for so long. Programs end it themselves, and connect again.
const AFTERLIFE: Duration = Duration::from_secs(5 * 60);

/// Who is on the other side.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its id.
    pub id: Uuid,
    /// Its role.
    pub role: Role,
    /// The agent of the path on which it came: it opens tunnels to no other.
    pub only: Option<Uuid>,
    /// What it is told of itself; None: it is no agent.
    pub info: Option<Arc<AgentInfo>>,
}

/// One connection.
#[derive(Debug)]
pub struct ProtobufCodec {
    wire: Wire,
    peer: Peer,
    switchboard: Arc<Switchboard>,
    maps: MapCalls,
    shutdown: CancellationToken,
    coordination: Coordination,
    /// Calls whose message has not come.
    unary: Vec<(StreamId, Method)>,
    reports: Reports,
    /// The resume token, and when it was offered.
    resume: Option<(String, SystemTime)>,
    /// The connection ended. What the peer asked before is heard first.
    gone: bool,
    /// Bytes came since the last ping, and the session has not heard of it. It hears once in an interval of pings.
    lives: bool,
    /// Bytes came since the last ping.
    heard: bool,
    /// Intervals without bytes.
    quiet: u32,
    /// Intervals in which nothing was taken.
    stuck: u32,
}

impl ProtobufCodec {
    /// The codec of a websocket that has just opened. After some endings of its session it lives on, until `shutdown` at most.
    pub fn new(
        socket: Socket,
        peer: Peer,
        maps: Maps,
        switchboard: Arc<Switchboard>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            wire: Wire::new(socket),
            peer,
            switchboard,
            maps: MapCalls::new(maps),
            shutdown,
            coordination: Coordination::default(),
            unary: Vec::new(),
            reports: Reports::default(),
            resume: None,
            gone: false,
            lives: false,
            heard: false,
            quiet: 0,
            stuck: 0,
        }
    }

    /// What the peer asks next.
    fn next_asks(&mut self) -> Option<Result<Vec<Ask>, HearError>> {
        if self.reports.has_unheard() {
            return Some(Ok(vec![Ask::Report(self.reports.take_unheard())]));
        }
        self.coordination.next(&mut self.wire.calls, self.peer.only)
    }

    fn alive(&mut self) {
        self.lives |= !self.heard;
        self.heard = true;
    }

    fn frame(&mut self, frame: Option<Result<Frame, SocketError>>) -> Result<(), HearError> {
        let malformed = |kind, problem: String| HearError::Malformed(Malformed { kind, problem });
        match frame {
            Some(Ok(Frame::Binary(bytes))) => {
                self.alive();
                let mut events = Vec::new();
                let read = self.wire.calls.receive(&bytes, &mut events);
                events.into_iter().for_each(|event| self.event(event));
                read.map_err(|broken| match broken {
                    Broken::Held => malformed(MalformedKind::TooLarge, broken.to_string()),
                    Broken::Violation(_) => malformed(MalformedKind::Syntax, broken.to_string()),
                })?;
                if self.wire.calls.output() > MAX_OUTPUT {
                    let problem = format!("more than {MAX_OUTPUT} bytes of answers are not read");
                    return Err(malformed(MalformedKind::TooLarge, problem));
                }
                Ok(())
            }
            Some(Ok(Frame::Text(_))) => {
                Err(malformed(MalformedKind::Framing, "text frame, expected binary frames".to_owned()))
            }
            Some(Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_))) => {
                self.alive();
                Ok(())
            }
            Some(Err(SocketError::Capacity(_))) => Err(malformed(
                MalformedKind::TooLarge,
                format!("message too large, expected at most {MAX_FRAME} bytes"),
            )),
            Some(Ok(Frame::Close(_)) | Err(_)) | None => Err(HearError::Gone),
        }
    }

    /// What the peer did with a call.
    fn event(&mut self, event: Event) {
        let calls = &mut self.wire.calls;
        match event {
            Event::Invoked(call, path) => match Method::of(&path, self.peer.role) {
                Some(Method::Coordinate) => self.coordination.begin(calls, call),
                Some(method) => self.unary.push((call, method)),
                None => calls.unknown(call, &path),
            },
            Event::Message(call, message) if self.coordination.is(call) => self.coordination.request(&message),
            Event::Message(call, message) => {
                calls.release(call, message.len());
                let place = self.unary.iter().position(|(unary, _)| *unary == call);
                if let Some((_, method)) = place.map(|place| self.unary.swap_remove(place)) {
                    self.asked(call, method, &message);
                }
            }
            // Unless a goodbye waits, the peer leaves without one.
            Event::Sent(call) | Event::Ended(call) if self.coordination.is(call) => self.coordination.finish(),
            Event::Sent(call) => {
                let place = self.unary.iter().position(|(unary, _)| *unary == call);
                if place.map(|place| self.unary.swap_remove(place)).is_some() {
                    calls.fail(call, 0, "a call without a message, expected one");
                }
            }
            Event::Ended(call) => {
                self.unary.retain(|(unary, _)| *unary != call);
                self.maps.end(call);
                self.reports.end(call);
            }
            Event::Ping => {}
        }
    }

    /// The message of a call with one message is there.
    fn asked(&mut self, call: StreamId, method: Method, message: &[u8]) {
        let answer = match method {
            Method::StreamDerpMaps => {
                self.maps.begin(call);
                return;
            }
            // Also because its token may have been revoked since.
            Method::Agent(_) if self.coordination.is_over() => Err(LEFT.to_owned()),
            Method::Agent(agent::Method::ReportConnection) => match agent::report(message, self.peer.id) {
                Ok(report) => {
                    self.reports.begin(call, report);
                    return;
                }
                Err(problem) => Err(problem),
            },
            Method::Agent(method) => {
                let map = self.maps.map();
                let answer = agent::answer(method, message, self.peer.id, self.peer.info.as_deref(), map);
                answer.map(|(answer, told)| {
                    match told {
                        Some(Told::State(state)) => self.switchboard.describe(self.peer.id, state),
                        Some(Told::Traffic(traffic)) => self.switchboard.metrics.telemetry.carried(&traffic),
                        None => {}
                    }
                    answer
                })
            }
            Method::PostTelemetry => unary::telemetry(&self.switchboard, message),
            Method::RefreshResumeToken => match &self.resume {
                Some((resume, made_at)) => Ok(unary::resume_token(resume, *made_at)),
                // Its token alone makes it the same peer.
                None => {
                    self.wire.calls.unknown(call, tailnet_v2::messages::path::REFRESH_RESUME_TOKEN);
                    return;
                }
            },
            Method::Coordinate => return,
        };
        match answer {
            Ok(answer) => self.wire.calls.answer(call, &answer),
            Err(problem) => self.wire.calls.fail(call, 0, &problem),
        }
    }

    /// Serves what needs no session, for [`AFTERLIFE`] at most: who is revoked now is not found here. Whether the peer is gone.
    async fn outlive_session(&mut self, patience: Duration) -> bool {
        for call in self.reports.give_up() {
            self.wire.calls.fail(call, 0, LEFT);
        }
        let mut pings = interval(patience / MAX_UNANSWERED);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut unanswered, shutdown) = (0, self.shutdown.clone());
        let end = Instant::now() + AFTERLIFE;
        loop {
            tokio::select! {
                () = sleep_until(end) => return false,
                heard = self.hear(true) => match heard {
                    Ok(_) => unanswered = 0,
                    Err(_) => return true,
                },
                _ = pings.tick() => match self.ping(patience).await {
                    Ok(asked) if unanswered < MAX_UNANSWERED => unanswered += u32::from(asked),
                    Ok(_) | Err(_) => return true,
                },
                () = shutdown.cancelled() => return false,
            }
        }
    }
}

impl Codec for ProtobufCodec {
    const PROTOCOL: &'static str = "v2";

    async fn hear(&mut self, asks: bool) -> Result<Heard, HearError> {
        let took = self.takes_updates();
        loop {
            if asks && let Some(asks) = self.next_asks() {
                return asks.map(Heard::Asks);
            }
            if std::mem::take(&mut self.lives) {
                return Ok(Heard::Life);
            }
            if self.gone {
                if self.reports.has_unheard() || self.coordination.has_requests() {
                    return std::future::pending().await;
                }
                return Err(HearError::Gone);
            }
            if !took && self.takes_updates() {
                return Ok(Heard::Nothing);
            }
            self.maps.tell(&mut self.wire.calls);
            let (wire, maps) = (&mut self.wire, &mut self.maps);
            let step = poll_fn(|cx| match wire.poll(cx) {
                Poll::Ready(step) => Poll::Ready(Some(step)),
                Poll::Pending => maps.poll_changed(cx).map(|()| None),
            });
            match step.await {
                Some(Step::Read(frame)) => match self.frame(frame) {
                    Err(HearError::Gone) => self.gone = true,
                    read => read?,
                },
                Some(Step::Written) | None => {}
            }
        }
    }

    fn takes_updates(&self) -> bool {
        self.wire.is_idle() && self.coordination.takes_updates(&self.wire.calls)
    }

    /// Nothing is awaited: [`Codec::hear`] writes what the socket does not take at once.
    async fn deliver(&mut self, delivery: &Delivery, _: Duration) -> Result<(), WriteError> {
        let calls = &mut self.wire.calls;
        let (responses, left_out) = to_peer::updates(&delivery.updates);
        self.switchboard.metrics.left_out.inc_by(left_out);
        for response in responses {
            self.coordination.send(calls, &response);
        }
        for id in &delivery.acknowledged {
            if let Some(call) = self.reports.done(*id) {
                calls.answer(call, &[]);
            }
        }
        for refused in &delivery.refused {
            match refused {
                Refused::Report { id, .. } => {
                    if let Some(call) = self.reports.done(*id) {
                        calls.fail(call, 0, &to_peer::words(refused));
                    }
                }
                refused => self.coordination.send(calls, &to_peer::error(&to_peer::words(refused))),
            }
        }
        self.wire.begin_write().await;
        Ok(())
    }

    /// Told when it is asked for.
    async fn offer_resume(&mut self, token: &str, _: Duration) -> Result<(), WriteError> {
        self.resume = Some((token.to_owned(), SystemTime::now()));
        Ok(())
    }

    async fn ping(&mut self, _: Duration) -> Result<bool, WriteError> {
        let takes = std::mem::take(&mut self.wire.wrote) || self.wire.is_idle();
        self.stuck = if takes { 0 } else { self.stuck + 1 };
        if self.stuck >= MAX_UNANSWERED {
            return Err(WriteError::Silent);
        }
        self.quiet = if std::mem::take(&mut self.heard) { 0 } else { self.quiet + 1 };
        let least = if self.peer.role == Role::Agent { 1 } else { CLIENT_QUIET };
        let asks = self.quiet >= least;
        if asks {
            self.wire.calls.ping();
        }
        Ok(asks)
    }

    async fn end(mut self, ending: Ending, patience: Duration) {
        let calls = &mut self.wire.calls;
        let goes_on = match &ending {
            Ending::Goodbye | Ending::Refused => {
                self.coordination.end(calls, None);
                true
            }
            Ending::Malformed(malformed) => {
                self.coordination.end(calls, Some(&malformed.problem));
                malformed.kind == MalformedKind::Form
            }
            ending => {
                self.coordination.end(calls, Some(close::words(ending)));
                false
            }
        };
        if goes_on && self.outlive_session(patience).await {
            return;
        }
        self.wire.calls.go_away();
        if matches!(tokio::time::timeout(patience, self.wire.write_out()).await, Ok(Ok(()))) {
            socket::close(self.wire.socket, close::code(&ending), close::words(&ending), patience).await;
        }
    }

    fn code(ending: &Ending) -> u16 {
        close::code(ending)
    }

    fn words(refused: &Refused) -> String {
        to_peer::words(refused)
    }
}
