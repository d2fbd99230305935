//! The proxy as a coordinator: registers, listens, beats, and in any doubt does all of it again.
//!
//! A *doubt* is everything after which the fold may differ from the tables: the LISTEN connection ended, a payload
//! that does not continue the log, a registration that is not current, a call whose outcome is unknown. One answer
//! fits all: a new registration with a new log, and a restore of all sessions. The sockets stay open meanwhile, and
//! what is asked for waits.

use std::{pin::pin, sync::Arc, time::Duration};

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
    store::{Store, StoreError},
};

/// The extension takes a coordinator for dead after three of these.
const BEAT: Duration = Duration::from_secs(2);

/// A beat that takes longer makes the proxy unready: it may be about to be expired.
const SLOW_BEAT: Duration = Duration::from_secs(5);

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
    Listen(#[source] tokio_postgres::Error),
    #[error("the LISTEN connection ended")]
    ListenEnded,
    #[error("the log is broken")]
    Payload(#[from] PayloadError),
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
        self.hub.doubt(registration);
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
        let mut current = self.hub.registration();
        let mut assembler = Assembler::default();
        let (answered, mut answers) = mpsc::channel(1);
        let mut beating = pin!(self.beat(store, registration, &listener.probe, answered));
        loop {
            tokio::select! {
                payload = listener.payloads.recv() => {
                    self.fold(&mut assembler, &payload.ok_or(Doubt::ListenEnded)?)?;
                }
                Some(()) = answers.recv() => {
                    while let Ok(payload) = listener.payloads.try_recv() {
                        self.fold(&mut assembler, &payload)?;
                    }
                    self.hub.mark();
                }
                doubt = &mut beating => return Err(doubt),
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

    /// Beats until there is a doubt. A beat is a heartbeat, and a question to the LISTEN connection.
    async fn beat(&self, store: &mut Store, registration: Uuid, probe: &Probe, answered: mpsc::Sender<()>) -> Doubt {
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (heard, asked) = self.beat_once(store, registration, probe).await;
            match heard.map_err(|error| (error.fault(), error)) {
                Ok(()) => self.hub.beating(true),
                Err((Fault::Failed | Fault::Refused, error)) if !store.is_closed() => {
                    tracing::warn!(error = %Chain(&error), "heartbeat failed");
                    self.hub.beating(false);
                }
                Err((_, error)) => return Doubt::Beat(error),
            }
            if let Err(error) = asked {
                return Doubt::Listen(error);
            }
            // When the receiver is behind, a later answer says more.
            let _ = answered.try_send(());
        }
    }

    async fn beat_once(
        &self,
        store: &mut Store,
        registration: Uuid,
        probe: &Probe,
    ) -> (Result<(), StoreError>, Result<(), tokio_postgres::Error>) {
        let mut beat = pin!(async { tokio::join!(store.heartbeat_coordinator(registration), probe.ask()) });
        if let Ok(beaten) = timeout(SLOW_BEAT, &mut beat).await {
            return beaten;
        }
        // A database that stalls is no doubt: it has not forgotten anything.
        self.hub.beating(false);
        beat.await
    }
}
