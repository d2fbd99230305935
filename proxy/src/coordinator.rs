//! The proxy as a coordinator: registers, listens, beats, and in any doubt does all of it again.
//!
//! A *doubt* is everything after which the fold may differ from the tables: the LISTEN connection ended, a payload
//! that does not continue the log, a registration that is not current, a call whose outcome is unknown. One answer
//! fits all: a new registration with a new log, and a restore of all sessions. The sockets stay open meanwhile, and
//! what is asked for waits.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tailnet_wire::{Assembler, PayloadError};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    backoff::Backoff,
    bisect::{Failure as _, Fault},
    chain::Chain,
    database::Database,
    hub::Hub,
    listener::{Listener, Probe},
    store::{Answer, Store, StoreError},
};

/// The extension takes a coordinator for dead after three of these.
const BEAT: Duration = Duration::from_secs(2);

/// A beat that takes longer makes the proxy unready: it may be about to be expired.
const SLOW_BEAT: Duration = Duration::from_secs(5);

/// A LISTEN connection that is silent for this long while heartbeats are answered is stuck. It is given up before the
/// coordinator could be expired.
const SLOW_LISTENER: Duration = Duration::from_secs(4);

/// Postgres cannot commit a NOTIFY when its queue is full; from this share on the log says that it fills.
const CROWDED_QUEUE: f64 = 0.25;

/// A registration that stood for this long was good: the next wait is short again.
const STEADY: Duration = BEAT;

/// One registered proxy.
#[derive(Debug)]
pub struct Coordinator {
    name: String,
    hub: Arc<Hub>,
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
    Beat(#[source] StoreError),
    #[error("a call failed in a way that leaves its outcome open")]
    Call,
}

impl Coordinator {
    /// The coordinator of this hub.
    pub fn new(name: &str, hub: Arc<Hub>, database: Database) -> Self {
        Self { name: name.to_owned(), hub, database }
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
                store.register_coordinator(self.hub.coordinator, &self.name).await.map_err(Doubt::Register)?;
            let listener = Listener::listen(&self.database, registration).await.map_err(Doubt::Listen)?;
            Ok::<_, Doubt>((store, registration, listener))
        };
        let Some(connected) = stop.run_until_cancelled(connecting).await else { return Ok(()) };
        let (mut store, registration, mut listener) = connected?;
        tracing::info!(id = %self.hub.coordinator, "registered");
        self.hub.begin(registration);
        let stood = self.stand(&mut store, registration, &mut listener, stop).await;
        self.hub.readiness.doubt(registration);
        if stood.is_ok()
            && let Err(error) = store.close_coordinator(registration).await
        {
            tracing::warn!(error = %Chain(&error), "sessions are lost only when the registration expires");
        }
        stood
    }

    /// Folds the log for as long as there is no doubt. Ok: it is time to stop.
    async fn stand(
        &self,
        store: &mut Store,
        registration: Uuid,
        listener: &mut Listener,
        stop: &CancellationToken,
    ) -> Result<(), Doubt> {
        let mut current = self.hub.readiness.registration();
        let mut assembler = Assembler::default();
        let (answered, mut answers) = mpsc::channel(1);
        let beats = AtomicU64::default();
        let mut beating = pin!(self.beat(store, registration, &beats));
        let mut probing = pin!(self.probe(&listener.probe, &beats, answered));
        loop {
            tokio::select! {
                payload = listener.payloads.recv() => {
                    self.fold(&mut assembler, &payload.ok_or(Doubt::ListenEnded(None))?)?;
                }
                Some(()) = answers.recv() => {
                    while let Ok(payload) = listener.payloads.try_recv() {
                        self.fold(&mut assembler, &payload)?;
                    }
                    self.hub.mark();
                }
                doubt = &mut beating => return Err(doubt),
                doubt = &mut probing => return Err(doubt),
                _ = current.wait_for(|current| *current != Some(registration)) => return Err(Doubt::Call),
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    fn fold(&self, assembler: &mut Assembler, payload: &str) -> Result<(), PayloadError> {
        self.hub.metrics.payloads.inc();
        if let Some(events) = assembler.push(payload)? {
            self.hub.fold(events);
        }
        Ok(())
    }

    /// Beats until there is a doubt, and counts the beats that are answered.
    async fn beat(&self, store: &mut Store, registration: Uuid, beats: &AtomicU64) -> Doubt {
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut crowded = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // Others may be waiting for it.
                () = self.hub.restoration.done() => {}
            }
            match self.beat_once(store, registration).await.map_err(|error| (error.fault(), error)) {
                Ok(Answer { expired, queue }) => {
                    beats.fetch_add(1, Ordering::Relaxed);
                    self.hub.readiness.beating(true);
                    self.hub.metrics.queue.set(queue);
                    if queue > CROWDED_QUEUE && !crowded {
                        tracing::warn!(
                            queue,
                            "the queue of notifications fills: some backend LISTENs and does not read"
                        );
                    }
                    crowded = queue > CROWDED_QUEUE;
                    if expired > 0 {
                        tracing::warn!(expired, "proxies were silent too long: their peers are lost");
                        self.hub.metrics.expired.inc_by(expired);
                    }
                }
                Err((Fault::Failed | Fault::Refused, error)) if !store.is_closed() => {
                    tracing::warn!(error = %Chain(&error), "heartbeat failed");
                    self.hub.readiness.beating(false);
                }
                Err((_, error)) => return Doubt::Beat(error),
            }
        }
    }

    async fn beat_once(&self, store: &mut Store, registration: Uuid) -> Result<Answer, StoreError> {
        let restored = self.hub.restoration.is_done();
        let mut beat = pin!(store.heartbeat_coordinator(registration, restored));
        if let Ok(beaten) = timeout(SLOW_BEAT, &mut beat).await {
            return beaten;
        }
        // A database that stalls is no doubt: it has not forgotten anything.
        self.hub.readiness.beating(false);
        beat.await
    }

    /// Asks the LISTEN connection again and again, until there is a doubt.
    async fn probe(&self, probe: &Probe, beats: &AtomicU64, answered: mpsc::Sender<()>) -> Doubt {
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut asking = pin!(probe.ask());
            let answer = loop {
                let progress = (beats.load(Ordering::Relaxed), self.hub.metrics.payloads.get());
                if let Ok(answer) = timeout(SLOW_LISTENER, &mut asking).await {
                    break answer;
                }
                // A stall of the database holds up heartbeats too, and the answer comes after a long log.
                if beats.load(Ordering::Relaxed) > progress.0 && self.hub.metrics.payloads.get() == progress.1 {
                    return Doubt::ListenStuck;
                }
            };
            match answer {
                // When the receiver is behind, a later answer says more.
                Ok(()) => drop(answered.try_send(())),
                Err(error) => return Doubt::ListenEnded(Some(error)),
            }
        }
    }
}
