//! The proxy as a coordinator: it registers, listens, sends heartbeats, and starts again after any doubt.
//!
//! A *doubt* is an event after which the fold may differ from the tables: the LISTEN connection ended, a payload does not
//! continue the log, the registration is not current, or the outcome of a call is unknown. The answer is always the same:
//! a new registration with a new log, and a restore of all sessions. Meanwhile the sockets stay open, and requests wait.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tailnet_wire::{Assembler, Chain, PayloadError, limits::HEARTBEAT};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    batch::bisect::{CallError as _, Failure},
    postgres::{
        backoff::Backoff,
        database::Database,
        listener::{Listener, Probe},
        reaper,
        store::{Answer, Store},
        store_error::StoreError,
    },
    state::switchboard::Switchboard,
};

/// A heartbeat that takes longer makes the proxy unready: other coordinators may be about to expire it.
const SLOW_HEARTBEAT: Duration = Duration::from_secs(5);

/// A LISTEN connection that is silent for so long while heartbeats are answered is stuck. The proxy gives it up before
/// others could expire the coordinator.
const SLOW_LISTENER: Duration = Duration::from_secs(4);

/// Postgres cannot commit a NOTIFY when its queue is full. From this share on the proxy warns that the queue fills.
const CROWDED_QUEUE: f64 = 0.25;

/// After a registration that lasted for so long, the next wait is short again.
const STEADY: Duration = HEARTBEAT;

/// One registered proxy.
#[derive(Debug)]
pub struct Coordinator {
    name: String,
    switchboard: Arc<Switchboard>,
    database: Database,
}

/// Why a registration was given up.
#[derive(Debug, thiserror::Error)]
enum Doubt {
    #[error("cannot register")]
    Register(#[source] StoreError),
    #[error("cannot listen")]
    Listen(#[source] StoreError),
    #[error("the LISTEN connection ended")]
    ListenEnded(#[source] Option<tokio_postgres::Error>),
    #[error("the log is broken")]
    Payload(#[from] PayloadError),
    #[error("heartbeats are answered, but not the LISTEN connection")]
    ListenStuck,
    #[error("the heartbeat failed")]
    Heartbeat(#[source] StoreError),
    #[error("a call failed in a way that leaves its outcome open")]
    Call,
}

impl Coordinator {
    /// The coordinator of this switchboard.
    pub fn new(name: &str, switchboard: Arc<Switchboard>, database: Database) -> Self {
        Self { name: name.to_owned(), switchboard, database }
    }

    /// Runs until `stop`, then ends the registration: its sessions are lost in one call.
    pub async fn run(self, stop: CancellationToken) {
        let mut backoff = Backoff::default();
        while !stop.is_cancelled() {
            let begun = Instant::now();
            let Err(doubt) = self.registration(&stop).await else { return };
            tracing::warn!(error = %Chain(&doubt), "registration given up");
            if begun.elapsed() > STEADY {
                backoff.reset();
            }
            if stop.run_until_cancelled(backoff.wait()).await.is_none() {
                return;
            }
        }
    }

    async fn registration(&self, stop: &CancellationToken) -> Result<(), Doubt> {
        let connecting = async {
            let mut store = Store::connect(&self.database, "coordinator").await.map_err(Doubt::Register)?;
            let registration =
                store.register_coordinator(self.switchboard.coordinator, &self.name).await.map_err(Doubt::Register)?;
            let listener = Listener::listen(&self.database, registration).await.map_err(Doubt::Listen)?;
            Ok::<_, Doubt>((store, registration, listener))
        };
        let Some(connected) = stop.run_until_cancelled(connecting).await else { return Ok(()) };
        let (mut store, registration, mut listener) = connected?;
        tracing::info!(id = %self.switchboard.coordinator, "registered");
        self.switchboard.begin(registration);
        let followed = self.follow(&mut store, registration, &mut listener, stop).await;
        self.switchboard.readiness.doubt(registration);
        if followed.is_ok()
            && let Err(error) = store.close_coordinator(registration).await
        {
            tracing::warn!(error = %Chain(&error), "cannot end the registration: its sessions are lost only when it expires");
        }
        followed
    }

    /// Follows the log for as long as there is no doubt. Ok: it is time to stop.
    async fn follow(
        &self,
        store: &mut Store,
        registration: Uuid,
        listener: &mut Listener,
        stop: &CancellationToken,
    ) -> Result<(), Doubt> {
        let mut current = self.switchboard.readiness.registration();
        let mut assembler = Assembler::default();
        let (answered, mut answers) = mpsc::channel(1);
        let heartbeats = AtomicU64::default();
        let mut sending = pin!(self.send_heartbeats(store, registration, &heartbeats));
        let mut probing = pin!(self.probe(&listener.probe, &heartbeats, answered));
        let mut reaping = pin!(reaper::reap(&self.database, registration, &self.switchboard.metrics));
        loop {
            tokio::select! {
                payload = listener.payloads.recv() => {
                    self.fold(&mut assembler, &payload.ok_or(Doubt::ListenEnded(None))?)?;
                }
                Some(()) = answers.recv() => {
                    while let Ok(payload) = listener.payloads.try_recv() {
                        self.fold(&mut assembler, &payload)?;
                    }
                    self.switchboard.mark();
                }
                doubt = &mut sending => return Err(doubt),
                doubt = &mut probing => return Err(doubt),
                never = &mut reaping => match never {},
                _ = current.wait_for(|current| *current != Some(registration)) => return Err(Doubt::Call),
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    fn fold(&self, assembler: &mut Assembler, payload: &str) -> Result<(), PayloadError> {
        self.switchboard.metrics.payloads.inc();
        if let Some(events) = assembler.push(payload)? {
            self.switchboard.fold(events);
        }
        self.switchboard.metrics.unknown.inc_by(assembler.take_unknown());
        Ok(())
    }

    /// Sends heartbeats until there is a doubt, and counts those that are answered.
    async fn send_heartbeats(&self, store: &mut Store, registration: Uuid, heartbeats: &AtomicU64) -> Doubt {
        let mut ticks = interval(HEARTBEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut crowded = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // Other coordinators may wait for the news that all sessions here are restored.
                () = self.switchboard.restoration.done() => {}
            }
            match self.send_heartbeat(store, registration).await.map_err(|error| (error.failure(), error)) {
                Ok(Answer { expired, queue }) => {
                    heartbeats.fetch_add(1, Ordering::Relaxed);
                    self.switchboard.readiness.set_answering(true);
                    self.switchboard.metrics.queue.set(queue);
                    if queue > CROWDED_QUEUE && !crowded {
                        tracing::warn!(queue, "the queue of notifications fills: a backend LISTENs and does not read");
                    }
                    crowded = queue > CROWDED_QUEUE;
                    if expired > 0 {
                        tracing::warn!(expired, "expired proxies that were silent for too long: their peers are lost");
                        self.switchboard.metrics.expired.inc_by(expired);
                    }
                }
                Err((Failure::Retry | Failure::Refused, error)) if !store.is_closed() => {
                    tracing::warn!(error = %Chain(&error), "heartbeat failed");
                    self.switchboard.readiness.set_answering(false);
                }
                Err((_, error)) => return Doubt::Heartbeat(error),
            }
        }
    }

    async fn send_heartbeat(&self, store: &mut Store, registration: Uuid) -> Result<Answer, StoreError> {
        let restored = self.switchboard.restoration.is_done();
        let mut heartbeat = pin!(store.heartbeat_coordinator(registration, restored));
        if let Ok(answer) = timeout(SLOW_HEARTBEAT, &mut heartbeat).await {
            return answer;
        }
        // A database that stalls has forgotten nothing, so this is no doubt.
        self.switchboard.readiness.set_answering(false);
        heartbeat.await
    }

    /// Asks the LISTEN connection again and again, until there is a doubt.
    async fn probe(&self, probe: &Probe, heartbeats: &AtomicU64, answered: mpsc::Sender<()>) -> Doubt {
        let mut ticks = interval(HEARTBEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut asking = pin!(probe.ask());
            let answer = loop {
                let progress = (heartbeats.load(Ordering::Relaxed), self.switchboard.metrics.payloads.get());
                if let Ok(answer) = timeout(SLOW_LISTENER, &mut asking).await {
                    break answer;
                }
                // A stall of the database holds up heartbeats too, and the answer comes after a long log.
                if heartbeats.load(Ordering::Relaxed) > progress.0
                    && self.switchboard.metrics.payloads.get() == progress.1
                {
                    return Doubt::ListenStuck;
                }
            };
            match answer {
                // When the receiver has not taken the last answer yet, that one is as good.
                Ok(()) => drop(answered.try_send(())),
                Err(error) => return Doubt::ListenEnded(Some(error)),
            }
        }
    }
}
